"""Renders changed files as a patch that `git apply` takes, with a summary. Pure: contents in, text out."""

from __future__ import annotations

import os
import zlib
from base64 import b85encode
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from pyro_mcp.models import ChangedFile
from pyro_mcp.patches.apply import blob_id
from pyro_mcp.patches.lines import Opcode, opcodes
from pyro_mcp.patches.match import split_lines
from pyro_mcp.patches.names import quote

_BINARY_PROBE = 8000
"""git looks for NUL in so many first bytes (FIRST_FEW_BYTES in xdiff-interface.c)."""
_SIMILAR_PAIRS = 4000
"""Comparisons for inexact renames, at most; beyond, only exact ones are found."""
_SIMILAR_BYTES = 1024 * 1024
"""Files above are not compared for inexact renames."""
_MIN_SIMILARITY = 50
"""Per cent, git's default for -M."""


@dataclass(frozen=True, slots=True)
class FileVersion:
    """One side of a change: a file's bytes, a link's target (as bytes), or a directory."""

    kind: Literal["file", "symlink", "dir"]
    content: bytes = b""
    mode: int = 0o644
    """Permission bits; git keeps of them only whether the owner may execute."""
    withheld: str = ""
    """Why `content` is not here, such as `12345678 bytes`. Such a side is shown as a binary one, equals nothing, and
    never gets into a patch or a commit."""

    @property
    def git_mode(self) -> str:
        if self.kind == "symlink":
            return "120000"
        return "100755" if self.mode & 0o100 else "100644"


@dataclass(frozen=True, slots=True)
class DiffEntry:
    """What changed at a path, relative to /workspace; None on a side where nothing stands."""

    path: str
    old: FileVersion | None
    new: FileVersion | None


@dataclass(frozen=True, slots=True)
class DiffResult:
    """A patch and what is in it. `patch_bytes` counts the whole, also when `patch` was cut."""

    patch: bytes
    files: list[ChangedFile]
    insertions: int
    deletions: int
    empty_directories: list[str]
    patch_bytes: int
    truncated: bool


@dataclass(slots=True)
class _Item:
    old_path: str
    path: str
    old: FileVersion | None
    new: FileVersion | None
    similarity: int = 100
    counts: Counter[bytes] | None = field(default=None)


def _dark(*sides: FileVersion | None) -> bool:
    """Whether the content of a side is not known."""
    return any(side is not None and side.withheld for side in sides)


def is_binary(content: bytes) -> bool:
    """git's rule: a NUL among the first 8000 bytes."""
    return b"\0" in content[:_BINARY_PROBE]


def unified(
    old: bytes, new: bytes, *, old_name: str | None = None, new_name: str | None = None, context: int = 3
) -> bytes:
    """The hunks that turn `old` into `new`; empty when they are equal.

    With names, `---` and `+++` lines come first; the names are printed as they are given.
    """
    hunks, _, _ = _hunks(old, new, context)
    if not hunks or old_name is None or new_name is None:
        return hunks
    return b"--- " + _header_name(old_name) + b"\n+++ " + _header_name(new_name) + b"\n" + hunks


def render(entries: Sequence[DiffEntry], *, binary: bool = False, max_bytes: int | None = None) -> DiffResult:
    """The patch for all entries, in the order of their paths.

    With `binary`, binary files come as `GIT binary patch` and `git apply` makes them; without, they are
    named only. The patch is cut at the end of a line, in the first file that does not fit `max_bytes`,
    and says so in `truncated`; summary and totals always cover all files.
    """
    parts: list[bytes] = []
    files: list[ChangedFile] = []
    total = kept = 0
    cut = False
    for item in _with_renames(entries):
        text, summary = _render_file(item, binary)
        files.append(summary)
        total += len(text)
        if cut:
            continue
        if max_bytes is not None and total > max_bytes:
            cut = True
            text = text[: max_bytes - kept]
            text = text[: text.rfind(b"\n") + 1]
        kept += len(text)
        parts.append(text)
    return DiffResult(
        patch=b"".join(parts),
        files=files,
        insertions=sum(file.insertions for file in files),
        deletions=sum(file.deletions for file in files),
        empty_directories=_empty_directories(entries),
        patch_bytes=total,
        truncated=cut,
    )


def _empty_directories(entries: Sequence[DiffEntry]) -> list[str]:
    filled = {
        "/".join(parts[:i])
        for entry in entries
        if entry.new is not None
        for parts in [entry.path.split("/")]
        for i in range(1, len(parts))
    }
    made = [
        e.path for e in entries if e.new is not None and e.new.kind == "dir" and (e.old is None or e.old.kind != "dir")
    ]
    return sorted(_printable(path) for path in made if path not in filled)


