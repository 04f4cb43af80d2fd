// Addresses and views. A link within the page changes the view; the browser's own keys and buttons go on to work.

import { asked } from "/static/ask.js";
import { compare } from "/static/compare.js";
import { fill, since, until } from "/static/dom.js";
import { home } from "/static/home.js";
import { review } from "/static/review.js";
import { begin, listen, state } from "/static/state.js";
import { workspace } from "/static/workspace.js";

const main = document.getElementById("main");
let leave = () => {};
let shown = "";

function show() {
  const parts = location.pathname.split("/").filter(Boolean).map(decodeURIComponent);
  if (location.pathname === shown) return;
  shown = location.pathname;
  leave();
  let view = "home", end;
  if (parts[0] === "ask") { view = "ask"; end = asked(main); }
  else if (parts[0] === "compare" && parts[1]) end = compare(main, parts[1]);
  else if (parts[0] === "w" && parts[1]) end = parts[2] === "review" ? review(main, parts[1]) : workspace(main, parts[1], parts[2] ?? "timeline");
  else end = home(main);
  leave = end ?? (() => {});
  for (const link of document.querySelectorAll("nav a[data-view]")) {
    if (link.dataset.view === view && !link.classList.contains("brand")) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${document.querySelector("h1")?.textContent ?? "pyro"} · pyro`;
}

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href^='/']");
  if (!link || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
  event.preventDefault();
  if (link.getAttribute("href") !== location.pathname) history.pushState(null, "", link.getAttribute("href"));
  show();
  main.focus();
  scrollTo(0, 0);
});
addEventListener("popstate", show);

// Keys: / finds, g h and g a go to the views, r reviews the workspace at hand.
let before = "";
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName) || document.querySelector("dialog")) return;
  const go = (path) => { event.preventDefault(); history.pushState(null, "", path); show(); main.focus(); };
  if (event.key === "/") { const field = document.getElementById("search"); if (field) { event.preventDefault(); field.focus(); } }
  else if (before === "g" && event.key === "h") go("/");
  else if (before === "g" && event.key === "a") go("/ask");
  else if (event.key === "r" && /^\/w\/[^/]+/.test(location.pathname)) go(`${location.pathname.split("/").slice(0, 3).join("/")}/review`);
  before = event.key;
});

listen(() => {
  const count = document.getElementById("asked");
  count.hidden = !state.questions.length;
  count.textContent = state.questions.length || "";
  fill(document.getElementById("link"), state.problem ?? "");
});
setInterval(() => {
  for (const each of document.querySelectorAll("[data-since]")) each.textContent = since(each.dataset.since);
  for (const each of document.querySelectorAll("[data-until]")) each.textContent = until(each.dataset.until);
}, 5000);

fill(document.getElementById("link"), state.problem);
show();
begin();
