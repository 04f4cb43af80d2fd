"""Turns a parsed patch into a list of changes, checked whole before any of it is carried out.

Pure: `read` gives the files' present states, once, for all paths at a time. The patch is played on a
picture of these; the changes are the difference between the picture before and after. So a file may be
patched twice, and renames may swap names.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from pyro_mcp.errors import InvalidInput, PatchMismatch
from pyro_mcp.patches.apply import Placed, already_applied, apply
from pyro_mcp.patches.model import FilePatch
from pyro_mcp.paths import show, workspace_path

_SYMLINK = 0o120000
_READ_AGAIN = "Read the current files and make the patch again; nothing was changed."


@dataclass(frozen=True, slots=True)
class FileState:
    """What stands at a path, seen without following a link.

    `content` is a regular file's bytes, or None when it is too large to be patched. `mode` holds the
    permission bits, `link` a symbolic link's target.
    """

    kind: Literal["absent", "file", "symlink", "dir", "other"]
    content: bytes | None = None
    mode: int = 0o644
    link: str | None = None
    changing: bool = False
    """A file that was written each time that it was read; so there is no content."""


ABSENT = FileState("absent")


@dataclass(frozen=True, slots=True)
class Change:
    """One step of carrying a patch out. Paths are relative to /workspace.

    Steps come in the order deletions, renames, writes and links, modes, and must be carried out in it. A
    deletion also removes the directories that it leaves empty; a write makes the missing ones.

    `mode` is the permission bits to set (None for "delete" and "symlink"; of "rename", those to keep).
    `expect` must still hold of `path` when the step is carried out (for a rename, `to` must be absent
    too): "absent", or the SHA-256 of the file's content or of the link's target.
    """

    op: Literal["write", "delete", "symlink", "chmod", "rename", "mkdir", "rmdir"]
    path: str
    to: str | None = None
    mode: int | None = None
    content: bytes | None = None
    link: str | None = None
    expect: str | None = None


Read = Callable[[list[str]], dict[str, FileState]]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a patch comes to: the changes, and the hunks by path that stand elsewhere than their headers say."""

    changes: list[Change]
    placed: list[tuple[str, Placed]]


def plan(patches: list[FilePatch], read: Read) -> Plan:
    """The changes that the patch makes, all of them checked.

    `read` is called once with every path that matters (parents too) and answers their states; a path
    that it leaves out is absent.

    Raises:
        InvalidInput: a path leads outside, goes through a symbolic link or a file, or is a directory.
        PatchMismatch: a hunk does not fit, a file to create or rename to exists, one to change or delete
            does not, or all is applied already.
    """
    patches = [_checked_paths(patch) for patch in patches]
    wanted = dict.fromkeys(
        path
        for patch in patches
        for full in (patch.old_path, patch.new_path, *patch.candidates)
        for name in (full, _inside(full))
        if name
        for path in (*_parents(name), name)
    )
    states = read(list(wanted))
    if states.get("workspace", ABSENT).kind == "absent":
        # `a/workspace/x` is /workspace/x behind git's prefix, unless there is a directory of that name.
        patches = [
            replace(
                patch,
                old_path=_inside(patch.old_path),
                new_path=_inside(patch.new_path),
                candidates=tuple(_inside(name) or "" for name in patch.candidates),
            )
            for patch in patches
        ]
    picture = _Picture(states)
    for index, patch in enumerate(patches):
        picture.play(patch, {later.old_path for later in patches[index + 1 :] if later.kind in ("delete", "rename")})
    changes = picture.changes()
    if not changes:
        raise InvalidInput(
            "The patch changes nothing.", hint="Make it with `git diff`, after changing the files.", code="patch_empty"
        )
    return Plan(changes, picture.placed)


def _checked_paths(patch: FilePatch) -> FilePatch:
    def check(name: str | None) -> str | None:
        if name is None:
            return None
        path = str(workspace_path(name))
        if path == ".":
            raise InvalidInput(
                f"Line {patch.line_number} of the patch names {show(name)}, which is not a file.",
                code="bad_path",
                hint="Name a file under /workspace.",
            )
        return path

    candidates: list[str] = []
    for number, name in enumerate(patch.candidates):
        try:
            candidates.append(check(name) or "")
        except InvalidInput:
            # Only the first reading of a name is what the header says; the others are guesses.
            if number == 0:
                raise
    return replace(patch, old_path=check(patch.old_path), new_path=check(patch.new_path), candidates=tuple(candidates))


def _inside(path: str | None) -> str | None:
    return path.removeprefix("workspace/") if path else path


def _parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:i]) for i in range(1, len(parts))]