def _with_renames(entries: Sequence[DiffEntry]) -> list[_Item]:
    items: list[_Item] = []
    for entry in entries:
        old = None if entry.old is None or entry.old.kind == "dir" else entry.old
        new = None if entry.new is None or entry.new.kind == "dir" else entry.new
        if old == new and not (old is not None and (old.withheld or (new is not None and new.withheld))):
            continue
        if old is not None and new is not None and old.kind != new.kind:
            # git has no other way to say that a file became a link.
            items += [_Item(entry.path, entry.path, old, None), _Item(entry.path, entry.path, None, new)]
        elif (
            old is None or new is None or old.content != new.content or old.git_mode != new.git_mode or _dark(old, new)
        ):
            items.append(_Item(entry.path, entry.path, old, new))
    both = {item.path for item in items if item.old is None} & {item.path for item in items if item.new is None}
    gone = [item for item in items if item.new is None and item.path not in both]
    made = [item for item in items if item.old is None and item.path not in both]
    taken = _pair_exact(gone, made) | _pair_similar(gone, made)
    items = [item for item in items if id(item) not in taken]
    return sorted(items, key=lambda item: (os.fsencode(item.path), item.new is not None))


def _join(gone: _Item, made: _Item, similarity: int) -> int:
    made.old, made.old_path, made.similarity = gone.old, gone.path, similarity
    return id(gone)


def _pair_exact(gone: list[_Item], made: list[_Item]) -> set[int]:
    by_content: dict[tuple[str, bytes], list[_Item]] = {}
    for item in gone:
        if item.old and item.old.content and not item.old.withheld:
            by_content.setdefault((item.old.kind, item.old.content), []).append(item)
    taken: set[int] = set()
    for item in made:
        same = by_content.get((item.new.kind, item.new.content)) if item.new and not item.new.withheld else None
        if same:
            base = os.path.basename(item.path)
            best = next((old for old in same if os.path.basename(old.path) == base), same[0])
            same.remove(best)
            taken.add(_join(best, item, 100))
    return taken


def _pair_similar(gone: list[_Item], made: list[_Item]) -> set[int]:
    joined = {item.old_path for item in made if item.old is not None}
    olds = [item for item in gone if item.path not in joined and _comparable(item.old)]
    news = [item for item in made if item.old is None and _comparable(item.new)]
    if not olds or not news or len(olds) * len(news) > _SIMILAR_PAIRS:
        return set()
    scores: list[tuple[int, bool, int, int]] = []
    for i, one in enumerate(olds):
        for j, two in enumerate(news):
            score = _similarity(one, two)
            if score >= _MIN_SIMILARITY:
                scores.append((score, os.path.basename(one.path) == os.path.basename(two.path), -i, -j))
    taken: set[int] = set()
    used: set[int] = set()
    for score, _, i, j in sorted(scores, reverse=True):
        if id(olds[-i]) not in taken and -j not in used:
            used.add(-j)
            taken.add(_join(olds[-i], news[-j], min(score, 99)))
    return taken


def _comparable(version: FileVersion | None) -> bool:
    return version is not None and version.kind == "file" and 0 < len(version.content) <= _SIMILAR_BYTES


def _similarity(one: _Item, two: _Item) -> int:
    assert one.old is not None and two.new is not None
    small, large = sorted((len(one.old.content), len(two.new.content)))
    if small * 100 < large * _MIN_SIMILARITY:
        return 0
    for item, version in ((one, one.old), (two, two.new)):
        if item.counts is None:
            item.counts = Counter(split_lines(version.content))
    assert one.counts is not None and two.counts is not None
    shared = sum(len(line) * min(count, two.counts[line]) for line, count in one.counts.items() if line in two.counts)
    return shared * 100 // large


