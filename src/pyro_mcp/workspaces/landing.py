"""Commits a workspace's changes as a branch of the user's repository; work tree and index are not touched.

Objects are made by git in a scratch git directory that shares only the object store with the repository, so
that none of its settings, attributes, filters, merge drivers or hooks take part. The repository itself is only
asked where things are, and its references are moved once, at the end, with compare-and-swap.

The merge is three-way: the old side is the commit that the workspace was seeded from with the old contents of
the changed files put in (they may hold uncommitted work), the new side is that with the new contents. Thus what
the user had not committed gets into the branch only where the workspace's changes cannot be told from it, and
that is a conflict. Blocking code: call it in a thread. Needs git 2.38 (`merge-tree --write-tree`).
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tempfile
from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pyro_mcp.errors import ComponentMissing, Conflict, EngineError, InvalidInput
from pyro_mcp.patches.diff import DiffEntry, FileVersion
from pyro_mcp.patches.names import quote

_GIT_SECONDS = 60
_SHOWN_FILES = 10
"""A message names so many conflicting files; the error's details have all."""
_DOT_GIT = re.compile(r"(\.git|git~1)[. ]*(:|$)", re.IGNORECASE | re.ASCII)
"""What git refuses as `.git` on NTFS (is_ntfs_dotgit in path.c)."""
_HFS_IGNORED = re.compile("[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]")
"""What HFS+ ignores in names (next_hfs_char in utf8.c)."""
_TRAILER = re.compile(r"[A-Za-z0-9-]+: |[ \t]")
_IDENT = re.compile(r"(.*) <(.*)> \d+ [+-]\d+", re.DOTALL)
_FALLBACK = ("pyro", "pyro@localhost")
_GITLINK = b"160000"

_Leaf = tuple[bytes, bytes]
"""Mode and object id of what stands at a path."""


@dataclass(frozen=True)
class Landed:
    """A branch with the workspace's changes, and how to take it back."""

    branch: str
    commit: str
    parent: str
    """Empty when the commit is the first of its repository."""
    files: int
    insertions: int
    deletions: int
    backup_ref: str | None
    """Where the branch stood before, if it existed."""
    undo: str
    """The shell command that puts the branch back."""
    empty_directories: list[str]
    """Directories that git cannot hold, relative to the repository's top, quoted as in the commit's trailers."""
    created: bool
    """The branch is new."""
    plain: bool
    """Nothing had to be merged: the branch is what the seed's commit was, with the changes."""


def land(
    repo: Path,
    prefix: str,
    entries: Sequence[DiffEntry],
    *,
    base_commit: str | None,
    branch: str,
    message: str,
    author: tuple[str, str] | None = None,
    previous: Collection[str] = (),
) -> Landed:
    """Commit `entries`, whose paths are below `prefix` in the repository, on `branch`, which may be new.

    `previous` are the commits of earlier, plain landings of the same workspace: where the branch stands at one of them
    (at an older one after an undo), what changed since then follows it without a merge.

    Raises:
        InvalidInput: no repository, a bad branch name or path, or nothing that git could commit.
        Conflict: the changes do not merge, the branch is checked out, or it moved meanwhile. Nothing was changed.
    """
    text = _checked_message(message)
    author = _checked_author(author)
    changes = _below(prefix, entries)
    if not changes:
        raise _nothing()
    try:
        with tempfile.TemporaryDirectory(prefix="pyro-land-") as scratch:
            return _land(Path(scratch), repo, changes, base_commit, branch, text, author, previous)
    except OSError as error:
        raise EngineError(
            f"The changes could not be written for git: {error.strerror}. The branch was not changed.",
            hint=f"See whether {tempfile.gettempdir()} is full.",
            code="scratch_failed",
        ) from error


