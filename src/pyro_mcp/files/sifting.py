"""What of a workspace's changes is taken: what `git add -A` would take; without any ignore rule, not what a tool made.

git itself judges, on this computer, over names only: in a scratch repository that holds nothing but the `.gitignore`
files, so that no setting, hook, filter or attribute of the workspace is ever looked at. What stood in the seed is
always taken, as a tracked file is; `.git` never is.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyro_mcp.errors import Conflict, InvalidInput
from pyro_mcp.git import ALONE, SAFE, environment
from pyro_mcp.models import LeftOut
from pyro_mcp.patches.plan import FileState
from pyro_mcp.paths import WORKSPACE, is_dot_git, show

GIT_SECONDS = 20
MAX_DIRECTORIES = 50_000
MAX_RULE_BYTES = 16 * 1024 * 1024
Read = Callable[[list[str], str], Awaitable[dict[str, FileState]]]
"""Looks at paths of a layer, `merged` or `lower`."""
_CHANGED = Mapping[str, Any]
_MADE_NAMES = {"node_modules", "__pycache__", ".tox", ".nox", ".pytest_cache", ".mypy_cache", ".ruff_cache"}
_INSIDES = {"HEAD", "config", "config.worktree", "commondir", "hooks", "info", "objects", "refs"}
"""Of a git directory (gitrepository-layout(5))."""
_SPECIAL = ("", "special")
_MARKS = {"pyvenv.cfg": b"", "CACHEDIR.TAG": b"Signature: 8a477f597d28d172789f06886806bc55"}
"""Files by which a made directory is known, and how they begin (bford.info/cachedir)."""


@dataclass(frozen=True)
class Sifted:
    """What is taken, and what is not, by groups."""

    changes: list[_CHANGED]
    left_out: list[LeftOut] = field(default_factory=list)
    omitted: frozenset[str] = frozenset()
    """The paths of what is ignored or was made by a tool, one by one."""


@dataclass(frozen=True)
class _Rules:
    """Rules of this computer that hold for the seed: file in the scratch tree to its content."""

    files: dict[str, bytes] = field(default_factory=dict)
    excludes: bytes = b""
    exclude: bytes = b""


async def sift(
    read: Read,
    changes: Sequence[_CHANGED],
    seed: Mapping[str, Any] | None,
    include_ignored: bool,
    specials: Sequence[str] = (),
) -> Sifted:
    """Leave out what is not to be taken. `seed` is the workspace's `SeedInfo`, dumped.

    `specials` are the names of FIFOs, sockets and devices: never taken, and only named.

    Raises:
        InvalidInput: the ignore rules are too many, or git does not come to an end with them.
    """
    taken: list[_CHANGED] = []
    odd: list[str] = []
    for change in changes:
        if ".git" in change["path"].split("/"):
            continue
        if is_dot_git(change["path"]):
            odd.append(change["path"])
        else:
            taken.append(change)
    why = {path: (path, "name") for path in odd}
    if include_ignored or not taken:
        full = {a for c in taken for a in _ancestors(c["path"])}
        return Sifted(taken, [*_groups({c["path"]: c for c in changes}, why, set()), *_special_groups(specials, full)])
    is_git = (seed or {}).get("kind") == "git"
    made = await _made(read, taken)
    if made and await _has_rules(read, taken, made, seed if is_git else None):
        made = set()  # who has rules has said what is not to be taken
    for change in taken:
        root = next((a for a in _ancestors(change["path"]) if a in made), None)
        if root is not None:
            why[change["path"]] = (root, "made")
    asked = {c["path"] for c in taken if c["old"] is None and c["path"] not in why}
    first: dict[str, str] = {}
    for path, (root, _) in why.items():
        first.setdefault(root, path)
    asked |= {first[root] for root in made if root in first}
    above = {a for path in asked for a in _ancestors(path)}
    deep = {a for c in taken if c["path"] not in why for a in _ancestors(c["path"])} if is_git else set()
    if len(above) > MAX_DIRECTORIES:
        raise _too_many()
    files = [name for a in sorted({"", *above}) for name in [_join(a, ".gitignore")]] if asked else []
    states = await read([*files, *(f"{a}/.git" for a in sorted(deep))], "merged") if files or deep else {}
    repositories = {a for a in deep if states[f"{a}/.git"].kind in ("dir", "file")}
    repositories |= await _bare(read, {c["path"] for c in taken if c["path"] not in why})
    for change in taken:
        root = next((a for a in _ancestors(change["path"]) if a in repositories), None)
        if root is not None:
            why[change["path"]] = (root, "repository")
    for name in files:
        if states[name].changing:
            raise Conflict(
                f"{show(f'{WORKSPACE}/{name}')} is being written constantly, so its rules could not be read.",
                hint="Stop whatever is writing it, then try again.",
                code="file_changing",
            )
        if states[name].kind == "file" and states[name].content is None:
            raise _too_many()  # larger than any file that is read
    texts = {name: state.content for name in files if (state := states[name]).content}
    ignored = await asyncio.to_thread(_ignored, sorted(asked), texts, seed if is_git else None) if asked else set()
    by_root = {root for root in made if first.get(root, "") in ignored}
    for change in taken:
        path = change["path"]
        known = why.get(path)
        if known is not None and known[1] == "made" and known[0] in by_root:
            why[path] = (known[0], "ignored")
        elif known is None and path in ignored:
            why[path] = ("", "ignored")
    kept = [c for c in taken if c["path"] not in why]
    full = {a for c in kept for a in _ancestors(c["path"])}
    groups = [*_groups({c["path"]: c for c in changes}, why, full), *_special_groups(specials, full)]
    return Sifted(kept, groups, frozenset(path for path, (_, reason) in why.items() if reason in ("ignored", "made")))


def _join(directory: str, name: str) -> str:
    return f"{directory}/{name}" if directory else name


def _ancestors(path: str) -> list[str]:
    """The directories above, the outermost first."""
    parts = path.split("/")
    return ["/".join(parts[:i]) for i in range(1, len(parts))]


async def _made(read: Read, changes: Iterable[_CHANGED]) -> set[str]:
    """Directories that a tool made, and that were not in the seed; the outermost only."""
    found: set[str] = set()
    marked: list[str] = []
    for change in changes:
        if change["old"] is not None:
            continue
        directory, _, name = change["path"].rpartition("/")
        if directory and name in _MARKS and change["new"] and change["new"]["kind"] == "file":
            marked.append(change["path"])
        for ancestor in _ancestors(change["path"]):
            base = ancestor.rpartition("/")[2]
            if base in _MADE_NAMES or (base.endswith(".egg-info") and base != ".egg-info"):
                found.add(ancestor)
                break
    if marked:
        for path, state in (await read(marked[:MAX_DIRECTORIES], "merged")).items():
            directory, _, name = path.rpartition("/")
            if state.content is not None and state.content.startswith(_MARKS[name]):
                found.add(directory)
    found = {one for one in found if not any(above in found for above in _ancestors(one))}
    if not found:
        return found
    before = await read(sorted(found), "lower")
    return {one for one in found if before[one].kind == "absent"}


async def _bare(read: Read, paths: Iterable[str]) -> set[str]:
    """Repositories without a work tree among directories that something of was changed that git would go by.

    git takes such a directory for a repository when somebody only looks around in it, and runs what its settings name.
    """
    candidates: set[str] = set()
    for path in paths:
        parts = path.split("/")
        candidates.update("/".join(parts[:i]) for i in range(1, len(parts)) if parts[i] in _INSIDES)
    names = [f"{a}/{inner}" for a in sorted(candidates) for inner in ("HEAD", "objects", "refs")]
    states = await read(names, "merged") if names else {}
    there = {name for name, state in states.items() if state.kind != "absent"}
    # A checkout has no empty directories: one of the two may be missing here, and stand where the user works.
    return {a for a in candidates if f"{a}/HEAD" in there and ({f"{a}/objects", f"{a}/refs"} & there)}


async def _has_rules(read: Read, changes: Iterable[_CHANGED], made: set[str], seed: Mapping[str, Any] | None) -> bool:
    """Whether any rule holds for the tree. What a tool wrote into its own directory (`*`) is about that one only."""
    directories = {"", *(above for root in made for above in _ancestors(root))}
    for change in changes:
        above = _ancestors(change["path"])
        if not made.intersection(above):
            directories.update(above)
    if len(directories) > MAX_DIRECTORIES:
        raise _too_many()
    states = await read([_join(directory, ".gitignore") for directory in sorted(directories)], "merged")
    texts = [state.content for state in states.values() if state.kind == "file" and state.content]
    git = shutil.which("git")
    if seed and git:
        rules = await asyncio.to_thread(_host_rules, git, Path(str(seed["source"])), _prefix(seed))
        texts += [*rules.files.values(), rules.exclude]
    return any(line.strip() and not line.startswith(b"#") for text in texts for line in text.splitlines())


def _prefix(seed: Mapping[str, Any] | None) -> str:
    return str((seed or {}).get("prefix") or "").strip("/")


def _groups(changes: Mapping[str, _CHANGED], why: Mapping[str, tuple[str, str]], kept: set[str]) -> list[LeftOut]:
    counts: Counter[tuple[str, str]] = Counter()
    names: dict[tuple[str, str], str] = {}
    for path, (group, reason) in why.items():
        change = changes[path]
        sides = [side for side in (change["old"], change["new"]) if side]
        if all(side["kind"] == "dir" for side in sides):
            continue
        # What is ignored goes by the outermost directory of which nothing is taken.
        root = group or next((a for a in _ancestors(path) if a not in kept), path)
        counts[root, reason] += 1
        names[root, reason] = path
    found = []
    for (root, reason), files in counts.items():
        single = files == 1 and reason != "repository"
        shown = names[root, reason] if single else root + "/" if root != names[root, reason] else root
        found.append(LeftOut(path=os.fsencode(shown).decode("utf-8", "backslashreplace"), files=files, why=reason))
    return sorted(found, key=lambda one: (-one.files, one.path))


def _special_groups(specials: Sequence[str], kept: set[str]) -> list[LeftOut]:
    one = {"kind": "other"}
    return _groups({p: {"path": p, "old": None, "new": one} for p in specials}, dict.fromkeys(specials, _SPECIAL), kept)


def _ignored(paths: Sequence[str], texts: Mapping[str, bytes], seed: Mapping[str, Any] | None) -> set[str]:
    """Those of the paths that git's ignore rules leave out. Blocks."""
    git = shutil.which("git")
    if git is None:
        return set()
    prefix = _prefix(seed)
    rules = _host_rules(git, Path(str(seed["source"])), prefix) if seed else _Rules()
    files = dict(rules.files) | {_join(prefix, name): text for name, text in texts.items()}
    if not files and not rules.exclude and not rules.excludes:
        return set()
    if sum(map(len, files.values())) > MAX_RULE_BYTES:
        raise _too_many()
    try:
        with tempfile.TemporaryDirectory(prefix="pyro-ignore-") as scratch:
            return _checked(git, Path(scratch), paths, files, rules, prefix)
    except OSError as error:
        raise InvalidInput(
            f"The ignore rules could not be applied: {error.strerror}.",
            hint="Take everything with `include_ignored`.",
            code="ignore_rules",
        ) from error


