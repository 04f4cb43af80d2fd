// A terminal of one's own. The server draws the screen (ui/following.py); here are its lines, and the keys that go back.

import { call, stream } from "/static/api.js";
import { button, fill, h, safe, say, typed } from "/static/dom.js";
import { state } from "/static/state.js";

const LINES = 2000;
const LINE = 2000;
const LEAVE = "]";
const KEYS = {
  Enter: "\r", Backspace: "\x7f", Tab: "\t", Escape: "\x1b", Delete: "\x1b[3~", Insert: "\x1b[2~", PageUp: "\x1b[5~", PageDown: "\x1b[6~",
  F1: "\x1bOP", F2: "\x1bOQ", F3: "\x1bOR", F4: "\x1bOS", F5: "\x1b[15~", F6: "\x1b[17~", F7: "\x1b[18~", F8: "\x1b[19~", F9: "\x1b[20~", F10: "\x1b[21~", F12: "\x1b[24~",
};
const MOVES = { ArrowUp: "A", ArrowDown: "B", ArrowRight: "C", ArrowLeft: "D", Home: "H", End: "F" };

// What a key says to a program; null where the browser has it, or it comes as text.
export function spoken(event, cursorKeys) {
  const { key, ctrlKey, altKey, shiftKey, metaKey } = event;
  if (metaKey) return null;
  const move = MOVES[key];
  if (move) {
    const held = 1 + (shiftKey ? 1 : 0) + (altKey ? 2 : 0) + (ctrlKey ? 4 : 0);
    return held > 1 ? `\x1b[1;${held}${move}` : `\x1b${cursorKeys ? "O" : "["}${move}`;
  }
  if (key === "Tab" && shiftKey) return "\x1b[Z";
  if (KEYS[key] && !(ctrlKey && key !== "Backspace" && key !== "Enter")) return (altKey ? "\x1b" : "") + KEYS[key];
  if (ctrlKey && !altKey && !shiftKey && key.length === 1) {
    if (key === " ") return "\0";
    const code = key.toUpperCase().charCodeAt(0);
    if (code >= 64 && code < 96) return String.fromCharCode(code - 64);
    return null;
  }
  if (altKey && !ctrlKey && key.length === 1 && /[a-z0-9.,/_-]/i.test(key)) return `\x1b${key}`;
  return null;
}

// What is pasted, as text alone: with control characters in it, such as those of the end mark or of Ctrl-C, the rest would be typed.
export function pasted(text) {
  return text.replaceAll("\x1b[201~", "").replace(/\r?\n/g, "\r").replace(/(?![\t\r])\p{Cc}/gu, "");
}