def _land(
    scratch: Path,
    repo: Path,
    changes: Mapping[bytes, DiffEntry],
    base_commit: str | None,
    branch: str,
    message: str,
    author: tuple[str, str] | None,
    previous: Collection[str],
) -> Landed:
    repository = _Repository(repo)
    store = _Objects(scratch, repository)
    repository.check_branch(branch)
    repository.check_not_checked_out(branch)
    tip = repository.tip(branch)
    base = store.existing(base_commit) or repository.head()
    ours = tip or base
    plan = _Plan(changes, store.listing(base), store.write_blobs(changes))
    old_tree, new_tree = store.write_trees(base, plan)
    empty = _empty_directories(changes)
    if old_tree == new_tree:
        raise _nothing(empty)
    our_tree = store.tree_of(ours)
    follows = our_tree == old_tree or bool(tip and tip in previous)
    tree = new_tree if follows else store.merge(old_tree, our_tree, new_tree, branch, plan, tip)
    if tree == our_tree:
        raise InvalidInput(
            f"{'Branch ' + branch if tip else 'The commit ' + ours[:12]} has these changes already;"
            " there is nothing to commit.",
            code="already_landed",
        )
    files, insertions, deletions = store.count(our_tree, tree)
    idents = repository.idents(author)
    commit = store.commit(tree, [ours] if ours else [], _with_trailers(message, empty), idents)
    backup = repository.publish(branch, commit, tip, idents)
    return Landed(
        branch=branch,
        commit=commit,
        parent=ours,
        files=files,
        insertions=insertions,
        deletions=deletions,
        backup_ref=backup,
        undo=repository.undo(branch, commit, tip),
        empty_directories=empty,
        created=not tip,
        plain=tree == new_tree,
    )


# What is asked: names, message, trailers.


def _nothing(empty: Sequence[str] = ()) -> InvalidInput:
    only = f" New empty directories alone ({', '.join(empty[:_SHOWN_FILES])}) cannot be committed." if empty else ""
    return InvalidInput(f"The workspace has no changes that git could commit.{only}", code="nothing_to_land")


def _checked_message(message: str) -> str:
    text = message.strip()
    if not text or "\0" in text:
        raise InvalidInput(
            "The commit message is empty or holds a NUL byte.", hint="Give a line of text.", code="bad_message"
        )
    return text


def _checked_author(author: tuple[str, str] | None) -> tuple[str, str] | None:
    if author is None:
        return None
    if any(not part.strip() or re.search(r"[\0\n<>]", part) for part in author):
        raise InvalidInput(
            "The author's name and address must not be empty nor hold `<`, `>`, NUL or a line's end.", code="bad_author"
        )
    return author


def is_dot_git(path: str) -> bool:
    """Whether a part of the path is `.git`, or what some file system takes for it."""
    parts = re.split(r"[/\\]", _HFS_IGNORED.sub("", path))
    return any(_DOT_GIT.match(part) for part in parts)


def _below(prefix: str, entries: Iterable[DiffEntry]) -> dict[bytes, DiffEntry]:
    """The entries that git can take, by their paths from the repository's top."""
    top = "".join(part + "/" for part in prefix.split("/") if part not in ("", "."))
    changes: dict[bytes, DiffEntry] = {}
    for entry in entries:
        path = top + entry.path
        if "\0" in path or any(part in ("", ".", "..") for part in path.split("/")):
            raise InvalidInput(f"git cannot hold the path {_shown(os.fsencode(path))}.", code="bad_path")
        if not is_dot_git(entry.path):
            changes[os.fsencode(path)] = entry
    return changes


def _shown(path: bytes) -> str:
    return quote(os.fsdecode(path)).decode()


def _parents(path: bytes) -> list[bytes]:
    parts = path.split(b"/")
    return [b"/".join(parts[:i]) for i in range(1, len(parts))]


def _empty_directories(changes: Mapping[bytes, DiffEntry]) -> list[str]:
    filled = {parent for path, entry in changes.items() if entry.new is not None for parent in _parents(path)}
    made = [
        path
        for path, entry in changes.items()
        if entry.new is not None and entry.new.kind == "dir" and (entry.old is None or entry.old.kind != "dir")
    ]
    # Blanks at the ends would not survive in a trailer.
    return [f'"{name}"' if name != name.strip() else name for name in map(_shown, sorted(set(made) - filled))]


def _with_trailers(message: str, empty: Sequence[str]) -> bytes:
    text = message
    if empty:
        last = message.split("\n\n")[-1]
        joined = "\n\n" in message and all(_TRAILER.match(line) for line in last.splitlines())
        text += "\n" if joined else "\n\n"
        text += "\n".join(f"Pyro-Empty-Directory: {path}" for path in empty)
    return (text + "\n").encode("utf-8", "replace")


def _leaf(version: FileVersion | None) -> FileVersion | None:
    return None if version is None or version.kind == "dir" else version


