"""Text that somebody else chose, as a person may see it: every character that would act instead of showing is written
out as an escape. Pure; the one place that decides what is harmless.

A guest chooses file names, output, host names and words of errors. On a terminal, control characters move the cursor,
change the title or the clipboard (OSC 52), and characters without width or with a direction of their own make text read
as another one (CVE-2021-42574). Raw output is only what is asked for as such: `exec`, `run`, `shell attach` and
`--content-only`.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_INVISIBLE = frozenset({0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0, *range(0xE0100, 0xE01F0)})
"""Letters and marks that show nothing, though their category says otherwise."""
_ACTING = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
"""Control, format, surrogate, private use, line and paragraph separators."""


def acts(code: int) -> bool:
    """Whether a character does something else than showing itself."""
    return code in _INVISIBLE or unicodedata.category(chr(code)) in _ACTING


def _escape(code: int) -> str:
    if code in (0x0A, 0x0D, 0x09):
        return {0x0A: "\\n", 0x0D: "\\r", 0x09: "\\t"}[code]
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8 (PEP 383)
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


class _Table(dict[int, str]):
    """For `str.translate`: made as characters are met."""

    def __init__(self, keep: str, *, as_json: bool = False) -> None:
        super().__init__((ord(c), c) for c in keep)
        self._as_json = as_json

    def __missing__(self, code: int) -> str:
        if not acts(code):
            found = chr(code)
        else:
            found = json.dumps(chr(code))[1:-1] if self._as_json else _escape(code)
            if self._as_json and found == chr(code):  # DEL, the one that JSON leaves as it is
                found = f"\\u{code:04x}"
        if len(self) < 5000:
            self[code] = found
        return found


_LINE, _LINES, _JSON = _Table(""), _Table("\n\t"), _Table("", as_json=True)


def visible(text: str) -> str:
    """On one line: line ends and tabs are escaped, too."""
    return text if text.isascii() and text.isprintable() else text.translate(_LINE)


def visible_lines(text: str, *, line_ends: bool = False) -> str:
    """With its lines and tabs. A carriage return before a line feed is dropped, or shown with `line_ends`."""
    return (text if line_ends else text.replace("\r\n", "\n")).translate(_LINES)


def shortened(text: str, most: int) -> str:
    """At most so many characters; what was cut ends in an ellipsis."""
    return text if len(text) <= most else text[: most - 1] + "…"


def as_typed(argv: Sequence[str]) -> str:
    """A command line as somebody typed it: the text that a shell was given, else the words."""
    import shlex  # slow to load, and wanted by few

    if len(argv) == 3 and argv[0].startswith("/") and argv[0].endswith("sh") and argv[1] == "-c":
        return argv[2]
    return shlex.join(argv)


def storable(text: str) -> str:
    """What is not Unicode text (PEP 383) made visible, all else as it is."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return "".join(_escape(ord(c)) if "\ud800" <= c <= "\udfff" else c for c in text)
    return text


def storable_record(value: Any) -> Any:
    """`storable` for every text in a JSON value."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, dict):
        return {storable(key): storable_record(item) for key, item in value.items()}
    return [storable_record(item) for item in value] if isinstance(value, list) else value


def json_text(value: Any) -> str:
    """JSON on one line that reads back as `value`, with nothing in it that acts."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).translate(_JSON)
