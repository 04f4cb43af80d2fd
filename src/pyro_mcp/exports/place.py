"""Puts finished files at a place of the user's, by the rules of cp and rsync: never is a file of theirs lost.

An existing directory is a place to put things into. Files that are there are replaced only when that is asked for,
each in one rename and after a copy was kept (`exports.backups`); nothing else is removed; a directory is never replaced
by a file, nor a file by a directory. All is looked at before the first change, and what fails half-way is taken back.

No name is followed through a symbolic link: each directory is opened by descriptor from the one above it, and every
step is relative to such a descriptor, so that whoever swaps a directory for a link in the meantime gains nothing.
Blocks; knows no workspace and no guest.
"""

from __future__ import annotations

import ctypes
import errno
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from pyro_mcp import trees
from pyro_mcp.errors import Conflict, EngineError, InvalidInput
from pyro_mcp.exports.backups import STAGE, Backups, Keeper
from pyro_mcp.exports.copies import OPEN, copy_tree, link_or_copy
from pyro_mcp.exports.repositories import is_bare
from pyro_mcp.paths import is_dot_git, show

_NAMED = 5
"""Paths that an error names."""
RENAME_NOREPLACE = 1  # include/uapi/linux/fs.h
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Target:
    """Where to: the directory, opened, and the name in it."""

    directory: int
    name: str
    path: Path
    """For people."""


@dataclass
class Outcome:
    """What was done."""

    path: Path
    replaced: list[str] = field(default_factory=list)
    """Files that were there and are kept in `backup`, relative to the target."""
    backup: Path | None = None


@dataclass(frozen=True)
class _Step:
    """One thing to put in place, relative to the target; the target itself is `""`."""

    below: str
    source: Path
    kind: str
    """`file`, `symlink` or `directory`."""
    there: bool


def resolve(output: Path, source_name: str | None) -> tuple[Path, str]:
    """The directory to write into and the name in it, for an output that a user named.

    `source_name` is the last part of what is exported. An existing directory is a place to put it into, unless it is a
    directory of that very name already.

    Raises:
        InvalidInput: not absolute, no such directory, a symbolic link on the way, or inside a `.git`.
    """
    text = str(output)
    if "\0" in text:
        raise InvalidInput(
            "The output path contains a NUL byte.", hint="Give a path without NUL bytes.", code="bad_path"
        )
    if not output.is_absolute():
        raise InvalidInput(
            f"The output path {show(text)} is not absolute.", hint="Give an absolute path.", code="bad_path"
        )
    if any(part == ".." for part in output.parts):
        output = Path(os.path.normpath(text))
    try:
        info: os.stat_result | None = os.lstat(output)
    except FileNotFoundError:
        info = None
    except OSError as error:
        raise InvalidInput(f"{show(text)} cannot be inspected: {error.strerror}.", code="bad_path") from None
    if info is not None and stat.S_ISLNK(info.st_mode) and output.is_dir():
        raise _link(output)
    if info is not None and stat.S_ISDIR(info.st_mode) and source_name is not None:
        directory, name = output, source_name
    else:
        directory, name = output.parent, output.name
    if not name:
        raise InvalidInput(f"{show(text)} cannot be written over.", hint="Name a file or directory.", code="bad_output")
    if any(is_dot_git(part) for part in (*directory.parts, name)) or _in_bare(directory):
        raise InvalidInput(
            f"{show(str(directory / name))} is inside a git repository's own directory; nothing is exported there.",
            hint="Choose another place. `pyro workspace land` brings changes into a repository.",
            code="bad_output",
        )
    return directory, name


def _in_bare(directory: Path) -> bool:
    """Whether git would take the directory, or one above it, for a repository without a work tree: hooks run there."""
    return any(is_bare(place) for place in (directory, *directory.parents))


def _link(path: Path) -> InvalidInput:
    return InvalidInput(
        f"{show(str(path))} is a symbolic link, to {show(os.path.realpath(path))}; an export never writes through one.",
        hint="Give the real directory.",
        code="output_through_link",
    )


@contextmanager
def opened(directory: Path, name: str) -> Iterator[Target]:
    """The directory, opened part by part without following a link.

    Links above the user's home directory are the system's and are followed.

    Raises:
        InvalidInput: it does not exist, is not a directory, or is reached through a link.
    """
    home = Path(os.path.expanduser("~"))
    if directory == home or home in directory.parents:
        directory = Path(os.path.realpath(home), *directory.parts[len(home.parts) :])
    at = os.open("/", OPEN)
    try:
        walked = Path("/")
        for part in directory.parts[1:]:
            walked = walked / part
            try:
                below = os.open(part, OPEN, dir_fd=at)
            except OSError as error:
                raise _not_opened(directory if error.errno == errno.ENOENT else walked, error) from None
            os.close(at)
            at = below
        yield Target(at, name, directory / name)
    finally:
        os.close(at)