class _Plan:
    """What to do to the base commit's listing to get the old tree, and to that to get the new one. Pure."""

    def __init__(
        self, changes: Mapping[bytes, DiffEntry], listing: Mapping[bytes, _Leaf], blobs: Mapping[bytes, bytes]
    ) -> None:
        self.old: dict[bytes, _Leaf | None] = {}
        self.new: dict[bytes, _Leaf | None] = {}
        self._listing = listing
        self._names = sorted(listing)
        for path, entry in changes.items():
            self._clear(path, entry)
        for path, entry in changes.items():
            old, new = _leaf(entry.old), _leaf(entry.new)
            if old is not None:
                self.old[path] = (old.git_mode.encode(), blobs[old.content])
            if new is not None:
                self.new[path] = (new.git_mode.encode(), blobs[new.content])
            elif old is not None:
                self.new[path] = None
        self.uncommitted = {
            path
            for path, entry in changes.items()
            if (_leaf(entry.old) or _leaf(entry.new)) and self.old.get(path) != listing.get(path)
        }
        """Where the workspace's old content is not the commit's."""

    def _clear(self, path: bytes, entry: DiffEntry) -> None:
        """Of the commit, take out what did not stand in the workspace when it was made."""
        if not _leaf(entry.old) and not _leaf(entry.new):
            return
        for parent in _parents(path):
            here = self._listing.get(parent)
            if here and here[0] == _GITLINK:
                raise Conflict(
                    f"{_shown(path)} lies in the submodule {_shown(parent)}; its files cannot be committed from here.",
                    hint="Take the changes as a patch with `pyro workspace diff` and apply it in the submodule.",
                    code="submodule_changed",
                )
            if here:
                self.old[parent] = None
        if path in self._listing:
            self.old[path] = None
        if _leaf(entry.new):
            start = bisect_left(self._names, path + b"/")
            end = bisect_left(self._names, path + b"0", start)
            self.old.update(dict.fromkeys(self._names[start:end]))


# Running git.