def _checked(
    git: str, scratch: Path, paths: Sequence[str], files: Mapping[str, bytes], rules: _Rules, prefix: str
) -> set[str]:
    place, tree = scratch / "git", scratch / "tree"
    for directory in (place / "objects", place / "refs", place / "info", tree):
        directory.mkdir(parents=True)
    (place / "HEAD").write_text("ref: refs/heads/scratch\n")
    (place / "config").write_text(f'[core]\n\trepositoryformatversion = 0\n\texcludesFile = "{place}/excludes"\n')
    (place / "excludes").write_bytes(rules.excludes)
    (place / "info" / "exclude").write_bytes(rules.exclude)
    for name, text in files.items():
        file = tree / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text)
    # `./` keeps a name from being read as a pathspec with magic.
    asked = b"".join(b"./%s\0" % os.fsencode(_join(prefix, path)) for path in paths)
    command = [git, f"--git-dir={place}", f"--work-tree={tree}", "check-ignore", "-v", "-z", "--no-index", "--stdin"]
    try:
        done = _run(command, tree, asked, alone=True)
    except subprocess.TimeoutExpired:
        raise _too_many() from None
    if done.returncode not in (0, 1):
        said = done.stderr.decode("utf-8", "replace").strip()[:200]
        raise InvalidInput(
            f"git could not apply the ignore rules: {said}",
            hint="Take everything with `include_ignored`.",
            code="ignore_rules",
        )
    fields = done.stdout.split(b"\0")[:-1]
    skip = len(prefix) + 3 if prefix else 2
    # Source, line, pattern, path; a pattern that begins with `!` takes the path after all.
    return {
        os.fsdecode(fields[i + 3])[skip:] for i in range(0, len(fields) - 3, 4) if not fields[i + 2].startswith(b"!")
    }


