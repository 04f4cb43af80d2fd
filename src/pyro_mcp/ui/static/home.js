// All workspaces, by project, forks below what they were forked from.

import { call } from "/static/api.js";
import { ask, button, fill, h, named, put, safe, say, since, size, typed, until } from "/static/dom.js";
import { listen, state } from "/static/state.js";

const AT_ONCE = 30;
const filter = { text: "", state: "all", trials: false };

export function home(main) {
  const cards = new Map();
  const place = h("div.projects");
  const count = h("p.quiet", { role: "status" });
  const search = h("input", { type: "search", id: "search", placeholder: "name, command, directory", value: filter.text, oninput: () => { filter.text = search.value; draw(); } });
  const states = h("select", { id: "state", value: filter.state, onchange: () => { filter.state = states.value; draw(); } },
    ["all", "busy", "running", "stopped", "lost"].map((each) => h("option", { value: each }, each)));
  states.value = filter.state;
  const trials = h("label.toggle", h("input", { type: "checkbox", checked: filter.trials, onchange: (e) => { filter.trials = e.target.checked; draw(); } }), "Trials");
  fill(main,
    h("div.bar", h("h1", "Workspaces"),
      h("div.field", h("label", { for: "search" }, "Find"), search),
      h("div.field", h("label", { for: "state" }, "State"), states),
      trials,
      button("New workspace", create, { class: "main" })),
    count, place);

  // A card is made once, and again only when what it shows has changed; drawing the list moves those that are there.
  const made = new Map();
  let turn = 0;
  const stale = (id) => { const one = made.get(id), each = state.workspaces.get(id); return !one || one.each !== each || one.shows !== shows(each); };
  const cardOf = (each) => {
    const id = each.workspace.id;
    if (stale(id)) made.set(id, { each, shows: shows(each), element: card(each) });
    return made.get(id).element;
  };

  function draw() {
    const focused = place.contains(document.activeElement) ? [document.activeElement.closest("li")?.dataset.id, document.activeElement.dataset.act] : null;
    cards.clear();
    for (const id of made.keys()) if (!state.workspaces.has(id)) made.delete(id);
    const shown = [...state.workspaces.values()].filter(fits);
    const by = new Map();
    for (const each of shown) {
      const project = each.project || each.workspace.seed?.source || "";
      if (!by.has(project)) by.set(project, []);
      by.get(project).push(each);
    }
    const all = [...state.workspaces.values()].filter((each) => !each.trial || filter.trials).length;
    fill(count, state.problem ? "" : all === 0 ? "There are no workspaces. An agent creates one with workspace_create; you create one with `pyro new` or here."
      : shown.length === all ? `${all} ${all === 1 ? "workspace" : "workspaces"}` : `${shown.length} of ${all} workspaces`);
    const waiting = [];
    fill(place, [...by].sort(([a], [b]) => (a < b ? -1 : 1)).map(([project, list]) =>
      h("section.project", h("h2", project || "Without a project"), tree(list, cards, (each, item) => {
        // The first are there at once; those below the window follow between two frames.
        if (made.has(each.workspace.id) || cards.size < AT_ONCE) return cardOf(each);
        waiting.push([each.workspace.id, item]);
        return h("article.card", { "aria-label": named(each.workspace), "aria-busy": "true" }, named(each.workspace));
      }))));
    turn += 1;
    complete(waiting, turn);
    if (focused?.[1]) cards.get(focused[0])?.querySelector(`:scope > article [data-act="${focused[1]}"]`)?.focus();
  }

  function complete(waiting, mine) {
    if (!waiting.length || mine !== turn) return;
    for (const [id, item] of waiting.splice(0, AT_ONCE)) {
      if (state.workspaces.has(id) && item().firstElementChild) item().firstElementChild.replaceWith(cardOf(state.workspaces.get(id)));
    }
    setTimeout(complete, 0, waiting, mine);
  }

  draw();
  const end = listen((change) => {
    if (change.problem) { draw(); return; }
    // Only cards that are there are made anew in their place; when one comes or goes, the list is drawn.
    if (change.all || [...change.changed].some((id) => cards.has(id) !== (state.workspaces.has(id) && fits(state.workspaces.get(id))))) { draw(); return; }
    for (const id of change.changed) {
      const item = cards.get(id);
      if (!item || !stale(id)) continue;
      const before = item.firstElementChild;
      const focused = before.contains(document.activeElement) ? document.activeElement.dataset.act : null;
      before.replaceWith(cardOf(state.workspaces.get(id)));
      if (focused) item.firstElementChild.querySelector(`[data-act="${focused}"]`)?.focus();
    }
  });
  return () => { end(); turn += 1; };
}

