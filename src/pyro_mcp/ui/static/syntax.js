// Colours for source text: comments, strings, numbers and words of the language, found line by line in one pass. Texts become text nodes.

import { safe } from "/static/dom.js";

const MOST = 200000;
const PARTS = 30000;
const words = (text) => new Set(text.split(" "));
const C = { line: "//", open: "/*", close: "*/", quotes: "\"'`" };
const HASH = { line: "#", quotes: "\"'" };
const JS = words("async await break case catch class const continue default delete do else export extends false finally for from function if import in instanceof interface let new null of return static super switch this throw true try type typeof undefined var void while yield");
const CLIKE = words("auto bool break case catch char class const continue default delete do double else enum extends extern false final finally float for goto if implements import inline int interface long namespace new null nullptr package private protected public return short signed sizeof static struct super switch template this throw true try typedef union unsigned using virtual void volatile while");
const SHELL = words("case do done elif else esac export fi for function if in local return set then while");
const LANGUAGES = {
  py: { ...HASH, triple: true, words: words("False None True and as assert async await break case class continue def del elif else except finally for from global if import in is lambda match nonlocal not or pass raise return self try while with yield") },
  js: { ...C, words: JS }, mjs: { ...C, words: JS }, cjs: { ...C, words: JS }, jsx: { ...C, words: JS }, ts: { ...C, words: JS }, tsx: { ...C, words: JS },
  c: { ...C, words: CLIKE }, h: { ...C, words: CLIKE }, cc: { ...C, words: CLIKE }, cpp: { ...C, words: CLIKE }, hpp: { ...C, words: CLIKE }, java: { ...C, words: CLIKE }, cs: { ...C, words: CLIKE }, kt: { ...C, words: CLIKE },
  go: { ...C, words: words("break case chan const continue default defer else fallthrough false for func go goto if import interface map nil package range return select struct switch true type var") },
  rs: { ...C, quotes: "\"", words: words("as async await break const continue crate dyn else enum extern false fn for if impl in let loop match mod move mut pub ref return self Self static struct super trait true type unsafe use where while") },
  rb: { ...HASH, words: words("begin break case class def do else elsif end ensure false for if in module next nil not or redo rescue return self super then true unless until when while yield") },
  sh: { ...HASH, words: SHELL }, bash: { ...HASH, words: SHELL }, zsh: { ...HASH, words: SHELL },
  toml: { ...HASH, triple: true, words: words("true false") }, yaml: { ...HASH, words: words("true false null") }, yml: { ...HASH, words: words("true false null") }, ini: { ...HASH, words: words("") }, cfg: { ...HASH, words: words("") },
  json: { quotes: "\"", words: words("true false null") }, jsonc: { ...C, words: words("true false null") },
  css: { open: "/*", close: "*/", quotes: "\"'", words: words("") }, sql: { line: "--", open: "/*", close: "*/", quotes: "'\"", words: words("and as by create delete drop from group having in insert into is join left not null on or order select set table update values where AND AS BY CREATE DELETE DROP FROM GROUP HAVING IN INSERT INTO IS JOIN LEFT NOT NULL ON OR ORDER SELECT SET TABLE UPDATE VALUES WHERE") },
};
const NAMED = { makefile: "sh", dockerfile: "sh", ".bashrc": "sh", ".profile": "sh", ".gitignore": "ini" };

export function language(path) {
  const name = path.split("/").pop().toLowerCase();
  const kind = Object.hasOwn(NAMED, name) ? NAMED[name] : name.includes(".") ? name.split(".").pop() : "";
  return Object.hasOwn(LANGUAGES, kind) ? LANGUAGES[kind] : null; // not what every object has: `x.constructor`
}

// Gives [kind, text] pairs: every character of the text once, in order. It takes time in proportion to the text.
export function tokens(text, lang) {
  const out = [];
  const put = (kind, part) => { const last = out[out.length - 1]; if (last && last[0] === kind) last[1] += part; else out.push([kind, part]); };
  const word = /[A-Za-z_$][\w$]*/y, number = /\d[\w.]*/y;
  let i = 0;
  while (i < text.length) {
    const c = text[i];
    if (lang.line && text.startsWith(lang.line, i) && !(lang.line === "#" && i > 0 && /[\w$]/.test(text[i - 1]))) {
      let end = text.indexOf("\n", i); if (end < 0) end = text.length;
      put("comment", text.slice(i, end)); i = end; continue;
    }
    if (lang.open && text.startsWith(lang.open, i)) {
      let end = text.indexOf(lang.close, i + lang.open.length); end = end < 0 ? text.length : end + lang.close.length;
      put("comment", text.slice(i, end)); i = end; continue;
    }
    if (lang.quotes?.includes(c)) {
      const mark = lang.triple && text.startsWith(c.repeat(3), i) ? c.repeat(3) : c;
      let end = i + mark.length;
      for (; end < text.length; end += 1) {
        if (text[end] === "\\") { end += 1; continue; }
        if (text.startsWith(mark, end)) { end += mark.length; break; }
        if (mark.length === 1 && mark !== "`" && text[end] === "\n") break;
      }
      put("string", text.slice(i, end)); i = end; continue;
    }
    word.lastIndex = i; number.lastIndex = i;
    const found = word.exec(text) ?? number.exec(text);
    if (found) { put(/^\d/.test(found[0]) ? "number" : lang.words.has(found[0]) ? "keyword" : "", found[0]); i += found[0].length; continue; }
    put("", c); i += 1;
  }
  return out;
}

export function coloured(text, path) {
  const lang = language(path);
  if (!lang || text.length > MOST) return [safe(text, Infinity)];
  const parts = tokens(text, lang);
  if (parts.length > PARTS) return [safe(text, Infinity)];
  return parts.map(([kind, part]) => {
    if (!kind) return document.createTextNode(safe(part, Infinity));
    const made = document.createElement("span");
    made.className = `syntax-${kind}`;
    made.textContent = safe(part, Infinity);
    return made;
  });
}
