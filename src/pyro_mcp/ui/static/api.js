// The way to the server that this page came from. Cookie and key together; see ui/door.py.

const KEY = () => ({ "pyro-key": localStorage.getItem("pyro-key") ?? "" });

export class Failed extends Error {
  constructor(error) {
    super(error.message);
    this.code = error.code;
    this.hint = error.hint ?? "";
  }
}

export async function call(operation, args = {}) {
  let answer;
  try {
    answer = await fetch(`/api/do/${operation}`, {
      method: "POST", headers: { ...KEY(), "content-type": "application/json" }, body: JSON.stringify(args),
    });
  } catch {
    throw new Failed({ message: "The page's server is not answering. Is `pyro ui` still running?", code: "gone" });
  }
  const said = await answer.json().catch(() => ({ error: { message: `The server answered ${answer.status}.`, code: "odd" } }));
  if (said.error) throw new Failed(said.error);
  return said.result;
}

// Server-sent events by fetch, which can send the key. Gives a function that ends it.
export function stream(path, onMessage, onEnd = () => {}) {
  const ending = new AbortController();
  (async () => {
    let status = 0;
    try {
      const answer = await fetch(path, { headers: KEY(), signal: ending.signal });
      status = answer.status;
      if (!answer.ok) return;
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let buffer = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return;
        buffer += value;
        for (let end = buffer.indexOf("\n\n"); end >= 0; end = buffer.indexOf("\n\n")) {
          const record = buffer.slice(0, end);
          buffer = buffer.slice(end + 2);
          if (record.startsWith("data: ")) onMessage(JSON.parse(record.slice(6)));
        }
      }
    } catch (error) {
      if (error.name !== "AbortError" && !(error instanceof TypeError)) console.error(error);
    } finally {
      if (!ending.signal.aborted) onEnd(status);
    }
  })();
  return () => ending.abort();
}
