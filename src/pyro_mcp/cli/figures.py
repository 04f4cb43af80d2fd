"""Sizes, durations and moments as a person reads them."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import datetime


def size(count: int | None) -> str:
    """Bytes in words: 1023 B, 1.5 KiB, 20 MiB."""
    if count is None:
        return "-"
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":
            return f"{count} B" if unit == "B" else f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"
        value /= 1024
    return str(count)


def duration(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 172800 else f"{seconds / 86400:.0f} days"


def ago(moment: str | None, now: datetime.datetime | None = None) -> str:
    """A time relative to now: `12 s ago`, `in 3 min`."""
    if not moment:
        return "-"
    import datetime

    try:
        then = datetime.datetime.fromisoformat(moment)
    except ValueError:
        return moment
    seconds = ((now or datetime.datetime.now(datetime.UTC)) - then).total_seconds()
    if abs(seconds) < 1:
        return "now"
    count = duration(float(round(abs(seconds)))).replace(".0 s", " s")
    return f"{count} ago" if seconds > 0 else f"in {count}"


def plural(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
