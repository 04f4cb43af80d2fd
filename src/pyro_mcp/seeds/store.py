"""Keeps seeds as directories named by what they were made from, so an unchanged source is copied once.

Layout: `ROOT/DIGEST/tree` beside `ROOT/DIGEST/seed.json` and its index (`seeds.index`); work in progress in
`ROOT/.staging-…`, locked by whoever makes it. A seed appears by one rename. Nothing is synced to disk: the digest
includes the id of this boot, so a tree that a power loss may have torn is never taken for whole.

Files that an earlier seed of the same source has are linked from there. The others are copied here and not by a pipe
of two `tar`: it keeps nanoseconds, walks through no link, and says which file failed. It costs more CPU than `tar`;
where the disk is what limits, the two take about as long.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import hashlib
import json
import logging
import os
import re
import secrets
import stat
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyro_mcp import trees, wholeness
from pyro_mcp.errors import Conflict, InvalidInput
from pyro_mcp.paths import show
from pyro_mcp.seeds import index
from pyro_mcp.seeds.archives import Progress, extract
from pyro_mcp.seeds.repository import build
from pyro_mcp.seeds.scan import Entry, SeedPlan, restat, scan

log = logging.getLogger(__name__)
_DAMAGED = ".damaged-"
_RACY_NS = 100_000_000
"""Times are kept in ticks of up to 10 ms; a source changed this shortly ago may change again unseen."""
_ATTEMPTS = 3
_SMALL = 256 * 1024
_PROGRESS_FILES = 200
_USER_IN_WEB_URL = re.compile(rb"(?i)(\bhttps?://)[^/\s\"]*@")
"""There, a name alone is a token more often than not."""
_USER_IN_URL = re.compile(rb"(?i)(\b[a-z][a-z0-9+.-]*://)[^/\s\":]*:[^/\s\"]*@")
"""A URL with a password in it; elsewhere a name alone, as in ssh://git@…, says nothing secret."""
_EXTRA_HEADER = re.compile(rb"(?im)(^|\])[ \t]*extraheader[ \t]*=(?:\\\r?\n|[^\n])*(\n|\Z)")
"""How CI systems hand a token to git (git-config(1), http.extraHeader); a line may go on behind a backslash."""
_PASSWORD = re.compile(rb"(?im)^([ \t]*(?:smtppass|pass|password|token|oauthtoken)[ \t]*=)[^\n]*")
"""Of sendemail, imap and what other tools keep there."""
_GIT_CONFIGS = ("config", "config.worktree")
_SEED = re.compile(rf"[0-9a-f]{{64}}({re.escape(_DAMAGED)}[0-9a-f]+)?\Z")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Seed:
    """A seed in the store. `reused` tells that nothing was copied."""

    digest: str
    tree: Path
    files: int
    bytes: int
    reused: bool


