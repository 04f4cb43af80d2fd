"""Takes a patch out of what models put around it; line numbers stay. Pure: bytes in, bytes out.

A here document (`apply_patch <<'EOF'` … `EOF`), the indentation of a list or a quotation, and a string of JSON whose
newlines are still written `\\n`.
"""

from __future__ import annotations

import json
import re

_HEREDOC = re.compile(rb"""<<-?\s*(['"]?)([A-Za-z_]\w*)\1""")
_START = re.compile(rb"^([ \t]*)(?:\*\*\* Begin Patch|\*\*\* (?:Add|Update|Delete) File:|diff --git |--- )", re.I)


def unwrapped(raw: bytes) -> bytes:
    """The patch in `raw`."""
    raw = _decoded(raw)
    lines = raw.split(b"\n")
    start = next((i for i, line in enumerate(lines) if _START.match(line)), None)
    if start is None:
        return raw
    opened = [found[2] for line in lines[:start] if (found := _HEREDOC.search(line))]
    if opened:
        end = re.compile(rb"^\t*" + re.escape(opened[-1]) + rb"""["')]*\s*$""")
        at = next((i for i in range(start, len(lines)) if end.match(lines[i])), len(lines))
        lines = [*lines[:at], b""]
    found = _START.match(lines[start])
    indent = found[1] if found else b""
    if indent and all(line.startswith(indent) or not line.strip() for line in lines[start:]):
        lines = lines[:start] + [line.removeprefix(indent) for line in lines[start:]]
    return b"\n".join(lines)


def _decoded(raw: bytes) -> bytes:
    """A patch has many lines; one line with `\\n` in it is a string that was encoded once too often."""
    text = raw.strip()
    if b"\n" in text or b"\\n" not in text:
        return raw
    if not text.startswith(b'"'):
        text = b'"' + text + b'"'
    try:
        found = json.loads(text)
    except ValueError:
        return raw
    return found.encode("utf-8", "surrogateescape") if isinstance(found, str) else raw
