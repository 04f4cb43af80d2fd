"""Git repositories in an exported tree: left out, or without what would run programs on this computer.

`git status` alone runs what a repository's configuration names (core.fsmonitor), and hooks are programs. So a
repository that a guest made comes out only when it was asked for by name, and then with a configuration of harmless
settings and without hooks. Blocks; works on a private, finished tree.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pyro_mcp.paths import is_dot_git
from pyro_mcp.trees import MOST_DEPTH

_SETTINGS = re.compile(
    r"^(core\.(repositoryformatversion|filemode|bare|ignorecase|symlinks|precomposeunicode|autocrlf|eol|sharedrepository"
    r"|logallrefupdates)|extensions\.(objectformat|refstorage)|remote\..+\.fetch|branch\..+\.(remote|merge|rebase)"
    r"|user\.(name|email)|init\.defaultbranch|submodule\..+\.active)$"
)
"""Settings that start no program, whatever their value."""
_URL = re.compile(r"^(https?|ssh|git)://[\w.@:/~+%-]+$|^[\w.-]+@[\w.-]+:[\w./~-]+$")
"""Addresses of remotes that name no helper (`ext::…`) and no option of ssh (`-oProxyCommand`)."""
_HARMLESS = {"HEAD", "FETCH_HEAD", "ORIG_HEAD", "MERGE_HEAD", "COMMIT_EDITMSG", "packed-refs", "shallow", "description"}
_KEPT_DIRECTORIES = {"objects", "refs", "logs", "info", "reftable"}


class TooDeep(Exception):
    """The tree is deeper than `MOST_DEPTH`."""


@dataclass
class LeftOut:
    """What an export did without."""

    repositories: list[str] = field(default_factory=list)
    """Folders of git, relative to the export."""
    parts: list[str] = field(default_factory=list)
    """Parts of repositories that were asked for: hooks, settings."""


def leave_out(tree: Path) -> LeftOut:
    """Remove every repository's insides from a finished tree: `.git` of any kind, and bare repositories."""
    found = LeftOut()
    for place in list(_repositories(tree)):
        _remove(place)
        found.repositories.append(os.path.relpath(place, tree))
    found.repositories.sort()
    return found


def disarm(tree: Path, *, itself: bool = False) -> LeftOut:
    """Keep repositories, without what runs programs. With `itself`, the tree is the inside of one."""
    found = LeftOut()
    for place in [tree] if itself else list(_repositories(tree)):
        if place.is_symlink() or not place.is_dir():
            _remove(place)  # a file that names a directory elsewhere
            found.parts.append(os.path.relpath(place, tree))
        else:
            _disarm(place, tree, found)
    found.parts.sort()
    return found


def _remove(place: Path) -> None:
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink()


def _repositories(tree: Path) -> Iterator[Path]:
    """Every `.git`, whatever it is and however it is spelled, and every bare repository. Nothing inside these."""
    waiting = [(tree, 0)]
    while waiting:
        directory, depth = waiting.pop()
        if depth > MOST_DEPTH:
            raise TooDeep
        if directory.is_symlink() or not directory.is_dir():
            continue
        if directory != tree and is_bare(directory):
            yield directory
            continue
        for entry in os.scandir(directory):
            if is_dot_git(entry.name):
                yield Path(entry.path)
            elif entry.is_dir(follow_symlinks=False):
                waiting.append((Path(entry.path), depth + 1))


def is_bare(directory: Path) -> bool:
    """Whether git takes a directory for a repository (setup.c, is_git_directory)."""
    return all(os.path.lexists(directory / name) for name in ("HEAD", "objects", "refs"))