def _run(
    command: list[str], cwd: Path, stdin: bytes = b"", *, alone: bool = False
) -> subprocess.CompletedProcess[bytes]:
    env = environment(ALONE if alone else None)
    return subprocess.run(command, cwd=cwd, env=env, input=stdin, capture_output=True, timeout=GIT_SECONDS, check=False)


def _host_rules(git: str, source: Path, prefix: str) -> _Rules:
    """The user's own rules for the seed, as they are now: info/exclude, core.excludesFile, and above a subfolder."""

    def ask(*words: str) -> str:
        try:
            done = _run([git, *SAFE, *words], source)
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return os.fsdecode(done.stdout).removesuffix("\n") if done.returncode == 0 else ""

    def read(file: Path) -> bytes:
        try:
            return file.read_bytes() if file.is_file() and file.stat().st_size <= MAX_RULE_BYTES else b""
        except OSError:
            return b""

    common = ask("rev-parse", "--path-format=absolute", "--git-common-dir")
    if not common:
        return _Rules()
    named = ask("config", "--type=path", "core.excludesFile")
    base = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    above = ["", *_ancestors(prefix)] if prefix else []
    top = source
    for _ in prefix.split("/") if prefix else ():
        top = top.parent
    files = {_join(a, ".gitignore"): text for a in above if (text := read(top / a / ".gitignore"))}
    return _Rules(files, read(Path(named or f"{base}/git/ignore")), read(Path(common, "info", "exclude")))


def _too_many() -> InvalidInput:
    return InvalidInput(
        "The workspace has too many ignore rules, or they are too slow to apply.",
        hint="Take everything with `include_ignored`, or delete what you do not need.",
        code="ignore_rules",
    )


_WORDS = {
    "ignored": "ignored by git",
    "made": "made by a tool",
    "repository": "a repository of its own",
    "name": "a name that git refuses",
    "special": "no file, directory or link",
    "prepared": "made by the project's set-up",
}


def told(left_out: Sequence[LeftOut]) -> str:
    """One sentence about what was left out; empty where nothing was."""
    if not left_out:
        return ""
    parts = []
    for one in left_out[:3]:
        many = f"{one.files:,} {'file' if one.files == 1 else 'files'} in " if one.path.endswith("/") else ""
        parts.append(f"{many}{one.path} ({_WORDS[one.why]})")
    more = sum(one.files for one in left_out[3:])
    text = ", ".join(parts) + (f" and {more:,} more files" if more else "")
    takes = any(one.why in ("ignored", "made", "repository") for one in left_out)
    return f"Left out: {text}" + ("; include them with `include_ignored`." if takes else ".")
