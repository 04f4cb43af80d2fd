// What goes on, as the feed tells it, for the views. Hidden pages do not listen: browsers open six connections only.

import { stream } from "/static/api.js";

export const state = { workspaces: new Map(), latest: new Map(), questions: [], problem: "Connecting …", figures: new Map(), origins: new Set() };
const listeners = new Set();
const AGAIN = 1000;
let stop = null;

export function listen(heard) {
  listeners.add(heard);
  return () => listeners.delete(heard);
}

function tell(change) {
  for (const heard of [...listeners]) heard(change);
}

function took(events) {
  for (const event of events) {
    if (event.face !== "guest") state.latest.set(event.workspace, event);
  }
}

function measured(id, each) {
  if (each.cpu_seconds === null) { state.figures.delete(id); return; }
  const now = performance.now() / 1000, before = state.figures.get(id);
  if (before && now - before.at < 1) return;
  const percent = before && each.cpu_seconds >= before.cpu ? (100 * (each.cpu_seconds - before.cpu)) / (now - before.at) : null;
  state.figures.set(id, { at: now, cpu: each.cpu_seconds, percent });
}

// Those that have forks: looked up for each card.
function counted() {
  state.origins = new Set([...state.workspaces.values()].map((each) => each.workspace.forked_from).filter(Boolean));
}

function heard(message) {
  const changed = new Set();
  if (message.kind === "problem") {
    state.problem = message.problem;
    tell({ all: false, changed, problem: true });
    return;
  }
  state.problem = message.problem ?? null;
  if (message.kind === "figures") {
    for (const [id, each] of Object.entries(message.figures)) {
      const known = state.workspaces.get(id);
      if (!known) continue;
      measured(id, each);
      Object.assign(known, each);
      changed.add(id);
    }
  } else {
    if (message.kind === "whole") state.workspaces.clear();
    for (const each of message.workspaces) {
      state.workspaces.set(each.workspace.id, each);
      measured(each.workspace.id, each);
      changed.add(each.workspace.id);
    }
    for (const gone of message.gone ?? []) { state.workspaces.delete(gone); state.latest.delete(gone); changed.add(gone); }
    counted();
    took(message.events);
    for (const event of message.events) changed.add(event.workspace);
    const ids = (questions) => questions.map((q) => q.id).join();
    if (ids(state.questions) !== ids(message.questions)) for (const q of [...state.questions, ...message.questions]) changed.add(q.workspace);
    state.questions = message.questions;
  }
  tell({ all: message.kind === "whole", changed, events: message.events ?? [] });
}

export function begin() {
  if (stop || document.hidden) return;
  stop = stream("/api/feed", heard, (status) => {
    stop = null;
    state.problem = status === 401
      ? "This page's link has expired. In the terminal where `pyro ui` runs, press Enter for another."
      : "The page's server is not answering. Is `pyro ui` still running?";
    tell({ all: false, changed: new Set(), problem: true });
    if (status !== 401) setTimeout(begin, AGAIN);
  });
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden && stop) { stop(); stop = null; } else begin();
});
