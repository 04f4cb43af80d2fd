// A patch in text, as files with hunks; its reverse; and how it is shown.

import { h, safe } from "/static/dom.js";

const HUNK = /^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@(.*)$/;
const FIRST = 1500;
const LONG = 2000;

// Gives [{header, hunks: [{head, lines: [{kind, text, old, now}]}], lines}] in the order of the patch.
export function parsed(patch) {
  const files = [];
  let file = null, hunk = null, left = 0, right = 0, old = 0, now = 0;
  for (const line of patch.split("\n")) {
    if (hunk && (left > 0 || right > 0 || line.startsWith("\\"))) {
      const kind = line[0] ?? " ";
      if (kind === "\\") { hunk.lines.push({ kind, text: line.slice(1) }); continue; }
      hunk.lines.push({ kind, text: line.slice(1), old: kind === "+" ? null : old, now: kind === "-" ? null : now });
      if (kind !== "+") { left -= 1; old += 1; }
      if (kind !== "-") { right -= 1; now += 1; }
      continue;
    }
    if (line.startsWith("diff --git ")) { file = { header: [line], hunks: [] }; hunk = null; files.push(file); continue; }
    if (!file) continue;
    const found = HUNK.exec(line);
    if (found) {
      old = Number(found[1]); now = Number(found[3]);
      left = Number(found[2] ?? 1); right = Number(found[4] ?? 1);
      hunk = { head: line, context: found[5], from: [old, left], to: [now, right], lines: [] };
      file.hunks.push(hunk);
    } else if (!hunk && line) file.header.push(line);
  }
  return files;
}

// The patch of one file, as it came.
export function forward(file) {
  return `${[...file.header, ...file.hunks.flatMap((hunk) => [hunk.head, ...hunk.lines.map((line) => line.kind + line.text)])].join("\n")}\n`;
}