class SeedStore:
    """The seeds of one user, below `root`, which is made with mode 0700. Safe between processes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        boot = _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else ""
        self._boot = boot
        self._salt = f"pyro seed 1 {boot} "
        self._users = 0
        self._turn = threading.Lock()
        names = (path.name for path in trees.matching(root, f"*{_DAMAGED}*"))
        self._damaged = {name.partition(_DAMAGED)[0] for name in names}

    def materialise(self, plan: SeedPlan, progress: Progress | None = None, owner: tuple[int, int] = (0, 0)) -> Seed:
        """The plan's content as a tree of the store that belongs to `owner`, copied unless it is there already.

        When the source changes while it is copied, it is listed and copied anew, three times at most.

        Raises:
            InvalidInput: a file cannot be read, or an archive is bad.
            Conflict: the source would not stand still.
        """
        for _ in range(_ATTEMPTS):
            started = time.time_ns()
            digest = self._digest(plan, owner)
            found = self._sound(digest)
            if found:
                return found
            racy = any(max(e.ctime_ns, e.mtime_ns) > started - _RACY_NS for e in plan.entries)
            if racy:
                # It could change again without a trace in its times: a name that is never looked for.
                digest = hashlib.sha256((digest + secrets.token_hex(16)).encode()).hexdigest()
            with self._staging() as staging:
                record = self._like(plan, owner)
                files, size = self._fill(plan, staging / "tree", progress, record)
                if owner != (0, 0):
                    _give(staging / "tree", owner)
                if restat(plan):
                    self._note(plan, staging, started)
                    return self._publish(staging, digest, record, files, size)
            again = functools.partial(scan, plan.source, include_ignored=plan.kind == "directory", bare=plan.bare)
            plan = (plan.lister or again)()
        raise Conflict(
            f"The seed {show(str(plan.source))} kept changing while it was copied.",
            hint="Stop whatever writes to it, or seed from a copy.",
            code="seed_unstable",
        )

    def find(self, digest: str) -> Seed | None:
        """The seed of that digest, if it is in the store. Blocks: one lstat a file.

        Raises:
            Conflict: it was changed on this disk since it was made.
        """
        found = self._sound(digest)
        if found is None and digest in self._damaged:
            raise Conflict(
                f"The seed {digest[:12]} was changed on this computer's disk after it was copied and will not be "
                "used again.",
                hint="Files that the workspace wrote are intact: export them. Files that come unchanged from the "
                "seed may be "
                "damaged. Create a new workspace for the rest.",
                code="seed_damaged",
            )
        return found

    def check(self, digests: set[str]) -> list[str]:
        """Look at these seeds; those that are not what they were. For a worker thread: one lstat a file."""
        there = [digest for digest in sorted(digests) if os.path.lexists(self.root / digest)]
        return [digest for digest in there if self._sound(digest) is None]

    def _sound(self, digest: str) -> Seed | None:
        """The seed, if it is just as it was made; a damaged one is put aside for those that run with it."""
        home = self.root / digest
        if not os.path.lexists(home):
            return None
        try:
            found, mark = self._recorded(digest)
            if mark is None or wholeness.is_as_marked(found.tree, str(mark)):
                return found
        except (OSError, ValueError, KeyError, TypeError) as error:
            if wholeness.no_verdict(error):
                raise
            if not os.path.lexists(home):
                return None  # tidied away meanwhile
        log.warning("the seed %s was changed on this disk since it was copied", digest[:12])
        self._damaged.add(digest)
        with contextlib.suppress(OSError):
            home.rename(self.root / f"{digest}{_DAMAGED}{secrets.token_hex(4)}")
        return None

    @contextlib.contextmanager
    def used(self) -> Iterator[None]:
        """Meanwhile `tidy` removes nothing: a seed is about to be named by who makes a workspace, or copied from."""
        with self._turn:
            self._users += 1
        try:
            yield
        finally:
            with self._turn:
                self._users -= 1

    def tidy(self, in_use: Callable[[], set[str]]) -> list[str]:
        """Remove what nobody uses any more, unless somebody is about to; the digests removed. Blocks."""
        with self._turn:
            return [] if self._users else self.prune(in_use())

    def prune(self, in_use: set[str]) -> list[str]:
        """Remove every seed whose digest is not in `in_use`; the digests removed."""
        removed = []
        for path in self.root.iterdir():
            if path.name.startswith(".") or path.name.partition(_DAMAGED)[0] in in_use:
                continue
            if not _SEED.match(path.name):
                continue
            # Out of sight first: a seed that is half removed must not be found.
            aside = self.root / f".staging-removed-{secrets.token_hex(8)}"
            with contextlib.suppress(FileNotFoundError):
                path.rename(aside)
                wholeness.remove(aside)
                removed.append(path.name)
        return removed

    def sweep(self) -> int:
        """Remove what killed processes left behind; how many. Work of living processes is left alone."""
        count = 0
        for path in trees.matching(self.root, ".staging-*"):
            with contextlib.suppress(FileNotFoundError):
                lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    wholeness.remove(path)
                    count += 1
                except BlockingIOError:
                    pass
                finally:
                    os.close(lock)
        return count

    def _digest(self, plan: SeedPlan, owner: tuple[int, int]) -> str:
        whose = "" if owner == (0, 0) else f"owner {owner[0]}:{owner[1]} "
        return hashlib.sha256((self._salt + whose + plan.fingerprint()).encode()).hexdigest()

    def _recorded(self, digest: str) -> tuple[Seed, Any]:
        """What is noted of a seed, and the mark of its tree. Raises what comes of a record that is none."""
        home = self.root / digest
        record = wholeness.read_record(home / "seed.json")
        return Seed(digest, home / "tree", int(record["files"]), int(record["bytes"]), True), record.get("mark")

    @contextlib.contextmanager
    def _staging(self) -> Iterator[Path]:
        while True:
            path = self.root / f".staging-{os.getpid()}-{secrets.token_hex(8)}"
            path.mkdir(mode=0o700)
            try:
                lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue  # A sweep came between the two lines above.
            fcntl.flock(lock, fcntl.LOCK_EX)
            if path.exists():
                break
            os.close(lock)
        try:
            yield path
        finally:
            wholeness.remove(path)
            os.close(lock)

    def _like(self, plan: SeedPlan, owner: tuple[int, int]) -> dict[str, Any]:
        """What two seeds have in common that may share files."""
        return {"source": str(plan.source), "kind": plan.kind, "owner": list(owner), "boot": self._boot}

    def _fill(self, plan: SeedPlan, tree: Path, progress: Progress | None, like: dict[str, Any]) -> tuple[int, int]:
        tree.mkdir(mode=0o755)
        if plan.kind == "archive":
            try:
                found = extract(plan.source, tree, progress)
            except PermissionError as error:
                raise _unreadable(str(plan.source), error) from error
            configs = _git_configs(_files(tree, tree))
            files, size = found.files, found.bytes
        else:
            _Copy(plan, tree, progress, index.Index.of_seed(self.root, like)).run()
            paths = {entry.path for entry in plan.entries}
            if plan.repository is not None:
                build(plan.repository, tree)
                paths |= set(_files(tree / ".git", tree))
            configs = _git_configs(sorted(paths))
            files, size = plan.files, plan.bytes
        for path in configs:
            # Also of submodules, linked work trees, repositories within, and bare ones.
            if ".git" in path.split("/") or (tree / path).with_name("HEAD").is_file():
                without_credentials(tree / path)
        return files, size

    @staticmethod
    def _note(plan: SeedPlan, home: Path, listed_ns: int) -> None:
        """For the next seed of this source, which copies all where there is no note."""
        if plan.kind != "archive":  # whose files have no times of their own on this disk
            unlike = frozenset(entry.path for entry in plan.entries if not _as_source(plan, entry.path))
            with contextlib.suppress(OSError):
                index.write(home, plan.entries, listed_ns, unlike)

    def _publish(self, staging: Path, digest: str, like: dict[str, Any], files: int, size: int) -> Seed:
        record = {**like, "files": files, "bytes": size}
        record["mark"] = wholeness.tree_mark(staging / "tree")
        (staging / "seed.json").write_text(json.dumps(record))
        home = self.root / digest
        self._damaged.discard(digest)
        try:
            staging.rename(home)
        except OSError:
            found = self._sound(digest)
            if found is not None:
                return found  # Another process was quicker with the same.
            staging.rename(home)  # What stood there was damaged, and is aside now.
        return Seed(digest, home / "tree", files, size, False)


class _Copy:
    """Copies a plan's entries into an empty directory, one directory's entries after the other."""

    def __init__(self, plan: SeedPlan, tree: Path, progress: Progress | None, earlier: index.Index) -> None:
        self.plan, self.progress, self.earlier = plan, progress, earlier
        self.source, self.tree = str(plan.source), str(tree)
        self.parent: str | None = None
        self.src = self.dst = -1
        self.dirs = {entry.path: entry for entry in plan.entries if stat.S_ISDIR(entry.mode)}

    def run(self) -> None:
        files = size = 0
        try:
            for entry in self.plan.entries:
                if not entry.path:
                    continue
                parent, _, name = entry.path.rpartition("/")
                if parent != self.parent:
                    self.enter(parent)
                kind = stat.S_IFMT(entry.mode)
                if kind == stat.S_IFDIR:
                    os.mkdir(name, 0o700, dir_fd=self.dst)
                    continue
                if kind == stat.S_IFLNK:
                    os.symlink(entry.link or "", name, dir_fd=self.dst)
                    os.utime(name, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=self.dst, follow_symlinks=False)
                else:
                    self.file(entry, name)
                files += 1
                size += entry.size if kind == stat.S_IFREG else 0
                if self.progress and not files % _PROGRESS_FILES:
                    self.progress(files, self.plan.files, size)
        finally:
            self.leave()
        for entry in reversed(list(self.dirs.values())):
            path = f"{self.tree}/{entry.path}" if entry.path else self.tree
            if not os.path.isdir(path):
                continue
            os.utime(path, ns=(entry.mtime_ns, entry.mtime_ns))
            os.chmod(path, entry.mode & 0o1777)
        if self.progress:
            self.progress(files, self.plan.files, size)

    def enter(self, parent: str) -> None:
        self.leave()
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        path = f"{self.source}/{parent}" if parent else self.source
        with _reading(path):
            self.src = os.open(path, flags)
        info = os.fstat(self.src)
        planned = self.dirs[parent]
        if (info.st_dev, info.st_ino) != (planned.dev, planned.ino):
            # A link or another directory was put in its place, perhaps higher up.
            raise Conflict(f"{show(path)} was replaced while it was copied.", hint="Try again.", code="seed_unstable")
        self.dst = os.open(f"{self.tree}/{parent}", flags)
        self.parent = parent

    def leave(self) -> None:
        for descriptor in (self.src, self.dst):
            if descriptor >= 0:
                os.close(descriptor)
        self.src = self.dst = -1
        self.parent = None

    def file(self, entry: Entry, name: str) -> None:
        if _as_source(self.plan, entry.path) and self.earlier.link(entry, name, self.dst):
            return
        # O_NONBLOCK: a FIFO put in the file's place must not hang us.
        try:
            src = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=self.src)
        except FileNotFoundError:
            return  # `restat` notices, and all is listed anew.
        except OSError as error:
            raise _unreadable(f"{self.source}/{entry.path}", error) from error
        try:
            dst = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=self.dst)
            try:
                _pump(src, dst, entry.size, f"{self.source}/{entry.path}")
                os.fchmod(dst, entry.mode & 0o777)
                os.utime(dst, ns=(entry.mtime_ns, entry.mtime_ns))
            finally:
                os.close(dst)
        finally:
            os.close(src)


def _give(tree: Path, owner: tuple[int, int]) -> None:
    """Make all of a tree somebody's; an id that this user's namespace does not have leaves it root's."""
    if os.geteuid() != 0:
        return  # as in a test: the daemon is root, of its own namespace at least
    try:
        os.lchown(tree, *owner)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return
    for entry in trees.walk(tree):
        info = entry.stat(follow_symlinks=False)
        if (info.st_uid, info.st_gid) == owner:
            continue  # linked from an earlier seed, whose it is, too
        os.lchown(entry.path, *owner)
        if info.st_mode & 0o6000 and stat.S_ISREG(info.st_mode):
            os.chmod(entry.path, stat.S_IMODE(info.st_mode))  # the change of owner took it away


