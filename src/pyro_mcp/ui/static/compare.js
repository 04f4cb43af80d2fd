// A workspace and its forks side by side: the same check in each, what each changed, the difference of two, and one is kept.

import { call } from "/static/api.js";
import { ask, button, fill, h, named, safe, say, span } from "/static/dom.js";
import { difference, parsed, shown } from "/static/diff.js";
import { listen, state } from "/static/state.js";

const MOST = 1048576;
const READ = 262144;
const CHECK_SECONDS = 1800;
const checks = new Map();

// The workspace, what it was forked from, and all that came from these.
export function family(id) {
  const known = [...state.workspaces.values()].map((each) => each.workspace);
  const by = new Map(known.map((w) => [w.id, w]));
  let origin = by.get(id);
  for (let n = 0; origin && by.has(origin.forked_from) && n < 100; n += 1) origin = by.get(origin.forked_from);
  if (!origin) return [];
  const found = [origin];
  for (let n = 0; n < found.length; n += 1) found.push(...known.filter((w) => w.forked_from === found[n].id && !found.includes(w)));
  return found;
}

export function compare(main, id) {
  const columns = h("div.compare"), between = h("div");
  const command = h("input", { id: "check", type: "text", value: checks.get(id) ?? "", placeholder: "for example: make test" });
  const results = new Map(), diffs = new Map();
  let shownIds = "", pair = null, over = false;
  fill(main, h("h1", "Forks side by side"),
    h("div.bar", h("div.field", h("label", { for: "check" }, "Check, run in each"), command), button("Run in each", run, { class: "main" }), button("Read the changes again", changes)),
    columns, between);
  command.addEventListener("keydown", (event) => { if (event.key === "Enter") run(); });

  function draw(anew = false) {
    const all = family(id);
    const text = all.map((w) => `${w.id} ${w.state} ${w.name}`).join("\n");
    if (text === shownIds && !anew) return;
    const fresh = text !== shownIds && shownIds !== "";
    shownIds = text;
    const focused = columns.contains(document.activeElement) ? document.activeElement.getAttribute("aria-label") : null;
    fill(columns, all.length === 0 && h("p", state.problem ? "" : "There is no such workspace, or no more."), all.map((w, n) => column(w, n === 0, all)));
    if (focused) columns.querySelector(`[aria-label="${CSS.escape(focused)}"]`)?.focus();
    if (fresh) changes();
  }

  function column(w, first, all) {
    const result = results.get(w.id), diff = diffs.get(w.id);
    return h("article.card", { "aria-label": named(w) },
      h("div.title", h("a.name", { href: `/w/${w.id}` }, named(w)), h(`span.badge.${w.state}`, w.state), first ? h("span.badge", "origin") : w.forked_from !== all[0].id && h("span.quiet", `from ${named(all.find((o) => o.id === w.forked_from) ?? { id: w.forked_from })}`)),
      result && h("p", { role: "status" }, result.waiting ? h("span.badge.busy", "runs") : h(result.passed ? "span.badge.running" : "span.badge.lost", result.said), " ", !result.waiting && result.seconds !== null && h("span.quiet", span(result.seconds))),
      result?.text && h("pre.text.short", { tabindex: 0, "aria-label": `Output of the check in ${named(w)}` }, safe(result.text, 20000)),
      diff && (diff.failed ? h("p.problem", diff.failed) : h("p", h("a", { href: `/w/${w.id}/review` }, `${diff.files.length} ${diff.files.length === 1 ? "file" : "files"}`), " ", h("span.plus", `+${diff.insertions}`), " ", h("span.minus", `−${diff.deletions}`))),
      diff && !diff.failed && h("ul.plain.files", diff.files.slice(0, 30).map((f) => h("li", h("span.path", f.path), " ", h("span.plus", `+${f.insertions}`), " ", h("span.minus", `−${f.deletions}`))), diff.files.length > 30 && h("li.quiet", `and ${diff.files.length - 30} more`)),
      h("div.acts",
        !first && button("Against the origin", () => against(all[0], w), { "aria-label": `${named(w)} against the origin` }),
        all.indexOf(w) > 1 && button("Against the one before", () => against(all[all.indexOf(w) - 1], w), { "aria-label": `${named(w)} against the one before` }),
        all.length > 1 && w.state === "running" && button("Keep this one", () => keep(w, all), { class: "main", "aria-label": `Keep this one: ${named(w)}` })));
  }

  async function changes() {
    await Promise.all(family(id).filter((w) => w.state === "running").map(async (w) => {
      try { diffs.set(w.id, await call("diff_workspace", { workspace: w.id, max_bytes: MOST })); } catch (error) { diffs.set(w.id, { failed: error.message, files: [] }); }
    }));
    draw(true);
  }

  async function run() {
    const text = command.value.trim();
    if (!text) { command.focus(); return; }
    checks.set(id, text);
    await Promise.all(family(id).filter((w) => w.state === "running").map(async (w) => {
      results.set(w.id, { waiting: true });
      draw(true);
      try {
        let record = await call("exec_workspace", { workspace: w.id, command: text, timeout_seconds: CHECK_SECONDS, wait_seconds: 45, max_output_bytes: 20000 });
        let output = record.stdout + (record.stderr ? `\n${record.stderr}` : "");
        while (record.status === "running" && !over) {
          record = await call("logs_workspace", { workspace: w.id, handle: record.handle, offset: 0, wait_seconds: 45, max_output_bytes: 20000 });
          output = record.output;
        }
        results.set(w.id, { passed: record.exit_code === 0, said: record.status !== "exited" ? record.status.replace("_", " ") : record.exit_code === 0 ? "passed" : `status ${record.exit_code}`, seconds: record.duration_seconds ?? null, text: output });
      } catch (error) { results.set(w.id, { passed: false, said: error.message, seconds: null, text: "" }); }
      draw(true);
    }));
    changes();
  }

  async function content(w, path) {
    try {
      const file = await call("read_workspace_file", { workspace: w.id, path, max_bytes: READ });
      if (file.kind === "image") return { binary: true };
      return { text: file.content, cut: file.truncated };
    } catch (error) { return error.code === "not_text" ? { binary: true } : /no_such|not_found|file_missing/.test(error.code) ? { text: "" } : { problem: error.message }; }
  }

  async function against(a, b) {
    const mine = pair = {};
    fill(between, h("h2", `From ${named(a)} to ${named(b)}`), h("p.quiet", "Both are read …"));
    between.scrollIntoView({ block: "nearest" });
    await changes();
    const parts = [a, b].map((w) => { const diff = diffs.get(w.id); return new Map((diff?.files ?? []).map((f, n) => [f.path, parsed(diff.patch ?? "")[n]])); });
    const paths = [...new Set([...parts[0].keys(), ...parts[1].keys()])].sort();
    const told = (part) => part && JSON.stringify([part.header, part.hunks]);
    const different = paths.filter((path) => !parts[0].has(path) || !parts[1].has(path) || told(parts[0].get(path)) !== told(parts[1].get(path)));
    const made = [];
    for (const path of different.slice(0, 50)) {
      const [one, other] = await Promise.all([content(a, path), content(b, path)]);
      if (mine !== pair) return;
      if (!one.binary && !other.binary && one.text === other.text && !one.problem && !other.problem) continue;
      made.push(h("details.file", { open: true }, h("summary", h("span.path", path)),
        one.problem || other.problem ? h("p.problem", one.problem ?? other.problem) : one.binary || other.binary ? h("p.quiet", "A binary file; it differs.")
          : shown(difference(one.text, other.text), { name: path, side: innerWidth > 1100, whitespace: true, all: false, more: () => {}, comment: null }),
        (one.cut || other.cut) && h("p.quiet", "Only the beginning of it was compared.")));
    }
    if (mine !== pair) return;
    fill(between, h("h2", `From ${named(a)} to ${named(b)}`), made.length ? made : h("p", "Both have the same changes."), different.length > 50 && h("p.quiet", `${different.length - 50} more files differ.`));
  }

  async function keep(w, all) {
    const others = all.filter((o) => o.id !== w.id);
    const name = all[0].name;
    const given = await ask(`Keep ${named(w)}`, `It takes the place of ${named(all[0])}. The others are deleted with what is in them, which cannot be undone: ${others.map(named).join(", ")}.`, [], "Keep it, delete the others", true);
    if (!given) return;
    // The forks first: what fails on the way leaves the origin, and the one that is kept.
    for (const other of [...others].reverse()) {
      try { await call("delete_workspace", { workspace: other.id }); } catch (error) { say(`${named(other)}: ${error.message} ${error.hint}`, "problem"); return; }
    }
    try { if (name && w.name !== name) await call("update_workspace", { workspace: w.id, name }); } catch (error) { say(`${error.message} ${error.hint}`, "problem"); }
    history.pushState(null, "", `/w/${w.id}`);
    dispatchEvent(new PopStateEvent("popstate"));
    say(`${name || named(w)} is the one that was kept.`);
  }

  draw();
  changes();
  const end = listen((change) => { if (!change.problem) draw(); });
  return () => { end(); pair = null; over = true; };
}