// The patch of one file the other way round; null where there is nothing in text to turn round.
export function reversed(file) {
  if (!file.hunks.length || file.header.some((line) => /^(GIT binary|Binary files|rename|copy|old mode)/.test(line))) return null;
  const mode = { "new file mode": "deleted file mode", "deleted file mode": "new file mode" };
  const out = [];
  let minus = "", plus = "";
  for (const line of file.header) {
    const word = Object.keys(mode).find((each) => line.startsWith(each));
    if (line.startsWith("--- ")) minus = line.slice(4);
    else if (line.startsWith("+++ ")) plus = line.slice(4);
    else if (word) out.push(line.replace(word, mode[word]));
    else if (line.startsWith("index ")) continue;
    else out.push(line);
  }
  const swapped = (name, to) => (name.startsWith("\"") ? name.replace(/^"[ab]\//, `"${to}/`) : name.replace(/^[ab]\//, `${to}/`));
  out.push(`--- ${swapped(plus, "a")}`, `+++ ${swapped(minus, "b")}`);
  for (const hunk of file.hunks) {
    out.push(`@@ -${hunk.to.join(",")} +${hunk.from.join(",")} @@${hunk.context}`);
    for (const line of hunk.lines) out.push(`${{ "+": "-", "-": "+" }[line.kind] ?? line.kind}${line.text}`);
  }
  return `${out.join("\n")}\n`;
}

const MOST_STEPS = 500;

// Two texts as a file with hunks, as `parsed` gives them; by Myers, and whole where they have too little in common.
export function difference(one, other) {
  const a = one.split("\n"), b = other.split("\n");
  let begin = 0, end = 0;
  const most = Math.min(a.length, b.length);
  while (begin < most && a[begin] === b[begin]) begin += 1;
  while (end < most - begin && a[a.length - 1 - end] === b[b.length - 1 - end]) end += 1;
  const middle = edits(a.slice(begin, a.length - end), b.slice(begin, b.length - end));
  const all = [...a.slice(0, begin).map((text) => [" ", text]), ...middle, ...a.slice(a.length - end).map((text) => [" ", text])];
  const hunks = [];
  let old = 1, now = 1, hunk = null, quiet = 0;
  all.forEach(([kind, text], n) => {
    const near = kind !== " " || all.slice(Math.max(0, n - 3), n + 4).some(([k]) => k !== " ");
    if (near && !hunk) { hunk = { from: [old, 0], to: [now, 0], context: "", lines: [] }; hunks.push(hunk); }
    if (near) {
      hunk.lines.push({ kind, text, old: kind === "+" ? null : old, now: kind === "-" ? null : now });
      if (kind !== "+") hunk.from[1] += 1;
      if (kind !== "-") hunk.to[1] += 1;
    } else { hunk = null; quiet += 1; }
    if (kind !== "+") old += 1;
    if (kind !== "-") now += 1;
  });
  for (const each of hunks) each.head = `@@ -${each.from.join(",")} +${each.to.join(",")} @@`;
  return { header: [], hunks, same: quiet };
}

function edits(a, b) {
  const whole = [...a.map((text) => ["-", text]), ...b.map((text) => ["+", text])];
  const max = a.length + b.length, trace = [];
  const v = new Map([[1, 0]]);
  for (let d = 0; d <= max; d += 1) {
    if (d > MOST_STEPS) return whole;
    trace.push(new Map(v));
    for (let k = -d; k <= d; k += 2) {
      let x = k === -d || (k !== d && (v.get(k - 1) ?? -1) < (v.get(k + 1) ?? -1)) ? v.get(k + 1) ?? 0 : (v.get(k - 1) ?? 0) + 1;
      while (x < a.length && x - k < b.length && a[x] === b[x - k]) x += 1;
      v.set(k, x);
      if (x >= a.length && x - k >= b.length) return back(trace, a, b);
    }
  }
  return whole;
}

function back(trace, a, b) {
  const out = [];
  let x = a.length, y = b.length;
  for (let d = trace.length - 1; d >= 0; d -= 1) {
    const v = trace[d], k = x - y;
    const from = k === -d || (k !== d && (v.get(k - 1) ?? -1) < (v.get(k + 1) ?? -1)) ? k + 1 : k - 1;
    const px = d ? v.get(from) ?? 0 : 0, py = d ? px - from : 0;
    while (x > px && y > py) { out.push([" ", a[x - 1]]); x -= 1; y -= 1; }
    if (d) { out.push(x === px ? ["+", b[y - 1]] : ["-", a[x - 1]]); x = px; y = py; }
  }
  return out.reverse();
}

const squeezed = (text) => text.replace(/\s+/g, "");

// Removed and added lines beside each other, in runs; without `whitespace`, those that differ in it only are context.
export function paired(lines, whitespace) {
  const rows = [];
  let minus = [], plus = [];
  const flush = () => {
    for (let i = 0; i < Math.max(minus.length, plus.length); i += 1) {
      const a = minus[i], b = plus[i];
      if (!whitespace && a && b && squeezed(a.text) === squeezed(b.text)) rows.push([a, b, "same"]);
      else rows.push([a, b, "changed"]);
    }
    minus = []; plus = [];
  };
  for (const line of lines) {
    if (line.kind === "-") { if (plus.length) flush(); minus.push(line); }
    else if (line.kind === "+") plus.push(line);
    else { flush(); rows.push([line, line, line.kind === "\\" ? "end" : "same"]); }
  }
  flush();
  return rows;
}

// What differs within two lines: what they begin and end with in common is not marked.
function marked(text, other) {
  const short = text.slice(0, LONG);
  if (other === undefined || text.length > LONG || other.length > LONG) return [safe(text, LONG)];
  let begin = 0, end = 0;
  const most = Math.min(text.length, other.length);
  while (begin < most && text[begin] === other[begin]) begin += 1;
  while (end < most - begin && text[text.length - 1 - end] === other[other.length - 1 - end]) end += 1;
  if (begin + end < most / 4) return [short];
  const middle = text.slice(begin, text.length - end);
  return [text.slice(0, begin), middle && h("mark", middle), text.slice(text.length - end)];
}

// `comment(line)` is called for a line of the new side.
export function shown(file, { name, side, whitespace, comment, all = false, more }) {
  let count = 0;
  const body = h("tbody");
  const number = (line, which) => {
    const n = line?.[which] ?? "";
    if (n === "" || which === "old" || !comment) return h("td.number", n);
    return h("td.number", h("button", { type: "button", "aria-label": `Comment on line ${n}`, onclick: () => comment(line) }, n));
  };
  const row = (kind, ...cells) => body.append(h(`tr.${kind}`, cells));
  for (const hunk of file.hunks) {
    row("hunk", h("td", { colspan: 4 }, hunk.head));
    for (const [a, b, kind] of paired(hunk.lines, whitespace)) {
      count += 1;
      if (count > FIRST && !all) break;
      if (kind === "end") { row("end", h("td", { colspan: 4 }, a.text)); continue; }
      if (side) {
        row("both",
          number(a, "old"), h(kind === "changed" && a ? "td.gone" : "td", a ? (kind === "changed" ? marked(a.text, b?.text) : safe(a.text, LONG)) : ""),
          number(b, "now"), h(kind === "changed" && b ? "td.come" : "td", b ? (kind === "changed" ? marked(b.text, a?.text) : safe(b.text, LONG)) : ""));
      } else if (kind === "same") row("same", number(a, "old"), number(b, "now"), h("td.sign", ""), h("td", safe(b.text, LONG)));
      else {
        if (a) row("gone", number(a, "old"), h("td.number", ""), h("td.sign", "−"), h("td", marked(a.text, b?.text)));
        if (b) row("come", h("td.number", ""), number(b, "now"), h("td.sign", "+"), h("td", marked(b.text, a?.text)));
      }
    }
  }
  return [h("div.scroll", { tabindex: 0, role: "region", "aria-label": `Changed lines of ${name}` }, side ? h("table.diff.side", h("colgroup", h("col.n"), h("col"), h("col.n"), h("col")), body) : h("table.diff", body)),
    count > FIRST && !all && h("p.quiet", `${FIRST} of more lines are shown. `, h("button", { type: "button", onclick: more }, "Show all"))];
}
