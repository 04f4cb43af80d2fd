// Elements and texts. All that a guest chose goes through `safe` into a text node: never markup, never a direction.

// What acts instead of showing itself, or shows nothing, is written out: all that `visible.py` has for the command line.
const HIDDEN =
  /(?![\t\n])[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}\u034f\u115f\u1160\u17b4\u17b5\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\uffa0\u{e0000}-\u{e0fff}]/gu;

export const MOST = 4000;

export function safe(value, most = MOST) {
  let text = String(value ?? "");
  if (text.length > most) text = `${text.slice(0, most)} … ${text.length - most} more characters`;
  return text.replace(HIDDEN, (c) => `\\u{${c.codePointAt(0).toString(16)}}`);
}

// h("p.note", {title: "x", onclick: f}, "text", child, [more]): an element. Texts become text nodes.
export function h(what, ...rest) {
  const [tag, ...classes] = what.split(".");
  const made = document.createElement(tag);
  if (classes.length) made.className = classes.join(" ");
  const [first] = rest;
  if (first && typeof first === "object" && !(first instanceof Node) && !Array.isArray(first)) {
    for (const [name, value] of Object.entries(rest.shift())) {
      if (value === undefined || value === null || value === false) continue;
      if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
      else if (name === "value" || name === "checked") made[name] = value;
      else made.setAttribute(name, value === true ? "" : safe(value));
    }
  }
  put(made, rest);
  return made;
}

export function put(parent, ...children) {
  for (const child of children.flat(9)) {
    if (child === null || child === undefined || child === false || child === "") continue;
    parent.append(child instanceof Node ? child : document.createTextNode(safe(child)));
  }
}

export function fill(parent, ...children) {
  parent.replaceChildren();
  put(parent, children);
}

export function button(label, act, extra = {}) {
  return h("button", { type: "button", onclick: act, ...extra }, label);
}

// -- figures

export function size(bytes) {
  if (bytes === null || bytes === undefined) return "";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let n = bytes, unit = 0;
  while (n >= 1024 && unit < units.length - 1) { n /= 1024; unit += 1; }
  return `${n < 10 && unit ? n.toFixed(1) : Math.round(n)} ${units[unit]}`;
}

export function span(seconds) {
  const s = Math.max(0, seconds);
  if (s < 1) return `${Math.round(s * 1000)} ms`;
  if (s < 60) return `${s < 10 ? s.toFixed(1) : Math.round(s)} s`;
  if (s < 3600) return `${Math.round(s / 60)} min`;
  if (s < 86400) return `${Math.round(s / 3600)} h`;
  return `${Math.round(s / 86400)} d`;
}

export const since = (moment) => span((Date.now() - Date.parse(moment)) / 1000);
export const until = (moment) => span((Date.parse(moment) - Date.now()) / 1000);
export const clock = (moment) => new Date(moment).toLocaleTimeString([], { hour12: false });

export function typed(argv) {
  const words = argv.length === 3 && argv[1] === "-c" ? [argv[2]] : argv.map((w) => (/^[\w@%+=:,./-]+$/.test(w) ? w : `'${w}'`));
  return words.join(" ").replace(/\s+/g, " ");
}

export const named = (w) => w.name || w.id;

// -- what is said once, and what is asked before something is done

let clearing = 0;

// `undo` is a label and what it does.
export function say(text, kind = "note", undo = null) {
  const place = document.getElementById("said");
  fill(place, h(`p.${kind}`, text, undo && button(undo[0], () => { fill(place); undo[1](); }), button("Close", () => fill(place))));
  clearTimeout(clearing);
  if (kind === "note") clearing = setTimeout(() => fill(place), undo ? 30000 : 8000);
}

// A dialog with fields; gives their values, or null. A field: {name, label, value, choices, long}.
export function ask(title, text, fields, act, danger = false) {
  return new Promise((resolve) => {
    const before = document.activeElement;
    const inputs = fields.map((f) => {
      let input;
      if (f.choices) input = h("select", { id: `f-${f.name}` }, f.choices.map((c) => h("option", { value: c }, c)));
      else if (f.long) input = h("textarea", { id: `f-${f.name}`, rows: 4 });
      else input = h("input", { id: `f-${f.name}`, type: f.type || "text", placeholder: f.hint });
      if (f.value !== undefined) input.value = f.value;
      return [f, input];
    });
    const done = (result) => { dialog.close(); dialog.remove(); before?.focus?.(); resolve(result); };
    const dialog = h("dialog", { "aria-labelledby": "dialog-title" },
      h("h2", { id: "dialog-title" }, title),
      text && h("p", text),
      inputs.map(([f, input]) => h("div.field", h("label", { for: `f-${f.name}` }, f.label), input)),
      h("div.acts",
        button("Cancel", () => done(null)),
        button(act, () => done(Object.fromEntries(inputs.map(([f, i]) => [f.name, i.value]))), { class: danger ? "danger" : "main" })));
    dialog.addEventListener("cancel", (event) => { event.preventDefault(); done(null); });
    dialog.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && event.target.tagName === "INPUT") { event.preventDefault(); dialog.querySelector(".acts button:last-child").click(); }
    });
    document.body.append(dialog);
    dialog.showModal();
    (inputs[0]?.[1] ?? dialog.querySelector(".acts button")).focus();
  });
}