def _not_opened(path: Path, error: OSError) -> InvalidInput:
    if os.path.islink(path):
        return _link(path)
    if error.errno == errno.ENOENT:
        return InvalidInput(
            f"The directory {show(str(path))} does not exist.", hint="Create it first.", code="no_directory"
        )
    if error.errno == errno.ENOTDIR:
        return InvalidInput(f"{show(str(path))} is not a directory.", hint="Choose another place.", code="no_directory")
    return InvalidInput(f"{show(str(path))} cannot be opened: {error.strerror}.", code="output_not_writable")


def place(
    staged: Path,
    target: Target,
    *,
    overwrite: bool,
    backups: Backups,
    protected: Callable[[list[str]], set[str]] = lambda below: set(),
) -> Outcome:
    """Put what is staged at the target.

    Args:
        staged: a finished file, link or tree in a private directory.
        overwrite: files that are there may be replaced.
        protected: of these paths below the target, `""` for itself, those whose file must not be replaced.

    Raises:
        Conflict: something is there already; nothing was changed.
        EngineError: this computer refused in the middle; what was done was taken back.
    """
    steps: list[_Step] = []
    conflicts: list[tuple[str, str]] = []
    _look(staged, target.directory, target.name, "", steps, conflicts)
    replaced = [step.below for step in steps if step.there]
    _refuse(target, conflicts, replaced, overwrite, protected)
    keeper = backups.open(target.path)
    work = _Work(target, keeper)
    try:
        for step in steps:
            work.carry_out(step)
    except OSError as error:
        work.take_back()
        raise EngineError(
            f"{show(str(target.path))} could not be written: {error.strerror}. The export was undone.",
            hint="Check whether the disk is full or read-only.",
            code="output_not_writable",
        ) from error
    except BaseException:
        work.take_back()
        raise
    finally:
        work.close()
    if replaced:
        return Outcome(target.path, [below or target.name for below in replaced], keeper.keep())
    keeper.drop()
    return Outcome(target.path)


def _look(
    source: Path, directory: int, name: str, below: str, steps: list[_Step], conflicts: list[tuple[str, str]]
) -> None:
    """Plan one thing: what is there, and what would have to be done."""
    info = source.lstat()
    kind = "symlink" if stat.S_ISLNK(info.st_mode) else "directory" if stat.S_ISDIR(info.st_mode) else "file"
    try:
        there = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        steps.append(_Step(below, source, kind, False))
        return
    except OSError as error:
        conflicts.append((below, f"cannot be inspected: {error.strerror}"))
        return
    if kind != "directory":
        if stat.S_ISDIR(there.st_mode):
            conflicts.append((below, "is a directory, which is never replaced by a file"))
        elif not (stat.S_ISREG(there.st_mode) or stat.S_ISLNK(there.st_mode)):
            conflicts.append((below, "is neither a file nor a link"))
        elif not _same(source, info, directory, name, there):
            steps.append(_Step(below, source, kind, True))
        return
    if not stat.S_ISDIR(there.st_mode):
        what = "a symbolic link" if stat.S_ISLNK(there.st_mode) else "no directory"
        conflicts.append((below, f"is {what} where a directory is needed"))
        return
    inner = os.open(name, OPEN, dir_fd=directory)
    try:
        for child in sorted(os.listdir(source)):
            _look(source / child, inner, child, f"{below}/{child}" if below else child, steps, conflicts)
    finally:
        os.close(inner)


def _same(source: Path, info: os.stat_result, directory: int, name: str, there: os.stat_result) -> bool:
    """Whether the very same stands there already, so that nothing has to be replaced."""
    if stat.S_IFMT(info.st_mode) != stat.S_IFMT(there.st_mode):
        return False
    if stat.S_ISLNK(info.st_mode):
        return os.readlink(source) == os.readlink(name, dir_fd=directory)
    if info.st_size != there.st_size or stat.S_IMODE(info.st_mode) != stat.S_IMODE(there.st_mode):
        return False
    try:
        there_now = trees.opened(name, directory)
    except OSError:
        return False
    with there_now as old, source.open("rb") as new:
        while True:
            a, b = old.read(1 << 20), new.read(1 << 20)
            if a != b:
                return False
            if not a:
                return True


def _refuse(
    target: Target,
    conflicts: list[tuple[str, str]],
    replaced: list[str],
    overwrite: bool,
    protected: Callable[[list[str]], set[str]],
) -> None:
    def named(below: str) -> str:
        return show(str(target.path / below) if below else str(target.path))

    if conflicts:
        more = f" ({len(conflicts)} such places)" if len(conflicts) > 1 else ""
        raise Conflict(
            f"{named(conflicts[0][0])} {conflicts[0][1]}{more}; nothing was changed.",
            hint="Choose another place.",
            code="output_exists",
        )
    kept = protected(replaced) if replaced else set()
    if kept:
        some = ", ".join(named(below) for below in sorted(kept)[:_NAMED])
        raise Conflict(
            f"{some}{' …' if len(kept) > _NAMED else ''}: git tracks it in the user's project, and an export does not "
            "replace such a file; nothing was changed.",
            hint="`pyro workspace land` commits the changes as a branch; `patch` exports them as a patch to apply. "
            "Or choose another place.",
            code="output_in_project",
        )
    if replaced and not overwrite:
        some = ", ".join(named(below) for below in replaced[:_NAMED])
        raise Conflict(
            f"{some}{' …' if len(replaced) > _NAMED else ''} already exists; nothing was changed.",
            hint="Choose another place, or use `overwrite`; replaced files are kept in a backup.",
            code="output_exists",
        )


