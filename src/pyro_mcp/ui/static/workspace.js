// One workspace: what was done, what runs and prints, its files, its services.

import { call, stream } from "/static/api.js";
import { ask, button, clock, fill, h, named, safe, say, since, size, span, typed } from "/static/dom.js";
import { acts, network, port } from "/static/home.js";
import { listen, state } from "/static/state.js";
import { terminal } from "/static/shell.js";
import { coloured } from "/static/syntax.js";
import { Screen } from "/static/terminal.js";

const OUTPUT = 262144;
const READ = 262144;
const SHOWN = 400;

export function tabs(id, which) {
  const w = state.workspaces.get(id)?.workspace;
  const tab = (name, label, path) => h("a", { href: `/w/${id}${path}`, "aria-current": name === which ? "page" : null }, label);
  return h("div.head", h("h1", w ? named(w) : id), w && h(`span.badge.${w.state}`, w.state),
    h("nav.tabs", { "aria-label": "Of this workspace" }, tab("timeline", "Timeline", ""), tab("review", "Review", "/review"), tab("files", "Files", "/files"), tab("services", "Services", "/services"), tab("terminal", "Terminal", "/terminal")));
}

export function workspace(main, id, which) {
  const head = h("div"), facts = h("div.quiet"), body = h("div");
  fill(main, head, facts, body);
  const drawHead = () => {
    const each = state.workspaces.get(id);
    fill(head, tabs(id, which));
    const w = each?.workspace;
    fill(facts, !each ? (state.problem ? "" : "This workspace does not exist, or was deleted.")
      : [h("p", [w.environment, w.engine, `network ${network(w)}`, each.memory_bytes !== null && `${size(each.memory_bytes)} of ${size(w.mem_mib * 1048576)} in use`,
          w.secrets.length && `secrets ${w.secrets.map((s) => s.name).join(", ")}`].filter(Boolean).join(" · ")), w.cause && h("p.problem", w.cause), acts(each)]);
  };
  drawHead();
  const view = { timeline, files, services, terminal }[which] ?? timeline;
  const heard = view(body, id) ?? (() => {});
  const end = listen((change) => {
    if (change.problem) return;
    if ((change.all || change.changed.has(id)) && !head.contains(document.activeElement) && !facts.contains(document.activeElement)) drawHead();
    heard(change);
  });
  return () => { end(); heard(null); };
}

// -- the timeline

