// Output as a person would have seen it: lines, carriage returns, colours. Everything else of a terminal is left out.

import { safe } from "/static/dom.js";

const LINES = 5000;
const CHARACTERS = 4000;
const SEQUENCE = /\u001b(?:\[([0-9;:<=>?]*)[ -/]*([@-~])|\][^\u0007\u001b]*(?:\u0007|\u001b\\)|[PX^_][^\u001b]*\u001b\\|[ -/]*[0-~])/y;
const PENDING = 4096;

export class Screen {
  constructor(element) {
    this.element = element;
    this.style = "";
    this.held = "";
    this.begin();
  }

  begin() {
    this.cells = [];
    this.at = 0;
    this.cut = 0;
    this.line = document.createElement("div");
    this.line.className = "line";
    this.element.append(this.line);
  }

  write(text) {
    const stuck = this.element.scrollHeight - this.element.scrollTop - this.element.clientHeight < 40;
    const all = this.held + text;
    this.held = "";
    let i = 0;
    while (i < all.length) {
      const c = all[i];
      if (c === "\u001b") {
        SEQUENCE.lastIndex = i;
        const found = SEQUENCE.exec(all);
        if (!found) {
          if (all.length - i < PENDING) { this.held = all.slice(i); break; }
          i += 1;
          continue;
        }
        if (found[2] === "m") this.colour(found[1]);
        else if (found[2] === "K") this.cells.length = Math.min(this.cells.length, this.at);
        i = SEQUENCE.lastIndex;
      } else if (c === "\n") { this.draw(); this.begin(); this.trim(); i += 1; }
      else if (c === "\r") { this.at = 0; i += 1; }
      else if (c === "\b") { this.at = Math.max(0, this.at - 1); i += 1; }
      else if (c === "\t") { do this.put(" "); while (this.at % 8 && this.at < CHARACTERS); i += 1; }
      else if (c === "\u0007") i += 1;
      else {
        const whole = String.fromCodePoint(all.codePointAt(i));
        this.put(whole);
        i += whole.length;
      }
    }
    this.draw();
    if (stuck) this.element.scrollTop = this.element.scrollHeight;
  }

  put(character) {
    if (this.at < CHARACTERS) this.cells[this.at++] = [this.style, character];
    else this.cut += character.length;
  }

  colour(words) {
    const codes = words.split(/[;:]/).map(Number);
    const has = new Set(this.style.split(" ").filter(Boolean));
    const only = (kind, value) => { for (const each of has) if (each.startsWith(kind)) has.delete(each); if (value !== null) has.add(`${kind}${value}`); };
    for (let i = 0; i < codes.length; i += 1) {
      const c = codes[i];
      if (c === 0) has.clear();
      else if (c === 1) has.add("bold");
      else if (c === 22) has.delete("bold");
      else if (c === 38 || c === 48) i += codes[i + 1] === 5 ? 2 : 4;
      else if (c >= 30 && c <= 37) only("fg", c - 30);
      else if (c >= 90 && c <= 97) only("fg", c - 90);
      else if (c === 39) only("fg", null);
    }
    this.style = [...has].join(" ");
  }

  draw() {
    const parts = [];
    for (let i = 0; i < this.cells.length; i += 1) {
      const [style, text] = this.cells[i] ?? ["", " "];
      const last = parts[parts.length - 1];
      if (last && last[0] === style) last[1] += text;
      else parts.push([style, text]);
    }
    this.line.replaceChildren(...parts.map(([style, text]) => {
      if (!style) return document.createTextNode(safe(text, CHARACTERS));
      const made = document.createElement("span");
      made.className = style;
      made.textContent = safe(text, CHARACTERS);
      return made;
    }));
    if (this.cut) this.line.append(` … ${this.cut} more characters in this line`);
  }

  trim() {
    while (this.element.childElementCount > LINES) this.element.firstElementChild.remove();
  }
}
