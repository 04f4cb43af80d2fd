"""What a landed commit is made of: which blobs stand at which paths, and the objects for them.

Objects are made by git in a scratch git directory that shares only the object store with the repository.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from pyro_mcp.errors import ComponentMissing, Conflict, InvalidInput
from pyro_mcp.git import ALONE
from pyro_mcp.landing.repository import FALLBACK, Repository, failed, run, said, shown
from pyro_mcp.patches.diff import DiffEntry, FileVersion
from pyro_mcp.patches.names import quote

SHOWN_FILES = 10
"""A message names so many conflicting files; the error's details have all."""
_GITLINK = b"160000"

Leaf = tuple[bytes, bytes]
"""Mode and object id of what stands at a path."""


def parents(path: bytes) -> list[bytes]:
    parts = path.split(b"/")
    return [b"/".join(parts[:i]) for i in range(1, len(parts))]


def leaf(version: FileVersion | None) -> FileVersion | None:
    return None if version is None or version.kind == "dir" else version


class Plan:
    """What to do to the base commit's listing to get the old tree, and to that to get the new one. Pure."""

    def __init__(
        self,
        changes: Mapping[bytes, DiffEntry],
        listing: Mapping[bytes, Leaf],
        blobs: Mapping[bytes, bytes],
        cleaned_old: Mapping[bytes, bytes] = MappingProxyType({}),
        cleaned_new: Mapping[bytes, bytes] = MappingProxyType({}),
    ) -> None:
        self.old: dict[bytes, Leaf | None] = {}
        self.new: dict[bytes, Leaf | None] = {}
        self._listing = listing
        self._names = sorted(listing)
        for path, entry in changes.items():
            self._clear(path, entry)
        for path, entry in changes.items():
            old, new = leaf(entry.old), leaf(entry.new)
            if old is not None:
                plain = (old.git_mode.encode(), blobs[old.content])
                # What the commit has as it is was never converted, whatever the attributes say.
                same = (listing.get(path) or (b"", b""))[1] == plain[1]
                self.old[path] = plain if same else (plain[0], cleaned_old.get(path, plain[1]))
            if new is not None:
                self.new[path] = (new.git_mode.encode(), cleaned_new.get(path, blobs[new.content]))
            elif old is not None:
                self.new[path] = None
        self.uncommitted = {
            path
            for path, entry in changes.items()
            if (leaf(entry.old) or leaf(entry.new)) and self.old.get(path) != listing.get(path)
        }
        """Where the workspace's old content is not the commit's."""

    def _clear(self, path: bytes, entry: DiffEntry) -> None:
        """Of the commit, take out what did not stand in the workspace when it was made."""
        if not leaf(entry.old) and not leaf(entry.new):
            return
        for parent in parents(path):
            here = self._listing.get(parent)
            if here and here[0] == _GITLINK:
                raise Conflict(
                    f"{shown(path)} is in the submodule {shown(parent)}, whose files cannot be committed from here.",
                    hint="Take the changes as a patch with `pyro workspace diff` and apply it in the submodule.",
                    code="submodule_changed",
                )
            if here:
                self.old[parent] = None
        if path in self._listing:
            self.old[path] = None
        if leaf(entry.new):
            start = bisect_left(self._names, path + b"/")
            end = bisect_left(self._names, path + b"0", start)
            self.old.update(dict.fromkeys(self._names[start:end]))