def _disarm(git: Path, tree: Path, found: LeftOut) -> None:
    """Keep of a repository what is data; drop the rest."""

    def drop(place: Path) -> None:
        found.parts.append(os.path.relpath(place, tree))
        _remove(place)

    for entry in sorted(os.scandir(git), key=lambda entry: entry.name):
        place = Path(entry.path)
        if entry.is_symlink():
            drop(place)
        elif entry.is_dir(follow_symlinks=False):
            if entry.name == "modules":
                for module in list(_repositories_below(place)):
                    _disarm(module, tree, found)
            elif entry.name not in _KEPT_DIRECTORIES:
                drop(place)
        elif entry.name == "config":
            _rewrite(place, tree, found)
        elif entry.name not in _HARMLESS and not entry.name.startswith(("index", "sharedindex.")):
            drop(place)
    for name in ("objects/info/alternates", "objects/info/http-alternates", "info/attributes", "info/grafts"):
        place = git / name
        if os.path.lexists(place):
            drop(place)
    for directory, names, files in os.walk(git):
        for name in [*names, *files]:
            place = Path(directory, name)
            if place.is_symlink() or (
                name in names and "modules" not in place.relative_to(git).parts and is_bare(place)
            ):
                drop(place)  # a repository within one's own directories is one as well for who looks around in it
            elif place.is_file() and place.stat().st_mode & 0o111:
                place.chmod(stat.S_IMODE(place.stat().st_mode) & ~0o111)


def _repositories_below(modules: Path) -> Iterator[Path]:
    for directory, names, _ in os.walk(modules):
        if is_bare(Path(directory)):
            names.clear()
            yield Path(directory)


def _rewrite(config: Path, tree: Path, found: LeftOut) -> None:
    """The configuration with harmless settings only."""
    kept: dict[str, list[str]] = {}
    for name, value in read_config(config):
        url = name.startswith("remote.") and name.endswith(".url") and _URL.match(value)
        if not (url or _SETTINGS.match(name)) or not _plain(value):
            found.parts.append(f"{os.path.relpath(config, tree)}: {name}")
            continue
        section, _, key = name.rpartition(".")
        head, dot, sub = section.partition(".")
        header = f'[{head} "{_quoted(sub)}"]' if dot else f"[{head}]"
        kept.setdefault(header, []).append(f'\t{key} = "{_quoted(value)}"')
    config.write_text("".join(f"{header}\n" + "\n".join(lines) + "\n" for header, lines in kept.items()))


def _plain(value: str) -> bool:
    return all(c.isprintable() for c in value)


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


_SECTION = re.compile(r'^\[\s*([A-Za-z0-9.-]+)\s*(?:"((?:[^"\\]|\\.)*)")?\s*\]\s*(.*)$')
_ENTRY = re.compile(r"^([A-Za-z][A-Za-z0-9-]*)\s*(?:=\s*(.*))?$")


def read_config(config: Path) -> list[tuple[str, str]]:
    """The settings of a configuration file, by full name; what cannot be read is passed over, and so not kept."""
    settings: list[tuple[str, str]] = []
    section = ""
    text = config.read_bytes()[: 1 << 20].decode("utf-8", "replace").replace("\\\n", "")
    for raw in text.splitlines():
        line = raw.strip()
        head = _SECTION.match(line)
        if head:
            name = head[1].lower()
            section = f"{name}.{_unescaped(head[2])}" if head[2] is not None else name
            line = head[3].strip()
        entry = _ENTRY.match(line)
        if entry and section:
            settings.append((f"{section}.{entry[1].lower()}", _value(entry[2] if entry[2] is not None else "true")))
    return settings


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def _value(text: str) -> str:
    """A value without its quotes and comment."""
    out: list[str] = []
    quoted = False
    at = 0
    while at < len(text):
        c = text[at]
        if c == "\\" and at + 1 < len(text):
            at += 1
            out.append({"n": "\n", "t": "\t", "b": "\b"}.get(text[at], text[at]))
        elif c == '"':
            quoted = not quoted
        elif c in "#;" and not quoted:
            break
        else:
            out.append(c)
        at += 1
    return "".join(out).strip()