class _Work:
    """Carries the steps out, and knows how to take them back."""

    def __init__(self, target: Target, keeper: Keeper) -> None:
        self._target = target
        self._keeper = keeper
        self._stage_name = STAGE + secrets.token_hex(6)
        keeper.stage(target.path.parent / self._stage_name)
        self._number = 0
        self._stage = -1
        self._undo: list[Callable[[], None]] = []
        try:
            os.mkdir(self._stage_name, 0o700, dir_fd=target.directory)
            self._stage = os.open(self._stage_name, OPEN, dir_fd=target.directory)
        except OSError as error:
            keeper.drop()
            raise InvalidInput(
                f"{show(str(target.path.parent))} cannot be written: {error.strerror}.",
                hint="Choose another place.",
                code="output_not_writable",
            ) from None

    def carry_out(self, step: _Step) -> None:
        with self._parent(step.below) as (directory, name):
            staged = self._finished(step)
            if step.there:
                self._replace(step, staged, directory, name)
            else:
                self._put(step, staged, directory, name)

    @contextmanager
    def _parent(self, below: str) -> Iterator[tuple[int, str]]:
        """The directory that a path below the target is in."""
        parts = [self._target.name, *below.split("/")] if below else [self._target.name]
        at = os.dup(self._target.directory)
        try:
            for part in parts[:-1]:
                inner = os.open(part, OPEN, dir_fd=at)
                os.close(at)
                at = inner
            yield at, parts[-1]
        finally:
            os.close(at)

    def _finished(self, step: _Step) -> str:
        """A whole copy in the stage, which is on the file system of the target."""
        self._number += 1
        name = f"n{self._number}"
        copy_tree(step.source, self._stage, name)
        return name

    def _put(self, step: _Step, staged: str, directory: int, name: str) -> None:
        """Where nothing was; what came there in the meantime is not touched."""
        info = os.stat(staged, dir_fd=self._stage, follow_symlinks=False)
        _rename_new(self._stage, staged, directory, name, step.kind)
        self._did(step, lambda at: _remove_if(at, name, info))

    def _replace(self, step: _Step, staged: str, directory: int, name: str) -> None:
        self._keeper.save(step.below or self._target.name, directory, name)
        kept = f"{staged}.old"
        link_or_copy(directory, name, self._stage, kept)
        os.rename(staged, name, src_dir_fd=self._stage, dst_dir_fd=directory)
        self._did(step, lambda at: os.rename(kept, name, src_dir_fd=self._stage, dst_dir_fd=at))

    def _did(self, step: _Step, undo: Callable[[int], None]) -> None:
        """Remember how a step is taken back; its directory is found anew then, so that a large tree holds none open."""

        def run() -> None:
            with self._parent(step.below) as (directory, _):
                undo(directory)

        self._undo.append(run)

    def take_back(self) -> None:
        """Undo the steps, newest first. Where one cannot be undone, the backup of what was replaced stays."""
        whole = True
        while self._undo:
            try:
                self._undo.pop()()
            except OSError:
                whole = False
        if whole:
            self._keeper.drop()
        else:
            self._keeper.keep()

    def close(self) -> None:
        os.close(self._stage)
        with suppress(OSError):
            shutil.rmtree(self._stage_name, dir_fd=self._target.directory)


def _rename_new(from_directory: int, old: str, to_directory: int, new: str, kind: str) -> None:
    """Rename to a name that nobody has."""
    done = _libc.renameat2(from_directory, os.fsencode(old), to_directory, os.fsencode(new), RENAME_NOREPLACE)
    if done == 0:
        return
    number = ctypes.get_errno()
    if number not in (errno.ENOSYS, errno.EINVAL):
        raise OSError(number, os.strerror(number), new)
    # A file system without it: a link takes no name that is there, nor does mkdir.
    if kind == "directory":
        os.mkdir(new, 0o700, dir_fd=to_directory)
        os.rename(old, new, src_dir_fd=from_directory, dst_dir_fd=to_directory)
    else:
        os.link(old, new, src_dir_fd=from_directory, dst_dir_fd=to_directory, follow_symlinks=False)


def _remove_if(directory: int, name: str, info: os.stat_result) -> None:
    """Remove what we made, unless something else has taken its place."""
    found = os.stat(name, dir_fd=directory, follow_symlinks=False)
    if (found.st_dev, found.st_ino) != (info.st_dev, info.st_ino):
        return
    if stat.S_ISDIR(found.st_mode):
        shutil.rmtree(name, dir_fd=directory)
    else:
        os.unlink(name, dir_fd=directory)