function timeline(body, id) {
  const list = h("ol.timeline", { "aria-label": "What was done, newest first" });
  const title = h("h2", "Output"), screen = h("div.screen", { tabindex: 0, role: "log", "aria-label": "Output of the command" }), outcome = h("p", { role: "status" }), tools = h("div.acts");
  fill(body, h("div.split", h("div", h("h2", "Timeline"), list), h("div", title, tools, screen, outcome)));
  let events = new Map(), commands = new Map(), chosen = null, end = () => {}, asked = false, again = false;

  async function read() {
    if (asked) { again = true; return; }
    asked = true;
    try {
      const [past, logs] = await Promise.all([call("history_workspace", { workspace: id, limit: SHOWN }), call("logs_workspace", { workspace: id, limit: SHOWN })]);
      for (const e of past.events) events.set(e.sequence, e);
      commands = new Map(logs.commands.map((c) => [c.handle, c]));
      draw();
      if (!chosen && commands.size) choose([...commands.values()].sort((a, b) => (a.started_at < b.started_at ? 1 : -1))[0].handle);
    } catch (error) {
      fill(list, h("li.problem", error.message));
    } finally {
      asked = false;
      if (again) { again = false; read(); }
    }
  }

  function draw() {
    const rows = [];
    const runs = [...events.values()].filter((e) => e.operation === "exec_workspace");
    for (const c of commands.values()) {
      // The event of a command begins just before it does.
      const began = Date.parse(c.started_at);
      const event = c.kind === "exec" ? runs.find((e) => Math.abs(Date.parse(e.at) - began) < 2000) : null;
      if (event) runs.splice(runs.indexOf(event), 1);
      rows.push({ at: c.started_at, command: c, event });
    }
    const told = new Set(["exec_workspace", "start_service", "open_shell"]);
    for (const e of events.values()) if (!told.has(e.operation) || e.outcome === "error") rows.push({ at: e.at, event: e });
    rows.sort((a, b) => (a.at < b.at ? 1 : -1));
    const focused = list.contains(document.activeElement) ? document.activeElement.dataset.handle : null;
    fill(list, rows.slice(0, SHOWN).map(line));
    if (focused) list.querySelector(`[data-handle="${CSS.escape(focused)}"]`)?.focus();
  }

  function line({ at, command: c, event: e }) {
    const when = h("time", { datetime: at }, clock(at));
    if (c) {
      const bad = c.status !== "running" && c.exit_code !== 0;
      const state = c.status === "running" ? "running" : c.exit_code === null ? c.status : c.exit_code === 0 ? "ok" : `status ${c.exit_code}`;
      return h("li", h("button.row", { type: "button", "data-handle": c.handle, "aria-pressed": c.handle === chosen, onclick: () => choose(c.handle) },
        when, h("span.face", e?.face ?? c.kind), h("code", safe(typed(c.command), 300)),
        h(bad ? "span.badge.lost" : c.status === "running" ? "span.badge.busy" : "span.badge", state), c.status === "running" ? h("span.quiet", { "data-since": c.started_at }, since(c.started_at)) : c.duration_seconds !== null && h("span.quiet", span(c.duration_seconds))));
    }
    return h("li.row", when, h("span.face", e.face), h("span", e.operation.replaceAll("_", " ").replace(" workspace", "")), h("span.what", e.error || e.summary),
      e.outcome !== "ok" && h(e.outcome === "error" ? "span.badge.lost" : "span.badge.busy", e.outcome), e.duration_seconds !== null && h("span.quiet", span(e.duration_seconds)));
  }

  function choose(handle, from = null) {
    end();
    chosen = handle;
    const c = commands.get(handle);
    for (const row of list.querySelectorAll("[data-handle]")) row.setAttribute("aria-pressed", row.dataset.handle === handle);
    fill(title, "Output of ", h("code", safe(typed(c.command), 300)));
    const begin = from ?? Math.max(0, c.output_bytes - OUTPUT);
    fill(tools,
      begin > 0 && button(`Show all ${size(c.output_bytes)}`, () => choose(handle, 0)),
      c.status === "running" && c.kind === "exec" && button("End the command", async () => {
        try { await call("cancel_workspace_exec", { workspace: id, handle }); } catch (error) { say(error.message, "problem"); }
      }, { class: "danger" }));
    fill(screen); fill(outcome, c.status === "running" ? "It runs." : "");
    const terminal = new Screen(screen);
    end = stream(`/api/output?workspace=${encodeURIComponent(id)}&handle=${encodeURIComponent(handle)}&offset=${begin}`, (m) => {
      if (m.text) terminal.write(m.text);
      if (m.kind === "failed") fill(outcome, h("span.problem", m.message));
      if (m.kind === "ended") fill(outcome, m.status === "exited" ? `It ended with status ${m.exit_code}.` : `It ${m.status.replace("_", " ")}.`, " ", m.cause);
    });
  }

  read();
  return (change) => {
    if (!change) { end(); return; }
    const mine = (change.events ?? []).filter((e) => e.workspace === id);
    for (const e of mine) events.set(e.sequence, e);
    const running = new Set((state.workspaces.get(id)?.running ?? []).map((r) => r.handle));
    const turned = [...running].some((handle) => !commands.has(handle)) || [...commands.values()].some((c) => c.status === "running" && !running.has(c.handle));
    if (change.all || mine.length || turned) read();
  };
}

// -- files

