"""Looks at what a workspace is to be filled with, and lists it. Reads names and metadata, no contents.

A directory gives all that is in it. A git work tree gives what is tracked or untracked and not ignored,
with its `.git`, so that log, blame and diff work inside; where that is elsewhere or is shared, `seeds.repository`
makes one. Symbolic links are listed as they are, never
followed. Archives are looked into only when they are unpacked (`seeds.store`).
"""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from pyro_mcp.errors import InvalidInput
from pyro_mcp.paths import show
from pyro_mcp.seeds import bounds, repository
from pyro_mcp.seeds.archives import SUFFIXES, is_archive_name
from pyro_mcp.trees import MOST_DEPTH

_NAMED = 5
"""Files that a note names."""
_KINDS = {stat.S_IFSOCK: "socket", stat.S_IFIFO: "FIFO", stat.S_IFCHR: "device", stat.S_IFBLK: "device"}


class Entry(NamedTuple):
    """One file, directory or link of a seed. A directory stands before what is in it."""

    path: str
    mode: int
    """Kind and permission bits, as `lstat` gives them."""
    size: int
    mtime_ns: int
    ctime_ns: int
    ino: int
    dev: int
    link: str | None


@dataclass(frozen=True)
class SeedPlan:
    """What will be copied. `files` counts files and links; it and `bytes` are 0 for an archive."""

    source: Path
    kind: Literal["directory", "git", "archive"]
    entries: list[Entry] = field(repr=False)
    files: int
    bytes: int
    skipped: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    commit: str | None = None
    """Of a git work tree: what HEAD is."""
    prefix: str = ""
    """Of a part of a git work tree: where it stands below the top."""
    repository: repository.Repository | None = None
    """What its `.git` is made from, where the work tree has no whole one of its own."""
    bare: bool = False
    """A part of a work tree gets no git of its own: it goes into a workspace that has one."""

    def fingerprint(self) -> str:
        """SHA-256 over names and metadata. It changes whenever a file of the source does."""
        digest = hashlib.sha256(f"{self.kind}\0{os.fspath(self.source)}\0".encode("utf-8", "surrogateescape"))
        if self.repository is not None:
            digest.update(repr(self.repository).encode("utf-8", "backslashreplace"))
        digest.update(repr([tuple(entry) for entry in self.entries]).encode("utf-8", "backslashreplace"))
        return digest.hexdigest()


def scan(path: str | os.PathLike[str], *, include_ignored: bool = False, bare: bool = False) -> SeedPlan:
    """What `path` would seed a workspace with.

    With `include_ignored`, a git work tree is taken whole like any directory. `bare`: see `SeedPlan`.

    Raises:
        InvalidInput: missing, unreadable, a socket or device, a file that is not an archive, with something
            unreadable inside, over the bounds of `seeds.bounds`, or hardly meant (this whole machine, a home).
    """
    source = Path(os.path.abspath(os.path.expanduser(path)))
    shown = show(str(source))
    try:
        source = source.resolve(strict=True)
        info = source.stat()
    except FileNotFoundError:
        raise _bad(f"The seed path {shown} does not exist.", "seed_missing") from None
    except (OSError, RuntimeError, ValueError) as error:
        raise _bad(f"The seed path {shown} cannot be read: {_reason(error)}.", "seed_unreadable") from None
    if stat.S_ISREG(info.st_mode):
        if not is_archive_name(source.name):
            raise _bad(f"The seed path {shown} is a file, but no archive ({', '.join(SUFFIXES)}).", "seed_unsupported")
        if not os.access(source, os.R_OK):
            raise _bad(f"The seed path {shown} cannot be read: permission denied.", "seed_unreadable")
        return SeedPlan(source, "archive", [_entry("", info, None)], 0, 0)
    if not stat.S_ISDIR(info.st_mode):
        kind = _KINDS.get(stat.S_IFMT(info.st_mode), "special file")
        raise _bad(f"The seed path {shown} is a {kind}; it must be a directory or an archive.", "seed_unsupported")
    if not os.access(source, os.R_OK | os.X_OK):
        raise _bad(f"The seed path {shown} cannot be read: permission denied.", "seed_unreadable")
    kind_found: Literal["directory", "git"] = "directory"
    top = None if include_ignored else _work_tree_top(source)
    bounds.refuse_unmeant(source, work_tree=top is not None, meant=include_ignored)  # before git looks at it
    walk = _Walk(source)
    if top is not None and walk.git(top, bare):
        kind_found = "git"
    else:
        bounds.refuse_unmeant(source, work_tree=False, meant=include_ignored)
        walk.tree("")
        walk.repository = repository.look(source, source)
    commit, prefix = None, ""
    if kind_found == "git" and top is not None:
        commit = head(top)
        prefix = "" if source == top else source.relative_to(top).as_posix()
    walk.tell()
    return SeedPlan(
        source,
        kind_found,
        walk.entries,
        walk.files,
        walk.bytes,
        walk.skipped,
        walk.notes,
        commit,
        prefix,
        walk.repository,
        bare,
    )