export function terminal(body, id) {
  const list = h("div.acts"), outcome = h("p", { role: "status" });
  const past = h("div"), lines = h("div"), screen = h("div.screen.terminal", { "aria-hidden": "true" }, past, lines);
  const input = h("textarea.keys", { id: "keys", autocapitalize: "off", autocomplete: "off", spellcheck: "false", rows: 1, "aria-label": "Terminal: keys go to the shell. Ctrl and ] leaves.", "aria-describedby": "leaves" });
  const aloud = h("pre.heard", { role: "log", "aria-live": "polite", "aria-label": "Screen of the terminal" });
  const place = h("div.shell", { hidden: true }, screen, input, aloud, h("p.quiet", { id: "leaves" }, "Keys go to the shell while the terminal has the focus; Ctrl and ] leaves it. Copy with the mouse, paste as ever."));
  fill(body, list, outcome, place);
  let end = () => {}, shell = null, size = [0, 0], modes = {}, over = true, waiting = "", sending = false, resizing = 0, hearing = 0, turn = 0;

  const known = () => state.workspaces.get(id);
  let drawn = "";
  const draw = () => {
    const each = known();
    const open = (each?.running ?? []).filter((r) => r.kind === "shell");
    const text = JSON.stringify([open.map((r) => r.handle), each?.workspace.state, shell, over]);
    if (text === drawn) return;
    drawn = text;
    fill(list, open.map((r) => button(`${typed(r.command)} (${r.handle})`, () => show(r.handle), { "aria-pressed": r.handle === shell })),
      each?.workspace.state === "running" && button("New terminal", begin, { class: "main" }),
      shell && !over && button("Close the terminal", close, { class: "danger" }));
    if (!shell && !open.length) fill(outcome, each && each.workspace.state !== "running" ? "The workspace does not run." : "No terminal is open.");
    if (!shell && open.length) show(open[open.length - 1].handle);
  };

  async function begin() {
    place.hidden = false;
    const [rows, cols] = measured();
    try {
      const made = await call("open_shell", { workspace: id, rows, cols });
      show(made.shell);
    } catch (error) { say(`${error.message} ${error.hint}`, "problem"); place.hidden = !shell; }
  }

  async function close() {
    try { await call("close_shell", { workspace: id, shell }); } catch (error) { say(error.message, "problem"); }
  }

  function measured() {
    const probe = h("span", "0".repeat(50));
    screen.append(probe);
    const box = probe.getBoundingClientRect();
    probe.remove();
    const style = getComputedStyle(screen);
    const wide = screen.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight), high = screen.clientHeight - parseFloat(style.paddingTop) - parseFloat(style.paddingBottom);
    const line = parseFloat(style.lineHeight) || box.height || 18;
    return [Math.max(2, Math.min(200, Math.floor(high / line))), Math.max(10, Math.min(400, Math.floor(wide / (box.width / 50 || 8))))];
  }

  async function show(handle) {
    end();
    const mine = turn += 1; // of two that begin at once, the later one has the screen
    shell = handle; over = false; place.hidden = false;
    fill(past); fill(lines); fill(outcome);
    draw();
    size = measured();
    try { await call("resize_shell", { workspace: id, shell: handle, rows: size[0], cols: size[1] }); } catch { /* it has ended: its last screen is shown */ }
    if (mine !== turn) return;
    end = stream(`/api/terminal?workspace=${encodeURIComponent(id)}&shell=${encodeURIComponent(handle)}&rows=${size[0]}&cols=${size[1]}`, heard, () => {
      if (!over) fill(outcome, "The connection was lost. ", button("Again", () => show(handle)));
    });
    input.focus({ preventScroll: true });
  }

  function heard(m) {
    if (m.kind === "failed") { over = true; fill(outcome, h("span.problem", m.message)); draw(); return; }
    if (m.kind === "ended") { over = true; fill(outcome, m.exit_code === null ? `It ${m.status}.` : `It ended with status ${m.exit_code}.`); draw(); return; }
    const stuck = screen.scrollHeight - screen.scrollTop - screen.clientHeight < 40;
    modes = m;
    for (const line of m.left) past.append(row(line));
    while (past.childElementCount > LINES) past.firstElementChild.remove();
    past.hidden = m.alternate;
    for (const [n, line] of m.rows) {
      while (lines.childElementCount <= n) lines.append(h("div.line"));
      lines.children[n].replaceWith(row(line));
    }
    while (lines.childElementCount > m.height) lines.lastElementChild.remove();
    cursor(m.cursor);
    if (stuck) screen.scrollTop = screen.scrollHeight;
    clearTimeout(hearing);
    hearing = setTimeout(() => fill(aloud, [...lines.children].map((each) => each.textContent).join("\n").trimEnd()), 300);
  }

  function row(line) {
    const made = h("div.line");
    for (const [style, text] of line) made.append(style ? styled(style, text) : document.createTextNode(safe(text, LINE)));
    return made;
  }

  function styled(style, text) {
    const made = document.createElement("span");
    made.className = style;
    made.textContent = safe(text, LINE);
    return made;
  }

  // Its cell is drawn over the line: the line itself stays as it is.
  const block = h("span.cursor", { "aria-hidden": "true" });
  function cursor(at) {
    block.remove();
    if (!at || !lines.children[at[0]]) return;
    block.style.left = `${at[1]}ch`;
    lines.children[at[0]].append(block);
  }

  function write(text) {
    if (over || !shell || !text) return;
    waiting += text;
    if (!sending) send();
  }

  async function send() {
    sending = true;
    const to = shell;
    try {
      while (waiting) {
        const piece = waiting.slice(0, 16384).replace(/[\ud800-\udbff]$/, ""); // half a character waits for the rest
        waiting = waiting.slice(piece.length || 1);
        if (piece) await call("write_shell", { workspace: id, shell: to, text: piece });
        if (to !== shell) waiting = "";
      }
    } catch (error) { waiting = ""; if (error.code !== "shell_ended") say(`${error.message} ${error.hint}`, "problem"); } finally { sending = false; }
  }

  input.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    event.stopPropagation();
    if (event.ctrlKey && event.key === LEAVE) { event.preventDefault(); list.querySelector("button")?.focus(); return; }
    if (event.ctrlKey && event.shiftKey) return;
    if (event.ctrlKey && event.key === "v") return; // the browser's paste
    if (event.ctrlKey && event.key === "c" && String(getSelection())) return; // and its copy
    const text = spoken(event, modes.cursor_keys);
    if (text === null) return;
    event.preventDefault();
    write(text);
    screen.scrollTop = screen.scrollHeight;
  });
  input.addEventListener("input", (event) => {
    if (event.isComposing) return;
    write(input.value.replace(/\n/g, "\r"));
    input.value = "";
  });
  input.addEventListener("compositionend", () => { write(input.value); input.value = ""; });
  input.addEventListener("paste", (event) => {
    event.preventDefault();
    const text = pasted(event.clipboardData.getData("text"));
    write(modes.paste_marked ? `\x1b[200~${text}\x1b[201~` : text);
  });
  screen.addEventListener("mouseup", () => { if (!String(getSelection())) input.focus({ preventScroll: true }); });
  const observer = new ResizeObserver(() => {
    clearTimeout(resizing);
    resizing = setTimeout(() => { if (shell && !over && String(measured()) !== String(size)) show(shell); }, 200);
  });
  observer.observe(screen);
  draw();
  return (change) => {
    if (!change) { turn += 1; end(); observer.disconnect(); clearTimeout(hearing); return; }
    if (!change.problem) draw();
  };
}
