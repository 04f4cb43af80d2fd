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
import tempfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pyro_mcp.errors import EngineError, InvalidInput
from pyro_mcp.landing.attributes import Attributes
from pyro_mcp.landing.objects import SHOWN_FILES, Objects, Plan, parents
from pyro_mcp.landing.repository import Repository, shown
from pyro_mcp.patches.diff import DiffEntry
from pyro_mcp.paths import is_dot_git

_TRAILER = re.compile(r"[A-Za-z0-9-]+: |[ \t]")


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
    changes = below(prefix, entries)
    if not changes:
        raise _nothing()
    try:
        with tempfile.TemporaryDirectory(prefix="pyro-land-") as scratch:
            return _land(Path(scratch), repo, changes, base_commit, branch, text, author, previous)
    except OSError as error:
        raise EngineError(
            f"The changes could not be written for git: {error.strerror}. The branch was not changed.",
            hint=f"Check whether {tempfile.gettempdir()} is full.",
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
    repository = Repository(repo)
    store = Objects(scratch, repository)
    repository.check_branch(branch)
    repository.check_not_checked_out(branch)
    tip = repository.tip(branch)
    base = store.existing(base_commit) or repository.head()
    ours = tip or base
    listing, blobs = store.listing(base), store.write_blobs(changes)
    attributes = Attributes(repository, scratch)
    old: dict[bytes, bytes] = {}
    new: dict[bytes, bytes] = {}
    if attributes.matter(listing, changes):
        old = attributes.cleaned(store, base, "old", {path: entry.old for path, entry in changes.items()})
        new = attributes.cleaned(store, base, "new", {path: entry.new for path, entry in changes.items()})
    plan = Plan(changes, listing, blobs, old, new)
    old_tree, new_tree = store.write_trees(base, plan)
    empty = _empty_directories(changes)
    if old_tree == new_tree:
        raise _nothing(empty)
    our_tree = store.tree_of(ours)
    follows = our_tree == old_tree or bool(tip and tip in previous)
    tree = new_tree if follows else store.merge(old_tree, our_tree, new_tree, branch, plan, tip)
    if tree == our_tree:
        raise InvalidInput(
            f"{'Branch ' + branch if tip else 'The commit ' + ours[:12]} already has these changes;"
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
    only = f" New empty directories alone ({', '.join(empty[:SHOWN_FILES])}) cannot be committed." if empty else ""
    return InvalidInput(f"The workspace has no changes for git to commit.{only}", code="nothing_to_land")


def _checked_message(message: str) -> str:
    text = message.strip()
    if not text or "\0" in text:
        raise InvalidInput(
            "The commit message is empty or contains a NUL byte.",
            hint="Give at least one line of text.",
            code="bad_message",
        )
    return text


def _checked_author(author: tuple[str, str] | None) -> tuple[str, str] | None:
    if author is None:
        return None
    if any(not part.strip() or re.search(r"[\0\n<>]", part) for part in author):
        raise InvalidInput(
            "The author's name and address must not be empty or contain `<`, `>`, NUL or a newline.", code="bad_author"
        )
    return author


def below(prefix: str, entries: Iterable[DiffEntry]) -> dict[bytes, DiffEntry]:
    """The entries that git can take, by their paths from the repository's top."""
    top = "".join(part + "/" for part in prefix.split("/") if part not in ("", "."))
    changes: dict[bytes, DiffEntry] = {}
    for entry in entries:
        path = top + entry.path
        if "\0" in path or any(part in ("", ".", "..") for part in path.split("/")):
            raise InvalidInput(f"git cannot store the path {shown(os.fsencode(path))}.", code="bad_path")
        if not is_dot_git(entry.path):
            changes[os.fsencode(path)] = entry
    return changes


def _empty_directories(changes: Mapping[bytes, DiffEntry]) -> list[str]:
    filled = {parent for path, entry in changes.items() if entry.new is not None for parent in parents(path)}
    made = [
        path
        for path, entry in changes.items()
        if entry.new is not None and entry.new.kind == "dir" and (entry.old is None or entry.old.kind != "dir")
    ]
    # Blanks at the ends would not survive in a trailer.
    return [f'"{name}"' if name != name.strip() else name for name in map(shown, sorted(set(made) - filled))]


def _with_trailers(message: str, empty: Sequence[str]) -> bytes:
    text = message
    if empty:
        last = message.split("\n\n")[-1]
        joined = "\n\n" in message and all(_TRAILER.match(line) for line in last.splitlines())
        text += "\n" if joined else "\n\n"
        text += "\n".join(f"Pyro-Empty-Directory: {path}" for path in empty)
    return (text + "\n").encode("utf-8", "replace")