function files(body, id) {
  const crumbs = h("nav.crumbs", { "aria-label": "Directory" }), list = h("ul.files"), content = h("div");
  fill(body, h("div.split", h("div", crumbs, list), content));

  async function open(path) {
    const parts = path.split("/").filter(Boolean);
    fill(crumbs, parts.map((part, n) => [" / ", button(part, () => open(`/${parts.slice(0, n + 1).join("/")}`))]));
    try {
      const said = await call("list_workspace_files", { workspace: id, path, limit: 2000 });
      const entries = [...said.entries].sort((a, b) => (a.kind === "dir" ? 0 : 1) - (b.kind === "dir" ? 0 : 1) || (a.path < b.path ? -1 : 1));
      fill(list, entries.length === 0 && h("li.quiet", "An empty directory."), entries.map((e) => {
        const full = e.path.startsWith("/") ? e.path : `${path}/${e.path}`;
        const name = full.split("/").pop();
        return h("li", e.kind === "dir" ? button(`${name}/`, () => open(full)) : button(name, () => read(full)),
          h("span.quiet", e.kind === "symlink" ? ` → ${e.link}` : e.kind === "file" ? ` ${size(e.size)}` : e.kind === "other" ? " no file" : ""));
      }), said.truncated && h("li.quiet", "There are more entries."));
    } catch (error) { fill(list, h("li.problem", error.message)); }
  }

  async function read(path) {
    try {
      const file = await call("read_workspace_file", { workspace: id, path, max_bytes: READ });
      fill(content, h("h2", path), h("p.quiet", `${size(file.size)}${file.truncated ? `, the first ${size(READ)}` : ""} · ${file.mode}`),
        file.kind === "image" ? h("p", "An image; export it to see it.") : h("pre.text", { tabindex: 0, role: "region", "aria-label": path }, coloured(file.content, path)));
    } catch (error) { fill(content, h("h2", path), h("p.problem", error.message)); }
  }

  open("/workspace");
}

// -- services

function services(body, id) {
  const list = h("div"), screen = h("div.screen", { tabindex: 0, role: "log", "aria-label": "Log of the service" }), title = h("h2", { hidden: true }), found = h("pre.text", { hidden: true });
  const search = h("input", { type: "search", id: "grep", placeholder: "a regular expression" });
  let end = () => {}, chosen = null;
  fill(body, list, title, h("div.field", { hidden: true }, h("label", { for: "grep" }, "Find in the log"), search), screen, found);
  search.addEventListener("change", async () => {
    found.hidden = !search.value; screen.hidden = Boolean(search.value);
    if (!search.value || !chosen) return;
    try { fill(found, (await call("logs_service", { workspace: id, name: chosen.name, grep: search.value, tail: 10000 })).output || "No matches."); } catch (error) { fill(found, error.message); }
  });
  let drawn = "";
  const draw = () => {
    const now = state.workspaces.get(id)?.services ?? [];
    const text = JSON.stringify(now);
    if (text === drawn && list.childElementCount) return;
    drawn = text;
    fill(list, now.length ? h("ul.plain", now.map((s) => h("li", h("strong", s.name), " ", h("span.badge", s.state), " ", s.published_ports.map((p) => port(p)), " ",
      button("Log", () => choose(s), { "aria-label": `Log of ${s.name}` }), " ",
      s.state === "running" || s.state === "starting" ? button("Stop", () => halt(s), { class: "danger", "aria-label": `Stop ${s.name}` }) : null))) : h("p", "There are no services."));
    if (!chosen && now.length) choose(now[0]);
  };
  const halt = async (s) => {
    if (!await ask(`Stop ${s.name}`, "This ends the service and all its processes.", [], "Stop", true)) return;
    try { await call("stop_service", { workspace: id, name: s.name }); } catch (error) { say(error.message, "problem"); }
  };
  const choose = (s) => {
    end(); chosen = s;
    search.parentElement.hidden = false;
    title.hidden = false;
    fill(title, `Log of ${s.name}`); fill(screen);
    const terminal = new Screen(screen);
    end = stream(`/api/output?workspace=${encodeURIComponent(id)}&handle=${encodeURIComponent(s.handle)}&offset=0`, (m) => { if (m.text) terminal.write(m.text); });
  };
  draw();
  return (change) => { if (!change) end(); else draw(); };
}