def _environment(extra: Mapping[str, str]) -> dict[str, str]:
    env = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    env |= {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0"}
    return {**env, "GIT_NO_REPLACE_OBJECTS": "1", "GIT_NO_LAZY_FETCH": "1", **extra}


def _run(
    arguments: Sequence[str | bytes], *, cwd: str, env: Mapping[str, str], stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    git = shutil.which("git")
    if git is None:
        raise ComponentMissing("git is not on this machine.", hint="Install git 2.38 or newer.", code="git_missing")
    try:
        return subprocess.run(
            [git, *arguments],
            cwd=cwd,
            env=_environment(env),
            input=stdin,
            capture_output=True,
            timeout=_GIT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise EngineError(
            f"git did not finish within {_GIT_SECONDS} seconds in {cwd}; the branch was not changed.",
            hint="See whether the repository's disk is slow or full, then try again.",
            code="git_timeout",
        ) from error
    except OSError as error:
        raise EngineError(f"git could not be run in {cwd}: {error.strerror}.", code="git_failed") from error


def _said(done: subprocess.CompletedProcess[bytes]) -> str:
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return lines[0] if lines else f"exit status {done.returncode}"


def _failed(what: str, done: subprocess.CompletedProcess[bytes]) -> EngineError:
    return EngineError(f"git {what} failed: {_said(done)}. The branch was not changed.", code="git_failed")


class _Repository:
    """The user's repository: asked with its own settings, but it runs no program of theirs."""

    _SAFE = ("core.hooksPath=/dev/null", "core.fsmonitor=false", "protocol.allow=never", "gc.auto=0")

    def __init__(self, repo: Path) -> None:
        self._cwd = os.path.abspath(repo)
        if not os.path.isdir(self._cwd):
            raise self._not_one("there is no such directory")
        found = self._git("rev-parse", "--path-format=absolute", "--git-common-dir")
        if found.returncode:
            raise self._not_one(_said(found))
        self.common = os.fsdecode(found.stdout.removesuffix(b"\n"))
        top = self._git("rev-parse", "--show-toplevel")
        self._shown_top = self.common if top.returncode else os.fsdecode(top.stdout.removesuffix(b"\n"))
        # An old git without the option knows SHA-1 only.
        self.format = self._git("rev-parse", "--show-object-format").stdout.decode().strip() or "sha1"
        self.zero = "0" * (64 if self.format == "sha256" else 40)
        self.shared = self._git("config", "--get", "core.sharedRepository").stdout.decode().strip()

    def _not_one(self, why: str) -> InvalidInput:
        return InvalidInput(
            f"{self._cwd} is not in a git repository that can be used: {why}.",
            hint="Name the repository with `--repo DIR`.",
            code="not_a_repository",
        )

    def _git(
        self, *arguments: str, stdin: bytes = b"", env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        safe = [word for setting in self._SAFE for word in ("-c", setting)]
        return _run([*safe, *arguments], cwd=self._cwd, env=env or {}, stdin=stdin)

    def _ask(self, *arguments: str) -> bytes:
        done = self._git(*arguments)
        if done.returncode:
            raise _failed(arguments[0], done)
        return done.stdout

    def check_branch(self, branch: str) -> None:
        # `@` alone means HEAD to every other command.
        good = not branch.startswith(("-", "refs/")) and branch != "@" and "\0" not in branch
        if good:
            done = self._git("check-ref-format", "--branch", branch)
            # `@{-1}` and the like are names for other branches.
            good = done.returncode == 0 and done.stdout.removesuffix(b"\n") == os.fsencode(branch)
        if not good:
            raise InvalidInput(
                f"{_shown(os.fsencode(branch))} cannot be a branch's name.",
                hint="Give a name such as `pyro/fix-login`, without `refs/heads/`.",
                code="bad_branch_name",
            )

    def check_not_checked_out(self, branch: str) -> None:
        """Also refuses the branch that a bare or empty repository's HEAD names, and one in a rebase."""
        ref = os.fsencode("refs/heads/" + branch)
        where = ""
        current = b""
        for line in self._ask("worktree", "list", "--porcelain", "-z").split(b"\0"):
            if line.startswith(b"worktree "):
                current = line.removeprefix(b"worktree ")
            elif line == b"branch " + ref:
                where = os.fsdecode(current)
        heads = [self._git("symbolic-ref", "-q", "HEAD"), self._git(f"--git-dir={self.common}", "symbolic-ref", "HEAD")]
        if not where and any(head.stdout.rstrip(b"\n") == ref for head in heads):
            where = self._shown_top
        if not where and ref in self._in_rebase():
            where = f"{self._shown_top}, in a rebase"
        if where:
            raise Conflict(
                f"Branch {branch} is checked out ({where}); moving it would make that work tree look changed.",
                hint="Land on another branch and merge that.",
                code="branch_checked_out",
            )

    def _in_rebase(self) -> set[bytes]:
        common = Path(self.common)
        names = set()
        for place in (common, *common.glob("worktrees/*")):
            for file in ("rebase-merge/head-name", "rebase-apply/head-name"):
                try:
                    names.add((place / file).read_bytes().strip())
                except OSError:
                    continue
        return names

    def tip(self, branch: str) -> str:
        """The branch's commit; empty when there is no such branch."""
        ref = f"refs/heads/{branch}"
        fields = ("%(refname)", "%(objectname)", "%(objecttype)", "%(symref)")
        out = self._ask("for-each-ref", "--format=" + "%00".join(fields), ref)
        for line in out.splitlines():
            name, commit, kind, target = line.split(b"\0")
            if name != os.fsencode(ref):
                continue
            if target or kind != b"commit":
                raise Conflict(
                    f"Branch {branch} is a symbolic reference or no commit; it is not moved.",
                    hint="Land on another branch.",
                    code="branch_not_plain",
                )
            return commit.decode()
        return ""

    def head(self) -> str:
        """The commit of HEAD; empty in a repository without one."""
        return self._git("rev-parse", "--verify", "-q", "HEAD^{commit}").stdout.decode().strip()

    def idents(self, author: tuple[str, str] | None) -> dict[str, str]:
        """Author and committer as the user's settings name them, else pyro."""
        env: dict[str, str] = {}
        for role in ("AUTHOR", "COMMITTER"):
            done = self._git("-c", "user.useConfigOnly=true", "var", f"GIT_{role}_IDENT")
            found = _IDENT.fullmatch(os.fsdecode(done.stdout.rstrip(b"\n"))) if done.returncode == 0 else None
            name, mail = (found[1], found[2]) if found else _FALLBACK
            if role == "AUTHOR" and author:
                name, mail = author
            env |= {f"GIT_{role}_NAME": name, f"GIT_{role}_EMAIL": mail}
        return env

    def publish(self, branch: str, commit: str, tip: str, idents: Mapping[str, str]) -> str | None:
        """Move the branch from `tip` to `commit` if it still stands there; what was is kept under refs/pyro/backup."""
        self.check_not_checked_out(branch)
        ref = f"refs/heads/{branch}"
        backup = f"refs/pyro/backup/{branch}/{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}" if tip else None
        words = ["start"]
        if backup:
            words += [f"create {backup}", tip]
        words += ["option no-deref", f"update {ref}", commit, tip or self.zero, "prepare", "commit", ""]
        script = os.fsencode("\0".join(words))
        done = self._git("update-ref", "-m", "pyro workspace land", "--stdin", "-z", stdin=script, env=idents)
        if done.returncode == 0:
            return backup
        now = self.tip(branch)
        if now != tip:
            raise Conflict(
                f"Branch {branch} moved to {now[:12] or 'nothing'} meanwhile. Nothing was changed.",
                hint="Run the command again.",
                code="branch_moved",
            )
        if b"cannot create" in done.stderr or b"cannot lock ref" in done.stderr:
            raise Conflict(
                f"Branch {branch} could not be written: {_said(done)}. Nothing was changed.",
                hint="Land on another branch, or try again when no other git works in the repository.",
                code="branch_locked",
            )
        raise _failed("update-ref", done)

    def undo(self, branch: str, commit: str, tip: str) -> str:
        words = ["git", "-C", self._shown_top, "update-ref"]
        ref = f"refs/heads/{branch}"
        return shlex.join([*words, ref, tip, commit] if tip else [*words, "-d", ref, commit])


class _Objects:
    """Makes objects in the repository's store, from a scratch git directory with settings of its own."""

    def __init__(self, scratch: Path, repository: _Repository) -> None:
        self._cwd = str(scratch)
        self._zero = repository.zero
        git_dir = scratch / "git"
        for name in ("objects", "refs"):
            (git_dir / name).mkdir(parents=True)
        (git_dir / "HEAD").write_text("ref: refs/heads/scratch\n")
        config = "[core]\n\trepositoryformatversion = 1\n\tbare = true\n"
        if re.fullmatch(r"\w+", repository.shared):
            config += f"\tsharedRepository = {repository.shared}\n"
        if repository.format != "sha1":
            config += f"[extensions]\n\tobjectFormat = {repository.format}\n"
        (git_dir / "config").write_text(config)
        self._env = {
            "GIT_DIR": str(git_dir),
            "GIT_OBJECT_DIRECTORY": os.path.join(repository.common, "objects"),
            "GIT_INDEX_FILE": str(scratch / "index"),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_ATTR_NOSYSTEM": "1",
        }
        for role in ("AUTHOR", "COMMITTER"):
            self._env |= {f"GIT_{role}_NAME": _FALLBACK[0], f"GIT_{role}_EMAIL": _FALLBACK[1]}

    def _git(
        self, *arguments: str, stdin: bytes = b"", env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        env = {**self._env, **(env or {})}
        return _run(["-c", "core.attributesFile=/dev/null", *arguments], cwd=self._cwd, env=env, stdin=stdin)

    def _ask(self, *arguments: str, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> bytes:
        done = self._git(*arguments, stdin=stdin, env=env)
        if done.returncode:
            raise _failed(arguments[0], done)
        return done.stdout

    def existing(self, commit: str | None) -> str:
        """The commit's full id if the repository still has it, else empty."""
        if not commit or not re.fullmatch(r"[0-9a-f]{7,64}", commit):
            return ""
        return self._git("rev-parse", "--verify", "-q", commit + "^{commit}").stdout.decode().strip()

    def tree_of(self, commit: str) -> str:
        if not commit:
            return self._ask("mktree").decode().strip()
        return self._ask("rev-parse", "--verify", commit + "^{tree}").decode().strip()

    def listing(self, commit: str) -> dict[bytes, _Leaf]:
        out = self._ask("ls-tree", "-r", "-z", "--full-tree", commit) if commit else b""
        found: dict[bytes, _Leaf] = {}
        for record in out.split(b"\0")[:-1]:
            head, _, path = record.partition(b"\t")
            mode, _, name = head.split(b" ")
            found[path] = (mode, name)
        return found

    def write_blobs(self, changes: Mapping[bytes, DiffEntry]) -> dict[bytes, bytes]:
        """Ids of all contents, which are written as they are."""
        sides = (_leaf(version) for entry in changes.values() for version in (entry.old, entry.new))
        contents = list(dict.fromkeys(version.content for version in sides if version is not None))
        if not contents:
            return {}
        with tempfile.TemporaryDirectory(dir=self._cwd) as directory:
            for number, content in enumerate(contents):
                (Path(directory) / str(number)).write_bytes(content)
            names = "".join(f"{os.path.basename(directory)}/{number}\n" for number in range(len(contents)))
            out = self._ask("hash-object", "-w", "--no-filters", "--stdin-paths", stdin=names.encode())
        return dict(zip(contents, out.split(), strict=True))

    def write_trees(self, base: str, plan: _Plan) -> tuple[str, str]:
        self._ask("read-tree", base or "--empty")
        return self._write_tree(plan.old), self._write_tree(plan.new)

    def _write_tree(self, puts: Mapping[bytes, _Leaf | None]) -> str:
        gone = [b"0 %s\t%s\0" % (self._zero.encode(), path) for path, leaf in puts.items() if leaf is None]
        made = [b"%s %s\t%s\0" % (*leaf, path) for path, leaf in puts.items() if leaf is not None]
        # What goes must go first: a file may stand where a directory stood.
        done = self._git("update-index", "-z", "--index-info", stdin=b"".join(gone + made))
        # What git thinks unsafe it leaves out with a word on stderr and status 0.
        if done.returncode or done.stderr:
            raise InvalidInput(
                f"git does not take one of the paths: {_said(done)}. Nothing was changed.",
                hint="Rename or remove it in the workspace.",
                code="bad_path",
            )
        return self._ask("write-tree", "--missing-ok").decode().strip()

    def commit(self, tree: str, parents: Sequence[str], message: bytes, idents: Mapping[str, str]) -> str:
        arguments = [word for parent in parents for word in ("-p", parent)]
        return self._ask("commit-tree", tree, *arguments, "-F", "-", stdin=message, env=idents).decode().strip()

    def merge(self, old: str, ours: str, new: str, branch: str, plan: _Plan, tip: str) -> str:
        """The tree that has both sides' changes."""
        root = self.commit(old, [], b"base\n", {})
        left = self.commit(ours, [root], b"ours\n", {})
        right = self.commit(new, [root], b"theirs\n", {})
        done = self._git("merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", left, right)
        if done.returncode == 129:
            raise ComponentMissing(
                "This git is too old to merge without a work tree.", hint="Install git 2.38 or newer.", code="git_old"
            )
        if done.returncode not in (0, 1):
            raise _failed("merge-tree", done)
        tree, *names = done.stdout.split(b"\0")
        if done.returncode == 0:
            return tree.decode()
        # Where a file meets a directory, git names the file after its side.
        side = re.compile(rb"~(%s|%s)(_\d+)?$" % (left.encode(), right.encode()))
        paths = sorted({side.sub(b"", name) for name in names if name})
        raise _conflict(paths, plan.uncommitted, branch, bool(tip))

    def count(self, before: str, after: str) -> tuple[int, int, int]:
        """Changed files, inserted lines, deleted lines."""
        out = self._ask("diff-tree", "-r", "-M", "-z", "--numstat", "--no-ext-diff", "--no-textconv", before, after)
        fields = iter(out.split(b"\0")[:-1])
        files = insertions = deletions = 0
        for field in fields:
            added, removed, path = field.split(b"\t", 2)
            if not path:  # a rename: both names follow
                next(fields)
                next(fields)
            files += 1
            insertions += 0 if added == b"-" else int(added)
            deletions += 0 if removed == b"-" else int(removed)
        return files, insertions, deletions


def _conflict(paths: Sequence[bytes], uncommitted: set[bytes], branch: str, exists: bool) -> Conflict:
    names = [_shown(path) for path in paths]
    mine = [_shown(path) for path in paths if path in uncommitted]
    target = f"branch {branch}" if exists else "the commit that the workspace was made from"
    text = f"The workspace's changes conflict with {target} in {_some(names)}. Nothing was changed."
    if mine:
        text += f" When the workspace was made, {_some(mine)} had changes that were not committed."
    patch = "take the changes as a patch with `pyro workspace diff` and apply it with `git apply --3way`"
    hint = f"Land on a new branch and merge that, or {patch}." if exists else f"{patch[0].upper()}{patch[1:]}."
    return Conflict(text, hint=hint, code="landing_conflict", details={"files": names, "uncommitted": mine})


def _some(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN_FILES
    return ", ".join(names[:_SHOWN_FILES]) + (f" and {more} more" if more > 0 else "")
