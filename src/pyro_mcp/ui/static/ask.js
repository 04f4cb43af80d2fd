// What workspaces ask: cards that answer live, and what was decided for projects.

import { call } from "/static/api.js";
import { button, fill, h, say, since } from "/static/dom.js";
import { listen, state } from "/static/state.js";

const ANSWERS = [
  ["workspace", "Allow for this workspace", "main"],
  ["once", "Allow for a minute", ""],
  ["project", "Always for the project", ""],
  ["no", "Not now", ""],
  ["never", "Never for the project", "danger"],
];

export function asked(main) {
  const cards = h("div.questions");
  const kept = h("div");
  fill(main, h("h1", "Asked"), h("p.quiet", "A workspace with the network policy ask reaches a host only if you allow it. A connection waits one minute for your answer."), cards, h("h2", "Decided for projects"), kept);
  let shown = "";
  const draw = () => {
    const ids = state.questions.map((q) => q.id).join(" ");
    if (ids === shown && cards.childElementCount) return;
    shown = ids;
    fill(cards, state.questions.length ? state.questions.map(card) : h("p", "There are no questions."));
  };
  draw();
  decided(kept);
  return listen((change) => { draw(); if (change.all) decided(kept); });

  function card(q) {
    const answer = async (word) => {
      try {
        const said = await call("answer_question", { asked: q.id, answer: word });
        say(`${word}: ${q.host}${said.kept_in ? `, kept in ${said.kept_in}` : ""}`);
      } catch (error) {
        say(`${error.message} ${error.hint}`, "problem");
      }
      decided(kept);
    };
    return h("article.card.question", { "aria-label": `${q.host} for ${q.workspace_name || q.workspace}` },
      h("p", h("a", { href: `/w/${q.workspace}` }, q.workspace_name || q.workspace), " asks for ", h("strong.host", q.host), `, port ${q.port}`),
      q.command && h("p.now", h("code", q.command)),
      h("p.quiet", q.project, " · ", h("span", { "data-since": q.asked_at }, since(q.asked_at)), " ago"),
      h("div.acts", ANSWERS.map(([word, label, kind]) => button(label, () => answer(word), { class: kind || undefined, "data-act": word }))));
  }
}

async function decided(place) {
  let said;
  try { said = await call("list_decisions"); } catch (error) { fill(place, h("p.problem", error.message)); return; }
  const forget = async (project, host) => {
    try { await call("change_decision", { project, host, answer: "forget" }); } catch (error) { say(error.message, "problem"); }
    decided(place);
  };
  fill(place, h("p.quiet", `Kept in ${said.kept_in}, which you can edit.`),
    said.decisions.length === 0 && h("p", "No decisions for projects yet."),
    h("ul.plain", said.decisions.map((d) => h("li", h("strong", d.host), ` ${d.answer === "allow" ? "always allowed" : "never"} for ${d.project || "no project"} `,
      button("Forget", () => forget(d.project, d.host), { "aria-label": `Forget ${d.host} for ${d.project}` })))));
}