def _render_file(item: _Item, binary: bool) -> tuple[bytes, ChangedFile]:
    old, new = item.old, item.new
    renamed = old is not None and new is not None and item.old_path != item.path
    out = [b"diff --git " + quote("a/" + item.old_path) + b" " + quote("b/" + item.path) + b"\n"]
    if old is None and new is not None:
        out.append(f"new file mode {new.git_mode}\n".encode())
    elif new is None and old is not None:
        out.append(f"deleted file mode {old.git_mode}\n".encode())
    elif old is not None and new is not None and old.git_mode != new.git_mode:
        out.append(f"old mode {old.git_mode}\nnew mode {new.git_mode}\n".encode())
    if renamed:
        out.append(b"similarity index %d%%\n" % item.similarity)
        out.append(b"rename from " + quote(item.old_path) + b"\nrename to " + quote(item.path) + b"\n")
    before, after = (old.content if old else b""), (new.content if new else b"")
    dark = _dark(old, new)
    if dark and binary:
        raise ValueError("a content that is not here cannot be in a patch")
    is_bin = dark or ((is_binary(before) or is_binary(after)) and before != after)
    insertions = deletions = 0
    if not dark and (before != after or old is None or new is None):
        ids = [("0" * 40 if old is None else blob_id(before)), ("0" * 40 if new is None else blob_id(after))]
        size = 40 if is_bin else 12
        same_mode = old is not None and new is not None and old.git_mode == new.git_mode
        tail = f" {new.git_mode}" if same_mode and new else ""
        out.append(f"index {ids[0][:size]}..{ids[1][:size]}{tail}\n".encode())
    left = b"/dev/null" if old is None else _header_name("a/" + item.old_path)
    right = b"/dev/null" if new is None else _header_name("b/" + item.path)
    if is_bin and binary:
        out.append(b"GIT binary patch\n" + _literal(after) + _literal(before))
    elif is_bin:
        out.append(b"Binary files " + left.rstrip(b"\t") + b" and " + right.rstrip(b"\t") + b" differ\n")
    elif before != after:
        hunks, insertions, deletions = _hunks(before, after, 3)
        out.append(b"--- " + left + b"\n+++ " + right + b"\n" + hunks)
    status: Literal["added", "modified", "deleted", "renamed", "mode"] = "modified"
    if old is None:
        status = "added"
    elif new is None:
        status = "deleted"
    elif renamed:
        status = "renamed"
    elif before == after and not dark:
        status = "mode"
    return b"".join(out), ChangedFile(
        path=_printable(item.path),
        status=status,
        old_path=_printable(item.old_path) if renamed else None,
        insertions=insertions,
        deletions=deletions,
        binary=is_bin,
    )


def _hunks(old: bytes, new: bytes, context: int) -> tuple[bytes, int, int]:
    a, b = split_lines(old), split_lines(new)
    out: list[bytes] = []
    groups: list[list[Opcode]] = []
    added = removed = 0
    for op in opcodes(a, b):
        removed += op[1] - op[0]
        added += op[3] - op[2]
        if groups and op[0] - groups[-1][-1][1] <= 2 * context:
            groups[-1].append(op)
        else:
            groups.append([op])
    for group in groups:
        head = min(context, group[0][0])
        tail = min(context, len(a) - group[-1][1])
        a0, a1 = group[0][0] - head, group[-1][1] + tail
        b0, b1 = group[0][2] - head, group[-1][3] + tail
        out.append(f"@@ -{_range(a0, a1)} +{_range(b0, b1)} @@\n".encode())
        at = a0
        for i0, i1, j0, j1 in group:
            out += [_line(b" ", line) for line in a[at:i0]]
            out += [_line(b"-", line) for line in a[i0:i1]]
            out += [_line(b"+", line) for line in b[j0:j1]]
            at = i1
        out += [_line(b" ", line) for line in a[at:a1]]
    return b"".join(out), added, removed


def _range(start: int, end: int) -> str:
    if end - start == 1:
        return str(start + 1)
    return f"{start + 1 if end > start else start},{end - start}"


def _line(tag: bytes, line: bytes) -> bytes:
    return tag + line if line.endswith(b"\n") else tag + line + b"\n\\ No newline at end of file\n"


def _header_name(name: str) -> bytes:
    quoted = quote(name)
    # Without a tab, patch(1) would take what follows a blank for a time stamp.
    return quoted + b"\t" if b" " in quoted and not quoted.startswith(b'"') else quoted


def _literal(content: bytes) -> bytes:
    packed = zlib.compress(content)
    out = [b"literal %d\n" % len(content)]
    for i in range(0, len(packed), 52):
        chunk = packed[i : i + 52]
        head = len(chunk) + (0x40 if len(chunk) <= 26 else 0x60 - 26)
        out.append(bytes([head]) + b85encode(chunk, pad=True) + b"\n")
    out.append(b"\n")
    return b"".join(out)


def _printable(path: str) -> str:
    return os.fsencode(path).decode("utf-8", "backslashreplace")