def _files(top: Path, tree: Path) -> Iterator[str]:
    """What is below `top`, as it is called from the seed's own top."""
    return (os.path.relpath(entry.path, tree) for entry in trees.walk(top) if entry.name in _GIT_CONFIGS)


def _as_source(plan: SeedPlan, path: str) -> bool:
    """Whether a file of the seed stays as it was copied: what is written to afterwards is shared with no other seed."""
    parts = path.split("/")
    return parts[-1] not in _GIT_CONFIGS and not (plan.repository is not None and ".git" in parts)


def _git_configs(paths: Iterable[str]) -> list[str]:
    return [path for path in paths if path.rpartition("/")[2] in _GIT_CONFIGS]


def without_credentials(config: Path) -> None:
    """Take passwords and tokens out of a copied git configuration: a workspace has no business with them."""
    try:
        info = config.lstat()
        data = config.read_bytes() if stat.S_ISREG(info.st_mode) else b""
    except OSError:
        return
    clean = _USER_IN_URL.sub(rb"\1", _USER_IN_WEB_URL.sub(rb"\1", data))
    clean = _PASSWORD.sub(rb"\1", _EXTRA_HEADER.sub(lambda found: found[1] and found[1] + found[2], clean))
    if clean != data:
        config.chmod(stat.S_IMODE(info.st_mode) | 0o600)
        config.write_bytes(clean)
        config.chmod(stat.S_IMODE(info.st_mode))
        os.utime(config, ns=(info.st_mtime_ns, info.st_mtime_ns))


def _pump(src: int, dst: int, size: int, path: str) -> None:
    if size <= _SMALL:
        with _reading(path):
            data = os.read(src, size + 1)
        if len(data) == size and os.write(dst, data) == size:
            return
        os.lseek(src, 0, os.SEEK_SET)
        os.ftruncate(dst, 0)
        os.lseek(dst, 0, os.SEEK_SET)
    trees.copy_content(src, dst)


@contextlib.contextmanager
def _reading(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: str, error: OSError) -> InvalidInput:
    return InvalidInput(
        f"{show(path)} in the seed cannot be read: {(error.strerror or str(error)).lower()}.",
        hint="Make it readable, or seed from a directory without it.",
        code="seed_unreadable",
    )