// What of the figures and of what others tell stands on a card: the rest of it is new when the workspace's record is.
function shows(each) {
  const id = each.workspace.id, percent = state.figures.get(id)?.percent, last = state.latest.get(id);
  return [each.memory_bytes === null ? "" : size(each.memory_bytes), percent === null || percent === undefined ? "" : Math.round(percent), each.changed_files,
    last?.face, last?.operation, state.questions.filter((q) => q.workspace === id).length, related(id)].join(" ");
}

function fits(each) {
  const w = each.workspace;
  if (each.trial && !filter.trials) return false;
  if (filter.state === "busy" ? !each.running.length : filter.state !== "all" && w.state !== filter.state) return false;
  if (!filter.text) return true;
  const words = [w.id, w.name, each.project, w.environment, ...each.running.map((r) => typed(r.command))];
  return words.some((word) => (word ?? "").toLowerCase().includes(filter.text.toLowerCase()));
}

function tree(list, cards, cardOf) {
  const here = new Set(list.map((each) => each.workspace.id));
  const below = new Map();
  for (const each of list) {
    const parent = here.has(each.workspace.forked_from) ? each.workspace.forked_from : null;
    if (!below.has(parent)) below.set(parent, []);
    below.get(parent).push(each);
  }
  const branch = (parent) => {
    const children = below.get(parent);
    if (!children) return null;
    children.sort((a, b) => (a.workspace.last_activity_at < b.workspace.last_activity_at ? 1 : -1));
    return h("ul.cards", children.map((each) => {
      const item = h("li", { "data-id": each.workspace.id }, cardOf(each, () => item));
      cards.set(each.workspace.id, item);
      put(item, branch(each.workspace.id));
      return item;
    }));
  };
  return branch(null);
}

function card(each) {
  const w = each.workspace, id = w.id;
  const percent = state.figures.get(id)?.percent;
  const asked = state.questions.filter((q) => q.workspace === id).length;
  const last = state.latest.get(id);
  return h("article.card", { "aria-label": named(w) },
    h("div.title",
      h("a.name", { href: `/w/${id}`, "data-act": "open" }, named(w)),
      h(`span.badge.${w.state}`, w.state),
      each.trial && h("span.badge", { title: "Made by workspace try; it goes by itself." }, "trial"),
      each.running.length > 0 && h("span.badge.busy", "busy"),
      asked > 0 && h("a.badge.asks", { href: "/ask" }, `asks ${asked}`)),
    each.running.slice(-3).map((r) => h("p.now",
      h("code", safe(typed(r.command), 160)), h("span.quiet", " for ", h("span", { "data-since": r.started_at }, since(r.started_at))),
      r.last_line && h("span.last", r.last_line))),
    w.cause && h("p.problem", w.cause),
    h("dl.facts",
      fact("Changes", each.changed_files === null ? null : h("a", { href: `/w/${id}/review` }, each.changed_files === 1 ? "1 file" : `${each.changed_files} files`)),
      fact("Services", each.services.length ? each.services.map((s) => h("span.service", `${s.name} ${s.state} `, s.published_ports.map((p) => port(p)))) : null),
      fact("Network", network(w)),
      fact("Memory", each.memory_bytes === null ? null : `${size(each.memory_bytes)} of ${size(w.mem_mib * 1048576)}`),
      fact("CPU", percent === null || percent === undefined ? null : `${Math.round(percent)} %`),
      fact("Disk", `up to ${w.disk_gib} GiB`),
      fact("Driven by", last ? `${last.face}, ${last.operation.replaceAll("_", " ")}` : null),
      fact("Age", h("span", { "data-since": w.created_at }, since(w.created_at))),
      fact("Time left", w.expires_at ? h("span", { "data-until": w.expires_at, title: w.expires_because }, until(w.expires_at)) : null)),
    acts(each));
}

const fact = (name, value) => value !== null && value !== "" && h("div", h("dt", name), h("dd", value));

