"""Records with nothing in them that acts on a terminal: a guest chose many of their texts. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from pyro_mcp.visible import visible, visible_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CONTENT = frozenset({"content", "output", "patch", "log_tail", "stdout", "stderr", "hint", "message", "error"})
"""Fields of more than one line."""


def shown(value: Any, name: str = "") -> Any:
    """A record, or a part of one, with nothing in it that acts on a terminal."""
    if isinstance(value, dict):
        return {visible(str(key)): shown(item, str(key)) for key, item in value.items()}
    if isinstance(value, list):
        return [shown(item, name) for item in value]
    if not isinstance(value, str):
        return value
    if name in ("command", "summary"):
        return visible(" ".join(value.split()))
    return visible_lines(value, line_ends=name == "patch") if name in CONTENT else visible(value)


def table(rows: Sequence[Sequence[Any]], header: Sequence[str] = ()) -> str:
    """Columns aligned by width; the last one is left as long as it is."""
    cells = [[str(cell) for cell in row] for row in ([header, *rows] if header else rows)]
    if not cells:
        return ""
    widths = [max(len(row[n]) for row in cells) for n in range(len(cells[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    )
