"""File names in patch headers: quoting, `a/` and `b/` prefixes, time stamps. Works on one line's bytes."""

from __future__ import annotations

import os
import re
from datetime import datetime, timedelta

_ESCAPES = {"a": 7, "b": 8, "t": 9, "n": 10, "v": 11, "f": 12, "r": 13, '"': 34, "\\": 92}
_PREFIXES = ("a/", "b/", "i/", "w/", "c/", "o/")
"""git's default prefixes and those of diff.mnemonicPrefix."""
_STAMP = re.compile(r"^\s*(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)(?:\.\d+)?(?: ([+-])(\d\d)(\d\d))?\s*$")
_SPACED_STAMP = re.compile(r"^(.*?\S)\s+(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d.*)$")


def unquote(raw: bytes) -> tuple[str, int] | None:
    """The name that a C-style quoted string at the start of `raw` means, and where it ends; None if broken."""
    out = bytearray()
    i = 1
    while i < len(raw):
        byte = raw[i]
        if byte == 0x22:
            return os.fsdecode(bytes(out)), i + 1
        if byte != 0x5C:
            out.append(byte)
            i += 1
            continue
        octal = raw[i + 1 : i + 4]
        if re.fullmatch(rb"[0-3][0-7]{2}", octal):
            out.append(int(octal, 8))
            i += 4
            continue
        escape = chr(raw[i + 1]) if i + 1 < len(raw) else ""
        if escape not in _ESCAPES:
            return None
        out.append(_ESCAPES[escape])
        i += 2
    return None


def quote(name: str) -> bytes:
    """`name` as git prints it: in quotes when it holds control bytes, quotes, backslashes or non-ASCII."""
    raw = os.fsencode(name)
    if all(0x20 <= byte < 0x7F and byte not in (0x22, 0x5C) for byte in raw):
        return raw
    letters = {value: key for key, value in _ESCAPES.items()}
    out = bytearray(b'"')
    for byte in raw:
        if byte in letters:
            out += b"\\" + letters[byte].encode()
        elif byte < 0x20 or byte >= 0x7F:
            out += b"\\%03o" % byte
        else:
            out.append(byte)
    return bytes(out + b'"')


def plain_name(raw: bytes) -> str:
    """The name on a `rename from`, `copy to` … line, which never has a prefix."""
    if raw.startswith(b'"'):
        found = unquote(raw)
        if found:
            return found[0]
    return os.fsdecode(raw)


def header_name(raw: bytes) -> tuple[str, bool, bool]:
    """The name on a `---` or `+++` line, whether a time stamp follows, and whether that is the epoch.

    GNU diff stamps a file that does not exist with the epoch, in local time.
    """
    if raw.startswith(b'"'):
        found = unquote(raw)
        if found:
            return found[0], *_stamp(os.fsdecode(raw[found[1] :]))
    text = os.fsdecode(raw)
    name, tab, rest = text.partition("\t")
    if tab:
        return name, *_stamp(rest)
    spaced = _SPACED_STAMP.match(text)
    if spaced:
        return spaced[1], *_stamp(spaced[2])
    return text, False, False


def _stamp(text: str) -> tuple[bool, bool]:
    match = _STAMP.match(text)
    if not match:
        return False, False
    try:
        when = datetime.fromisoformat(match[1])
    except ValueError:
        return False, False
    if match[2]:
        shift = timedelta(hours=int(match[3]), minutes=int(match[4]))
        when = when - shift if match[2] == "+" else when + shift
    return True, when == datetime(1970, 1, 1)


def git_header_names(rest: bytes) -> tuple[str, str, bool] | None:
    """Both names of `diff --git …` without prefixes, and whether there were any; None if it cannot be told.

    Unquoted names may hold spaces, so the split is where both halves name the same file, as git does it.
    """
    if rest.startswith(b'"') or rest.endswith(b'"'):
        pair = _quoted_pair(rest)
        return _strip_pair(*pair) if pair else None
    text = os.fsdecode(rest)
    spaces = [i for i, char in enumerate(text) if char == " "]
    for i in spaces:
        left, right = text[:i], text[i + 1 :]
        if left == right:
            return left, right, False
        if left[:2] in _PREFIXES and right[:2] in _PREFIXES and left[2:] == right[2:] != "":
            return left[2:], right[2:], True
    if len(spaces) == 1:
        return _strip_pair(text[: spaces[0]], text[spaces[0] + 1 :])
    return None


def _quoted_pair(rest: bytes) -> tuple[str, str] | None:
    if rest.startswith(b'"'):
        first = unquote(rest)
        if not first or rest[first[1] : first[1] + 1] != b" ":
            return None
        return first[0], plain_name(rest[first[1] + 1 :])
    start = rest.find(b' "')
    second = unquote(rest[start + 1 :]) if start > 0 else None
    return (os.fsdecode(rest[:start]), second[0]) if second else None


def _strip_pair(left: str, right: str) -> tuple[str, str, bool]:
    if left != right and left[:2] in _PREFIXES and right[:2] in _PREFIXES:
        return left[2:], right[2:], True
    return left, right, False


def strip_prefix(name: str) -> str:
    """`name` without git's one-letter prefix, if it has one."""
    return name[2:] if name[:2] in _PREFIXES and len(name) > 2 else name


def plain_candidates(old: str | None, new: str | None) -> tuple[str, ...]:
    """The names to try, in order, for a `---`/`+++` pair without a git header. None stands for /dev/null.

    What both names end in is the name: `diff -ru old new` prints `old/x` and `new/x`.
    """
    if old is None or new is None:
        name = new if old is None else old
        return _unique(strip_prefix(name or ""), name or "")
    if old == new:
        return _unique(old, strip_prefix(old))
    left, right = old.split("/"), new.split("/")
    tail = 0
    while tail < min(len(left), len(right)) and left[-1 - tail] == right[-1 - tail]:
        tail += 1
    if tail:
        return _unique("/".join(right[len(right) - tail :]), new, old)
    return _unique(strip_prefix(new), strip_prefix(old), new, old)


def _unique(*names: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for name in names if name))