class Objects:
    """Makes objects in the repository's store, from a scratch git directory with settings of its own.

    `apart`, they are made in that directory, and the repository's are only read.
    """

    def __init__(self, scratch: Path, repository: Repository, *, apart: bool = False) -> None:
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
        objects = os.path.join(repository.common, "objects")
        if apart:
            (git_dir / "objects" / "info").mkdir()
            (git_dir / "objects" / "info" / "alternates").write_bytes(quote(objects) + b"\n")
            objects = str(git_dir / "objects")
        self._env = {
            "GIT_DIR": str(git_dir),
            "GIT_OBJECT_DIRECTORY": objects,
            "GIT_INDEX_FILE": str(scratch / "index"),
            **ALONE,
        }
        for role in ("AUTHOR", "COMMITTER"):
            self._env |= {f"GIT_{role}_NAME": FALLBACK[0], f"GIT_{role}_EMAIL": FALLBACK[1]}

    def _git(
        self, *arguments: str, stdin: bytes = b"", env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        env = {**self._env, **(env or {})}
        return run(["-c", "core.attributesFile=/dev/null", *arguments], cwd=self._cwd, env=env, stdin=stdin)

    def _ask(self, *arguments: str, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> bytes:
        done = self._git(*arguments, stdin=stdin, env=env)
        if done.returncode:
            raise failed(arguments[0], done)
        return done.stdout

    def run(
        self, arguments: Sequence[str], *, cwd: str, env: Mapping[str, str], stdin: bytes
    ) -> subprocess.CompletedProcess[bytes]:
        """git with this scratch directory, but an index and a work tree of the caller's."""
        return run(arguments, cwd=cwd, env={**self._env, **env}, stdin=stdin)

    def existing(self, commit: str | None) -> str:
        """The commit's full id if the repository still has it, else empty."""
        if not commit or not re.fullmatch(r"[0-9a-f]{7,64}", commit):
            return ""
        return self._git("rev-parse", "--verify", "-q", commit + "^{commit}").stdout.decode().strip()

    def tree_of(self, commit: str) -> str:
        if not commit:
            return self._ask("mktree").decode().strip()
        return self._ask("rev-parse", "--verify", commit + "^{tree}").decode().strip()

    def listing(self, commit: str) -> dict[bytes, Leaf]:
        out = self._ask("ls-tree", "-r", "-z", "--full-tree", commit) if commit else b""
        found: dict[bytes, Leaf] = {}
        for record in out.split(b"\0")[:-1]:
            head, _, path = record.partition(b"\t")
            mode, _, name = head.split(b" ")
            found[path] = (mode, name)
        return found

    def write_blobs(self, changes: Mapping[bytes, DiffEntry]) -> dict[bytes, bytes]:
        """Ids of all contents, which are written as they are."""
        sides = [leaf(version) for entry in changes.values() for version in (entry.old, entry.new)]
        if any(version is not None and version.withheld for version in sides):
            raise ValueError("a content that is not here cannot be committed")
        contents = list(dict.fromkeys(version.content for version in sides if version is not None))
        if not contents:
            return {}
        with tempfile.TemporaryDirectory(dir=self._cwd) as directory:
            for number, content in enumerate(contents):
                (Path(directory) / str(number)).write_bytes(content)
            names = "".join(f"{os.path.basename(directory)}/{number}\n" for number in range(len(contents)))
            out = self._ask("hash-object", "-w", "--no-filters", "--stdin-paths", stdin=names.encode())
        return dict(zip(contents, out.split(), strict=True))

    def contents(self, blobs: Collection[bytes]) -> dict[bytes, bytes]:
        """What the blobs of these ids hold."""
        asked = sorted(blobs)
        out = self._ask("cat-file", "--batch", stdin=b"".join(name + b"\n" for name in asked)) if asked else b""
        found: dict[bytes, bytes] = {}
        at = 0
        for name in asked:
            end = out.index(b"\n", at)
            size = int(out[at:end].split(b" ")[2])
            found[name] = out[end + 1 : end + 1 + size]
            at = end + size + 2
        return found

    def write_trees(self, base: str, plan: Plan) -> tuple[str, str]:
        self._ask("read-tree", base or "--empty")
        return self._write_tree(plan.old), self._write_tree(plan.new)

    def _write_tree(self, puts: Mapping[bytes, Leaf | None]) -> str:
        gone = [b"0 %s\t%s\0" % (self._zero.encode(), path) for path, leaf in puts.items() if leaf is None]
        made = [b"%s %s\t%s\0" % (*leaf, path) for path, leaf in puts.items() if leaf is not None]
        # What goes must go first: a file may stand where a directory stood.
        done = self._git("update-index", "-z", "--index-info", stdin=b"".join(gone + made))
        # What git thinks unsafe it leaves out with a word on stderr and status 0.
        if done.returncode or done.stderr:
            raise InvalidInput(
                f"git rejects one of the paths: {said(done)}. Nothing was changed.",
                hint="Rename or delete it in the workspace.",
                code="bad_path",
            )
        return self._ask("write-tree", "--missing-ok").decode().strip()

    def commit(self, tree: str, parents: Sequence[str], message: bytes, idents: Mapping[str, str]) -> str:
        arguments = [word for parent in parents for word in ("-p", parent)]
        return self._ask("commit-tree", tree, *arguments, "-F", "-", stdin=message, env=idents).decode().strip()

    def merge(self, old: str, ours: str, new: str, branch: str, plan: Plan, tip: str) -> str:
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
            raise failed("merge-tree", done)
        tree, *names = done.stdout.split(b"\0")
        if done.returncode == 0:
            return tree.decode()
        # Where a file meets a directory, git names the file after its side.
        side = re.compile(rb"~(%s|%s)(_\d+)?$" % (left.encode(), right.encode()))
        paths = sorted({side.sub(b"", name) for name in names if name})
        raise conflict(paths, plan.uncommitted, branch, bool(tip))

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


def conflict(paths: Sequence[bytes], uncommitted: set[bytes], branch: str, exists: bool) -> Conflict:
    names = [shown(path) for path in paths]
    mine = [shown(path) for path in paths if path in uncommitted]
    target = f"branch {branch}" if exists else "the commit the workspace started from"
    text = f"The workspace's changes conflict with {target} in {some(names)}. Nothing was changed."
    if mine:
        text += f" When the workspace was created, {some(mine)} had uncommitted changes."
    patch = "take the changes as a patch with `pyro workspace diff` and apply it with `git apply --3way`"
    hint = f"Land on a new branch and merge that, or {patch}." if exists else f"{patch[0].upper()}{patch[1:]}."
    return Conflict(text, hint=hint, code="landing_conflict", details={"files": names, "uncommitted": mine})


def some(names: Sequence[str]) -> str:
    more = len(names) - SHOWN_FILES
    return ", ".join(names[:SHOWN_FILES]) + (f" and {more} more" if more > 0 else "")