class _Picture:
    """The files as they are and as the patch makes them."""

    def __init__(self, states: dict[str, FileState]) -> None:
        self.initial = states
        self.now: dict[str, FileState] = {}
        self.displaced: dict[str, FileState] = {}
        self.came_from: dict[str, str] = {}
        self.placed: list[tuple[str, Placed]] = []

    def state(self, path: str) -> FileState:
        return self.now.get(path) or self.initial.get(path, ABSENT)

    def play(self, patch: FilePatch, leaving: set[str | None]) -> None:
        """Play one file's part. `leaving` are the names that later parts take away."""
        if patch.kind == "modify":
            path = self.pick(patch)
            patch = replace(patch, old_path=path, new_path=path)
        old_path, new_path = patch.old_path, patch.new_path
        old = ABSENT
        if old_path is not None:
            moved_aside = patch.kind in ("delete", "rename") and old_path in self.displaced
            old = self.displaced.pop(old_path) if moved_aside else self.state(old_path)
            if patch.kind == "copy":
                old = self.initial.get(old_path, ABSENT)
            self.need_old(patch, old_path, old)
            if patch.kind in ("delete", "rename") and not moved_aside:
                self.now[old_path] = ABSENT
        new = self.outcome(patch, old)
        if new_path is None:
            return
        if patch.kind in ("create", "rename", "copy"):
            self.need_free(patch, new_path, new, leaving)
        self.now[new_path] = new
        if patch.kind == "rename" and old_path is not None:
            self.came_from[new_path] = old_path

    def pick(self, patch: FilePatch) -> str:
        for name in patch.candidates:
            if self.state(name).kind in ("file", "symlink"):
                return name
        return patch.candidates[0] if patch.candidates else patch.path

    def need_old(self, patch: FilePatch, path: str, old: FileState) -> None:
        if old.kind == "absent":
            if (
                patch.kind == "modify"
                and not patch.codex
                and patch.hunks
                and all(hunk.old_count == 0 for hunk in patch.hunks)
            ):
                return
            if patch.kind == "delete":
                raise PatchMismatch(
                    f"{show(path)}, which the patch deletes, does not exist; perhaps the patch is already applied.",
                    hint=_READ_AGAIN,
                    details={"path": path},
                    code="patch_already_applied",
                )
            done = patch.kind == "rename" and self.state(patch.new_path or "").kind != "absent"
            raise PatchMismatch(
                f"{show(path)}, which the patch {_VERBS[patch.kind]}, does not exist"
                + (f", but {show(patch.new_path or '')} does: the patch seems to be already applied." if done else "."),
                hint=_READ_AGAIN,
                details={"path": path},
                code="patch_already_applied" if done else None,
            )
        if old.kind in ("dir", "other"):
            what = "a directory" if old.kind == "dir" else "neither a file nor a symbolic link"
            raise PatchMismatch(
                f"{show(path)} is {what}; a patch changes files only.", hint=_READ_AGAIN, details={"path": path}
            )
        if old.kind == "file" and old.content is None:
            raise InvalidInput(
                f"{show(path)} is too large to be patched.",
                hint="Change it with a command inside the workspace.",
                code="file_too_large",
                details={"path": path},
            )
        if patch.old_mode is not None and (patch.old_mode & 0o170000 == _SYMLINK) != (old.kind == "symlink"):
            raise PatchMismatch(
                f"{show(path)} is a {_KINDS[old.kind]}, and the patch was made from the other kind.",
                hint=_READ_AGAIN,
                details={"path": path},
            )
        if old.kind == "symlink" and patch.old_mode is None and patch.hunks:
            raise PatchMismatch(
                f"{show(path)} is a symbolic link to {show(old.link or '')}; the patch changes a file.",
                hint="Patch the file it points to.",
                details={"path": path},
            )

    def outcome(self, patch: FilePatch, old: FileState) -> FileState:
        """The state that the patch makes of `old`."""
        before = None if old.kind == "absent" else _bytes(old)
        if patch.kind == "delete":
            if patch.hunks or patch.binary or patch.binary_without_data:
                left, _ = apply(before, patch)
                if left and not patch.binary:
                    raise AssertionError("a deletion that left content behind")
            elif before and not patch.codex:
                raise PatchMismatch(
                    f"The patch deletes {show(patch.path)} as an empty file, but it has {len(before)} bytes.",
                    hint=_READ_AGAIN,
                    details={"path": patch.path},
                )
            return ABSENT
        content, placed = apply(before, patch)
        self.placed += [(patch.path, place) for place in placed]
        mode = patch.new_mode
        if mode is None:
            mode = patch.old_mode if old.kind == "symlink" else None
        if (mode is not None and mode & 0o170000 == _SYMLINK) or (mode is None and old.kind == "symlink"):
            link = os.fsdecode(content.removesuffix(b"\n"))
            if not link or "\0" in link or len(content) > 4095:
                raise InvalidInput(
                    f"The patch gives the symbolic link {show(patch.path)} no usable target.",
                    code="bad_patch",
                    hint="A link target is 1 to 4095 bytes without NUL.",
                )
            return FileState("symlink", mode=0o777, link=link)
        return FileState("file", content=content, mode=_permissions(old, mode))

    def need_free(self, patch: FilePatch, path: str, new: FileState, leaving: set[str | None]) -> None:
        there = self.state(path)
        if there.kind == "absent" or path == patch.old_path:
            return
        if path in leaving and path not in self.now:
            self.displaced[path] = there
            return
        if there.kind == "dir" and any(name and name.startswith(path + "/") for name in leaving | self.gone()):
            return
        if _same(there, new):
            raise already_applied(path)
        what = {"create": "creates", "rename": "renames a file to", "copy": "copies a file to"}[patch.kind]
        raise PatchMismatch(
            f"The patch {what} {show(path)}, which already exists with different content."
            if there.kind != "dir"
            else f"The patch {what} {show(path)}, which is a directory.",
            hint="Make a patch that changes the existing file, or delete it first; nothing was changed.",
            details={"path": path},
        )

    def gone(self) -> set[str | None]:
        return {path for path, state in self.now.items() if state.kind == "absent"}

    def changes(self) -> list[Change]:
        if self.displaced:
            path = next(iter(self.displaced))
            raise PatchMismatch(f"The patch creates {show(path)}, which already exists.", hint=_READ_AGAIN)
        touched = {path: state for path, state in self.now.items() if not _same(state, self.initial.get(path, ABSENT))}
        for path, state in touched.items():
            if state.kind != "absent":
                self.check_parents(path)
        deletes, renames, writes, modes = [], [], [], []
        renamed: set[str] = set()
        for path, state in touched.items():
            was = self.initial.get(path, ABSENT)
            source = self.came_from.get(path)
            if state.kind == "absent":
                continue
            if source is not None and was.kind == "absent" and self.is_pure_rename(source, path, state, touched):
                renamed.add(source)
                renames.append(Change("rename", source, to=path, mode=state.mode, expect=_digest(self.initial[source])))
                if state.kind == "file" and state.mode != self.initial[source].mode:
                    modes.append(Change("chmod", path, mode=state.mode, expect=_digest(state)))
            elif state.kind == "symlink":
                writes.append(Change("symlink", path, link=state.link, expect=_digest(was)))
            elif was.kind == "file" and was.content == state.content:
                modes.append(Change("chmod", path, mode=state.mode, expect=_digest(was)))
            else:
                writes.append(Change("write", path, mode=state.mode, content=state.content, expect=_digest(was)))
        for path, state in touched.items():
            if state.kind == "absent" and path not in renamed:
                deletes.append(Change("delete", path, expect=_digest(self.initial[path])))
        return deletes + renames + writes + modes

    def is_pure_rename(self, source: str, path: str, state: FileState, touched: dict[str, FileState]) -> bool:
        was = self.initial.get(source, ABSENT)
        gone = touched.get(source, was).kind == "absent" and was.kind == state.kind
        nested = path.startswith(source + "/") or source.startswith(path + "/")
        same = was.content == state.content and was.link == state.link
        claimed = sum(origin == source for origin in self.came_from.values()) > 1
        return gone and same and not nested and not claimed

    def check_parents(self, path: str) -> None:
        for parent in _parents(path):
            kind = self.state(parent).kind
            if kind == "symlink":
                raise InvalidInput(
                    f"{show(path)} is behind the symbolic link {show(parent)}, and a patch never writes through one.",
                    hint="Use the file's real path.",
                    code="path_through_symlink",
                    details={"path": path},
                )
            if kind in ("file", "other"):
                raise PatchMismatch(
                    f"{show(path)} cannot be written: {show(parent)} is a file, not a directory.",
                    hint=_READ_AGAIN,
                    details={"path": path},
                )


_VERBS = {"modify": "changes", "delete": "deletes", "rename": "renames", "copy": "copies", "create": "creates"}
_KINDS = {"file": "regular file", "symlink": "symbolic link"}


def _permissions(old: FileState, mode: int | None) -> int:
    """git knows only whether a file is executable; the other bits stay as they are."""
    if old.kind != "file":
        return 0o755 if mode is not None and mode & 0o111 else 0o644
    if mode is None:
        return old.mode
    return old.mode | (old.mode & 0o444) >> 2 if mode & 0o111 else old.mode & ~0o111


def _bytes(state: FileState) -> bytes:
    return os.fsencode(state.link or "") if state.kind == "symlink" else state.content or b""


def _same(a: FileState, b: FileState) -> bool:
    if a.kind != b.kind:
        return False
    return a.link == b.link if a.kind == "symlink" else (a.content, a.mode) == (b.content, b.mode) or a.kind == "absent"


def _digest(state: FileState) -> str | None:
    if state.kind == "absent":
        return "absent"
    return hashlib.sha256(_bytes(state)).hexdigest() if state.kind in ("file", "symlink") else None