export const port = (p) => p.problem ? h("span.problem", p.problem)
  : h("a", { href: `http://localhost:${p.host_port}/`, target: "_blank", rel: "noreferrer noopener" }, `:${p.host_port}`);

export function network(w) {
  if (w.network_policy === "off") return "off";
  return w.allow_domains.length ? `${w.network_policy}: ${w.allow_domains.slice(0, 4).join(", ")}${w.allow_domains.length > 4 ? " …" : ""}` : w.network_policy;
}

function related(id) {
  const own = state.workspaces.get(id)?.workspace;
  return own && (state.workspaces.has(own.forked_from) || state.origins.has(id));
}

export function acts(each) {
  const w = each.workspace, id = w.id;
  const act = (name, label, work, extra = {}) => button(label, () => work(w), { "data-act": name, "aria-label": `${label} ${named(w)}`, ...extra });
  return h("div.acts",
    h("a.button", { href: `/w/${id}/review`, "data-act": "review", "aria-label": `Review ${named(w)}` }, "Review"),
    related(id) && h("a.button", { href: `/compare/${id}`, "data-act": "compare", "aria-label": `Compare ${named(w)} with its forks` }, "Compare"),
    w.state === "running" && act("fork", "Fork", fork),
    w.state !== "creating" && act("reset", "Reset", reset),
    w.state === "running" && act("stop", "Stop", (x) => carried("stop_workspace", x, "was stopped")),
    w.state === "stopped" && act("start", "Start", (x) => carried("start_workspace", x, "runs again")),
    act("delete", "Delete", remove, { class: "danger" }));
}

async function carried(operation, w, said, more = {}) {
  try {
    await call(operation, { workspace: w.id, ...more });
    say(`${named(w)} ${said}.`);
    return true;
  } catch (error) {
    say(`${error.message} ${error.hint ?? ""}`, "problem");
    return false;
  }
}

async function fork(w) {
  const given = await ask(`Fork ${named(w)}`, "Copies of the machine as it is now, running processes included.", [{ name: "count", label: "How many", value: "1", type: "number" }], "Fork");
  if (given) await carried("fork_workspace", w, "was forked", { count: Number(given.count) });
}

async function reset(w) {
  let choices = ["baseline"];
  try { choices = ["baseline", ...(await call("list_snapshots", { workspace: w.id })).snapshots.map((s) => s.name).filter((n) => n !== "baseline")]; } catch { /* a lost one has its baseline all the same */ }
  const given = await ask(`Reset ${named(w)}`, "The whole machine goes back: files, memory and processes. Rewind brings back the present files, as far as they were kept.", [{ name: "snapshot", label: "To", choices }], "Reset", true);
  if (!given) return;
  let last = null;
  try { last = (await call("rewind_workspace", { workspace: w.id })).checkpoints[0]?.number ?? null; } catch { /* a lost one has none to show */ }
  if (!await carried("reset_workspace", w, "was reset", given.snapshot === "baseline" ? {} : { snapshot: given.snapshot }) || last === null) return;
  say(`${named(w)} was reset.`, "note", ["Put the files back", () => carried("rewind_workspace", w, "has its files back", { to: last })]);
}

async function remove(w) {
  const given = await ask(`Delete ${named(w)}`, "This deletes the workspace and everything in it, and cannot be undone. Land or export what you want to keep.", [], "Delete", true);
  if (given && await carried("delete_workspace", w, "was deleted") && location.pathname.startsWith("/w/")) history.back();
}

async function create() {
  const given = await ask("New workspace", "A new machine, filled from a directory on this computer.", [
    { name: "name", label: "Name", hint: "may be left out" },
    { name: "environment", label: "Environment", hint: "the project's own, else debian:12" },
    { name: "seed_path", label: "Directory", hint: "an absolute path; empty for an empty one" },
    { name: "network_policy", label: "Network", choices: ["off", "ask", "egress", "egress+published-ports"] },
  ], "Create");
  if (!given) return;
  say("Creating the workspace …");
  try {
    const made = await call("create_workspace", Object.fromEntries(Object.entries(given).filter(([, value]) => value)));
    say(`${named(made)} is there.`);
  } catch (error) {
    say(`${error.message} ${error.hint ?? ""}`, "problem");
  }
}