def head(top: Path) -> str | None:
    """The commit that HEAD of a work tree is; None where there is none, or no git."""
    done = _git(top, str(top), "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
    if isinstance(done, str) or done is None or done.returncode:
        return None
    return done.stdout.decode().strip() or None


def _git(top: Path, directory: str, *arguments: str) -> subprocess.CompletedProcess[bytes] | str | None:
    """Run git on a work tree; see `repository.run`."""
    return repository.run(top / ".git", str(top), directory, *arguments)


def restat(plan: SeedPlan) -> bool:
    """Whether everything in the plan still is as it was when it was listed.

    Names that came or went show in the times of their directories, which are part of the plan.
    """
    root = str(plan.source)
    if plan.repository is not None and not repository.unchanged(plan.repository):
        return False
    for entry in plan.entries:
        try:
            path = f"{root}/{entry.path}" if entry.path else root
            info = os.lstat(path)
            link = os.readlink(path) if entry.link is not None else None
        except OSError:
            return False
        if _entry(entry.path, info, link) != entry:
            return False
    return True


def _bad(message: str, code: str) -> InvalidInput:
    return InvalidInput(
        message, hint="Give a directory, a git work tree or an archive (.tar, .tar.gz, .tgz, .tar.zst).", code=code
    )


def _reason(error: BaseException) -> str:
    return (error.strerror or str(error)).lower() if isinstance(error, OSError) else str(error)


def _entry(path: str, info: os.stat_result, link: str | None) -> Entry:
    return Entry(path, info.st_mode, info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino, info.st_dev, link)


def _work_tree_top(source: Path) -> Path | None:
    for directory in (source, *source.parents):
        dot = directory / ".git"
        if dot.is_file() or (dot / "HEAD").is_file():
            return directory
    return None


def _attributes(path: str) -> bool:
    """Whether a file says more of itself than its mode; labels of SELinux, which all files have, do not count."""
    try:
        return any(name != "security.selinux" for name in os.listxattr(path, follow_symlinks=False))
    except OSError:
        return False


class _Walk:
    def __init__(self, source: Path) -> None:
        self.source = str(source)
        self.entries: list[Entry] = []
        self.files = self.bytes = 0
        self.skipped: list[str] = []
        self.notes: list[str] = []
        self.repository: repository.Repository | None = None
        self.special: list[str] = []
        self.attributed: list[str] = []
        self.linked: dict[tuple[int, int], list[str]] = {}
        self.uid = os.geteuid()
        info = os.lstat(self.source)
        self.entries.append(_entry("", info, None))
        self.dirs: dict[str, bool] = {"": True}

    def add(self, path: str, info: os.stat_result) -> None:
        mode = info.st_mode
        kind = stat.S_IFMT(mode)
        if path.count("/") >= MOST_DEPTH:
            raise InvalidInput(
                f"{show(self.full(path))} is more than {MOST_DEPTH} directories deep in the seed; nothing was copied.",
                hint="Seed from a directory without it.",
                code="tree_too_deep",
            )
        if kind == stat.S_IFREG:
            if self.uid and not (info.st_uid == self.uid and mode & 0o400) and not os.access(self.full(path), os.R_OK):
                raise self.unreadable(path, "permission denied")
            self.files += 1
            self.bytes += info.st_size
            self.entries.append(_entry(path, info, None))
            if mode & (stat.S_ISUID | stat.S_ISGID):
                self.special.append(path)
            if _attributes(self.full(path)):
                self.attributed.append(path)
            if info.st_nlink > 1 and ".git" not in path.split("/"):
                self.linked.setdefault((info.st_dev, info.st_ino), []).append(path)
        elif kind == stat.S_IFLNK:
            try:
                link = os.readlink(self.full(path))
            except OSError as error:
                raise self.unreadable(path, _reason(error)) from error
            self.files += 1
            self.entries.append(_entry(path, info, link))
        elif kind == stat.S_IFDIR:
            self.dirs[path] = True
            self.entries.append(_entry(path, info, None))
        else:
            self.skipped.append(f"{path} ({_KINDS.get(kind, 'special file')})")
        if len(self.entries) > bounds.MAX_FILES or self.bytes > bounds.MAX_BYTES:
            raise bounds.too_much(self.source, [entry.path for entry in self.entries])

    def full(self, path: str) -> str:
        return f"{self.source}/{path}" if path else self.source

    def unreadable(self, path: str, reason: str) -> InvalidInput:
        return InvalidInput(
            f"{show(self.full(path))} in the seed cannot be read: {reason}.",
            hint="Make it readable, or seed from a directory without it.",
            code="seed_unreadable",
        )

    def tree(self, start: str) -> None:
        """All below directory `start`, which is listed already; a directory's own files stand together."""
        todo = [start]
        while todo:
            directory = todo.pop()
            prefix = directory + "/" if directory else ""
            try:
                with os.scandir(self.full(directory)) as found:
                    for item in sorted(found, key=lambda item: item.name):
                        info = item.stat(follow_symlinks=False)
                        path = prefix + item.name
                        if path.endswith(".lock") and path.startswith(".git/"):
                            self.skipped.append(f"{path} (a lock of a running git)")
                            continue
                        self.add(path, info)
                        if stat.S_ISDIR(info.st_mode):
                            todo.append(path)
            except FileNotFoundError:
                continue  # Gone since; the check after copying sees it in the directory's time.
            except OSError as error:
                raise self.unreadable(directory, _reason(error)) from error

    def git(self, top: Path, bare: bool = False) -> bool:
        """List a work tree, or False with a note when git cannot."""
        names = self.ls_files(top, self.source)
        if names is None:
            return False
        at_top = str(top) == self.source
        if not names and not at_top:
            self.notes.append(f"Git ignores this directory of {top}, so all of it was copied.")
            return False
        self.listed("", names)
        if bare and not at_top:
            return True
        dot = top / ".git"
        made = self.repository = repository.look(top, Path(self.source))
        if made is None and (not at_top or not dot.is_dir() or dot.is_symlink()):
            self.notes.append(f"The .git of {top} does not point to a repository, so none was copied.")
        elif not at_top:
            self.notes.append(
                f"A part of the work tree {top}: inside it is a repository of its own, with one commit made of "
                f"{made.prefix if made else ''} at HEAD. `land` goes to the whole one."
            )
        elif dot.is_dir() and not dot.is_symlink():
            self.add(".git", os.lstat(dot))
            self.tree(".git")
            if made is not None:
                self.notes.append("The repository borrows objects from another one; those it needs were copied.")
        elif made is not None:
            self.notes.append(f"The git directory {made.directory} was copied as .git.")
        return True

    def tell(self) -> None:
        """Say what a copy does not keep."""
        if self.special:
            names = ", ".join(show(path) for path in self.special[:_NAMED])
            self.notes.append(f"{len(self.special)} files have set-uid or set-gid bits, which were not kept: {names}.")
        if self.attributed:
            names = ", ".join(show(path) for path in self.attributed[:_NAMED])
            self.notes.append(
                f"{len(self.attributed)} files have extended attributes or access lists, which were not kept: {names}."
            )
        twins = [paths for paths in self.linked.values() if len(paths) > 1]
        if twins:
            names = ", ".join(show(paths[0]) for paths in twins[:_NAMED])
            self.notes.append(
                f"{sum(map(len, twins))} names are hard links of {len(twins)} files, and are separate files inside: "
                f"{names}."
            )

    def listed(self, prefix: str, names: Iterable[str]) -> None:
        for name in names:
            path = prefix + name.rstrip("/")
            if not self.parents(path):
                continue
            try:
                info = os.lstat(self.full(path))
            except (FileNotFoundError, NotADirectoryError):
                continue  # Tracked but deleted in the work tree.
            except OSError as error:
                raise self.unreadable(path, _reason(error)) from error
            if stat.S_ISDIR(info.st_mode) and path in self.dirs:
                continue
            self.add(path, info)
            if stat.S_ISDIR(info.st_mode):
                self.nested(path)

    def nested(self, path: str) -> None:
        """A submodule, or another repository inside this one."""
        dot = Path(self.full(path), ".git")
        if not os.path.lexists(dot):
            return  # A submodule that is not checked out.
        names = self.ls_files(Path(self.full(path)), self.full(path))
        if names is None:
            self.tree(path)
            return
        self.listed(path + "/", names)
        self.add(f"{path}/.git", os.lstat(dot))
        if dot.is_dir() and not dot.is_symlink():
            self.tree(f"{path}/.git")

    def parents(self, path: str) -> bool:
        """List the directories above `path`; False when one is none, as behind a link put in its place."""
        parent = path.rpartition("/")[0]
        known = self.dirs.get(parent)
        if known is not None:
            return known
        ok = self.parents(parent)
        if ok:
            try:
                info = os.lstat(self.full(parent))
                ok = stat.S_ISDIR(info.st_mode)
            except OSError:
                ok = False
            if ok:
                self.add(parent, info)
        self.dirs[parent] = ok
        return ok

    def ls_files(self, top: Path, directory: str) -> list[str] | None:
        done = _git(top, directory, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
        if done is None:
            self.notes.append("git is not on this computer, so ignored files were copied too.")
            return None
        if isinstance(done, str):
            self.notes.append(f"git ls-files failed ({done}), so ignored files were copied too.")
            return None
        if done.returncode:
            first = done.stderr.decode("utf-8", "replace").strip().splitlines()[:1]
            self.notes.append(f"git ls-files failed ({' '.join(first)}), so ignored files were copied too.")
            return None
        return list(dict.fromkeys(os.fsdecode(name) for name in done.stdout.split(b"\0") if name))
