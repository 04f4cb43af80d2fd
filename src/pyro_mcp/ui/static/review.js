// What changed, to be looked at and brought back: by file, with notes to the agent, as a branch or a patch.

import { call } from "/static/api.js";
import { ask, button, fill, h, named, say, size } from "/static/dom.js";
import { forward, parsed, reversed, shown } from "/static/diff.js";
import { listen, state } from "/static/state.js";
import { tabs } from "/static/workspace.js";

const MOST = 1048576;
const options = { side: innerWidth > 1100, whitespace: true };
const CHANGING = new Set(["exec_workspace", "edit_workspace_file", "write_workspace_file", "apply_workspace_patch", "push_workspace_sync", "reset_workspace", "rewind_workspace"]);

export function review(main, id) {
  const place = h("div", h("p.quiet", "Reading the changes …"));
  const newer = h("p.quiet", { role: "status" });
  const toggle = (name, label) => h("label.toggle", h("input", { type: "checkbox", checked: options[name], onchange: (e) => { options[name] = e.target.checked; draw(); } }), label);
  const known = () => state.workspaces.get(id)?.workspace;
  const head = h("div", tabs(id, "review"));
  fill(main, head,
    h("div.bar", toggle("side", "Side by side"), toggle("whitespace", "White space"),
      button("Land as a branch", land, { class: "main" }), button("Export a patch", take), button("Look again", read)),
    newer, place);
  let diff = null, files = [];

  async function read() {
    fill(newer);
    try {
      diff = await call("diff_workspace", { workspace: id, max_bytes: MOST });
      files = parsed(diff.patch);
      draw();
    } catch (error) {
      fill(place, h("p.problem", error.message, " ", error.hint));
    }
  }

  function draw() {
    if (!diff) return;
    const viewed = new Set(JSON.parse(localStorage.getItem(`viewed ${id}`) ?? "[]"));
    const parts = diff.files.map((file, n) => [file, files[n]?.header[0] && belongs(files[n], file) ? files[n] : files.find((f) => belongs(f, file))]);
    fill(place,
      h("p", `${diff.files.length} ${diff.files.length === 1 ? "file" : "files"} changed, `, h("span.plus", `+${diff.insertions}`), " ", h("span.minus", `−${diff.deletions}`),
        diff.left_out_files ? `; ${diff.left_out_files} files are left out: ignored, or made by tools` : ""),
      diff.truncated && h("p.problem", `The patch is ${size(diff.patch_bytes)}; its first ${size(MOST)} are shown. Export writes all of it.`),
      diff.empty_directories.length > 0 && h("p.quiet", `New and empty: ${diff.empty_directories.slice(0, 20).join(", ")}`),
      parts.map(([file, part]) => {
        // The header has git's ids of both contents: what is made to look like another is not viewed.
        const mark = part ? part.header.join("\n") : file.path;
        return section(file, part, viewed.has(mark), (seen) => {
          if (seen) viewed.add(mark); else viewed.delete(mark);
          localStorage.setItem(`viewed ${id}`, JSON.stringify([...viewed].slice(-1000)));
        });
      }));
  }

  function section(file, part, seen, onSeen) {
    const name = file.old_path ? `${file.old_path} → ${file.path}` : file.path;
    const body = h("div");
    const fillBody = (all) => {
      if (file.binary) fill(body, h("p.quiet", "A binary file; Export writes it."));
      else if (!part) fill(body, h("p.quiet", diff.truncated ? "Its part of the patch is not shown." : "Only its name or mode changed."));
      else fill(body, shown(part, { ...options, all, name, more: () => fillBody(true), comment: (line) => comment(file, line) }),
        !part.hunks.length && h("pre.quiet", part.header.slice(1).join("\n")));
    };
    const made = h("details.file", { open: !seen },
      h("summary", h("span.path", name), h("span.badge", file.status), h("span.plus", `+${file.insertions}`), h("span.minus", `−${file.deletions}`)),
      h("div.acts", h("label.toggle", h("input", { type: "checkbox", checked: seen, onchange: (e) => { onSeen(e.target.checked); made.open = !e.target.checked; } }), "Viewed"),
        button("Note to the agent", () => comment(file, null), { "aria-label": `Note to the agent on ${name}` }),
        button("Discard", () => discard(file, part), { class: "danger", "aria-label": `Discard the changes of ${name}` })),
      body);
    if (!seen) fillBody(false);
    made.addEventListener("toggle", () => { if (made.open && !body.childElementCount) fillBody(false); });
    return made;
  }

  async function comment(file, line) {
    const where = line ? `${file.path}, line ${line.now ?? line.old}` : file.path;
    const given = await ask(`Note on ${where}`, "The agent gets it, as your words, with the result of its next tool call.", [{ name: "text", label: "Note", long: true }], "Send");
    if (!given?.text.trim()) return;
    try {
      await call("note_workspace", { workspace: id, text: given.text, path: file.path, ...(line ? { line: line.now ?? line.old } : {}) });
      say("The agent gets the note with its next call.");
    } catch (error) { say(`${error.message} ${error.hint}`, "problem"); }
  }

  async function discard(file, part) {
    const patch = part && !diff.truncated ? reversed(part) : null;
    if (!patch) { say(`${file.path} cannot be put back from here: it is binary, renamed, or its patch is not whole. Reset or rewind can.`, "problem"); return; }
    const given = await ask(`Discard ${file.path}`, "The file goes back to how it was when the workspace was created. A rewind undoes this.", [], "Discard", true);
    if (!given) return;
    try {
      await call("apply_workspace_patch", { workspace: id, patch });
      say(`${file.path} is as it began.`, "note", ["Undo", async () => {
        try { await call("apply_workspace_patch", { workspace: id, patch: forward(part) }); read(); } catch (error) { say(`${error.message} ${error.hint}`, "problem"); }
      }]);
    } catch (error) { say(`${error.message} ${error.hint}`, "problem"); }
    read();
  }

  async function land() {
    const w = known();
    const given = await ask("Land as a branch", "The changes become a commit on a branch of the repository that the workspace was made from. Neither your work tree nor your index is touched.", [
      { name: "branch", label: "Branch", value: `pyro/${w ? named(w) : id}` },
      { name: "message", label: "Message", long: true, value: `Changes from pyro workspace ${w ? named(w) : id}` },
    ], "Land");
    if (!given) return;
    try {
      const landed = await call("land_workspace", { workspace: id, branch: given.branch, message: given.message });
      fill(newer, h("span.good", `Landed as ${landed.commit.slice(0, 12)} on ${landed.branch} of ${landed.repository}: ${landed.files} files. `), "To undo it: ", h("code", landed.undo));
    } catch (error) {
      fill(newer, h("span.problem", error.message, " ", error.hint));
    }
    newer.scrollIntoView({ block: "nearest" });
  }

  async function take() {
    const given = await ask("Export a patch", "Written on this computer, for git apply.", [{ name: "output", label: "File", hint: "an absolute path" }], "Export");
    if (!given?.output) return;
    try {
      const made = await call("export_workspace", { workspace: id, output: given.output, patch: true });
      say(`${made.output} holds the changes of ${made.files} files.`);
    } catch (error) { say(`${error.message} ${error.hint}`, "problem"); }
  }

  read();
  return listen((change) => {
    if (!change.problem && !head.contains(document.activeElement)) fill(head, tabs(id, "review"));
    const done = !change.all && (change.events ?? []).some((e) => e.workspace === id && e.outcome !== "running" && CHANGING.has(e.operation));
    if (done) fill(newer, "The workspace has changed since. ", button("Look again", read));
  });
}

// Names in a patch are quoted where they are odd; what matches by its end is meant.
function belongs(part, file) {
  const [first] = part.header;
  return first.endsWith(` b/${file.path}`) || (first.endsWith("\"") && part.header.some((line) => line.includes(JSON.stringify(file.path).slice(1, -1))));
}
