"""A repository that works inside, for a seed whose own is not simply a `.git` directory within it.

| seed | what stands in its `.git` inside |
|---|---|
| a linked work tree, a submodule, a separate git directory | what both of its directories hold, put together |
| a part of a work tree | a repository of its own, with one commit: that part as HEAD has it |
| a clone that borrows objects (`--shared`, `--reference`) | its own, with the borrowed objects that it needs |

Nothing of the user's repository is changed, and none of its hooks, filters or helpers runs. Blocks.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pyro_mcp.errors import InvalidInput
from pyro_mcp.git import SAFE, environment
from pyro_mcp.paths import show

_GIT_SECONDS = 60
_PACK_SECONDS = 600
_LINKS_ONLY = {"commondir", "gitdir", "locked"}
"""Of a linked work tree's directory (gitrepository-layout(5)): where it stands on this computer."""
_NOT_SHARED = {"worktrees", "HEAD", "index", "ORIG_HEAD", "MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "BISECT_LOG"}
"""Of the common directory: what each work tree has for itself."""
_GITFILE_BYTES = 8192


@dataclass(frozen=True)
class Repository:
    """Where the repository of a seed is, and what it was when that was looked at."""

    kind: Literal["linked", "part", "borrowing"]
    directory: Path
    """Its git directory on this computer."""
    common: Path
    """The same, or that of the repository which a linked work tree belongs to."""
    prefix: str
    state: str
    """Changes whenever a branch, the index or a setting does."""


def git_directory(top: Path) -> Path | None:
    """The git directory that `.git` of a work tree is, or leads to; None when it leads nowhere."""
    dot = top / ".git"
    if dot.is_dir():
        return dot.resolve()
    try:
        with dot.open("rb") as file:
            said = file.read(_GITFILE_BYTES)
    except OSError:
        return None
    if not said.startswith(b"gitdir:"):
        return None
    found = Path(os.path.realpath(top / os.fsdecode(said[7:].strip())))
    return found if (found / "HEAD").is_file() else None


def common_directory(directory: Path) -> Path:
    """Where a git directory has its objects and branches."""
    try:
        said = (directory / "commondir").read_bytes().strip()
    except OSError:
        return directory
    return Path(os.path.realpath(directory / os.fsdecode(said)))


def belongs(top: Path, directory: Path) -> bool:
    """Whether the git directory names this work tree as its own: nobody can claim a repository by a `.git` file."""
    dot = os.path.realpath(top / ".git")
    try:
        back = os.fsdecode((directory / "gitdir").read_bytes().strip())
        if os.path.realpath(directory / back) == dot:
            return common_directory(directory) in directory.parents
    except OSError:
        pass
    done = run(directory, None, str(directory), "config", "--file", str(directory / "config"), "core.worktree")
    if done is None or isinstance(done, str) or done.returncode:
        return False
    return os.path.realpath(directory / os.fsdecode(done.stdout.rstrip(b"\n"))) == os.path.realpath(top)


def within(source: Path, roots: Sequence[Path]) -> bool:
    """Whether a seed's repository is below one of these directories, or names the seed's work tree as its own.

    Else whoever may write `.git` somewhere could have another repository's history.
    """
    top = next((place for place in (source, *source.parents) if os.path.lexists(place / ".git")), None)
    directory = None if top is None else git_directory(top)
    if top is None or directory is None:
        return True
    common = common_directory(directory)
    if belongs(top, directory) or (common == directory and directory == top / ".git"):
        return True
    return all(any(root == place or root in place.parents for root in roots) for place in (directory, common))


def look(top: Path, source: Path) -> Repository | None:
    """What has to be made for a seed, if its own `.git` directory is not enough."""
    directory = git_directory(top)
    if directory is None:
        return None
    common = common_directory(directory)
    prefix = "" if source == top else source.relative_to(top).as_posix()
    if prefix:
        kind: Literal["linked", "part", "borrowing"] = "part"
    elif not (top / ".git").is_dir() or (top / ".git").is_symlink():
        kind = "linked"
    elif (common / "objects" / "info" / "alternates").is_file():
        kind = "borrowing"
    else:
        return None
    return Repository(kind, directory, common, prefix, _state(directory, common))


def unchanged(repository: Repository) -> bool:
    """Whether it still is as it was when it was looked at."""
    return _state(repository.directory, repository.common) == repository.state


def _state(directory: Path, common: Path) -> str:
    digest = hashlib.sha256()
    for place in (directory / "HEAD", directory / "index", common / "packed-refs", common / "config"):
        digest.update(_stamp(place))
    for root, names, files in os.walk(common / "refs"):
        names.sort()
        for name in sorted(files):
            digest.update(os.fsencode(name) + _stamp(Path(root, name)))
    return digest.hexdigest()


def _stamp(place: Path) -> bytes:
    try:
        info = place.lstat()
    except OSError:
        return b"-"
    return f"{info.st_mtime_ns} {info.st_ctime_ns} {info.st_size} {info.st_ino};".encode()


def run(
    directory: Path | None,
    work_tree: str | None,
    cwd: str,
    *arguments: str,
    data: bytes | None = None,
    extra: dict[str, str] | None = None,
    seconds: float = _GIT_SECONDS,
) -> subprocess.CompletedProcess[bytes] | str | None:
    """Run git on a repository that may belong to anybody; None when there is none, a word when it did not run."""
    git = shutil.which("git")
    if git is None:
        return None
    command = [git, *SAFE]
    command += [] if directory is None else [f"--git-dir={directory}"]
    command += [] if work_tree is None else [f"--work-tree={work_tree}"]
    given: dict[str, object] = {"input": data} if data is not None else {"stdin": subprocess.DEVNULL}
    try:
        return subprocess.run(  # type: ignore[call-overload, no-any-return]
            [*command, *arguments],
            cwd=cwd,
            env=environment(extra),
            capture_output=True,
            timeout=seconds,
            check=False,
            **given,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return type(error).__name__


def build(repository: Repository, tree: Path) -> None:
    """Make the `.git` of a copied seed.

    Raises:
        InvalidInput: git or this computer refused; the words say why.
    """
    info = tree.stat()
    dot = tree / ".git"
    if os.path.lexists(dot) and (dot.is_symlink() or not dot.is_dir()):
        dot.unlink()
    try:
        if repository.kind == "linked":
            _together(repository, dot)
        elif repository.kind == "part":
            _part(repository, dot)
        if repository.kind != "part":
            _whole(repository, dot)
    except OSError as error:
        raise _failed(repository, error.strerror or str(error)) from None
    os.utime(tree, ns=(info.st_atime_ns, info.st_mtime_ns))


def _failed(repository: Repository, why: str) -> InvalidInput:
    return InvalidInput(
        f"The repository in {show(str(repository.directory))} could not be copied: {why}.",
        hint="Repair it (`git fsck` there shows more), or seed from a copy without `.git`.",
        code="seed_repository",
    )


def _git(repository: Repository, directory: Path, *arguments: str, **given: object) -> bytes:
    done = run(directory, None, str(directory), *arguments, **given)  # type: ignore[arg-type]
    if done is None or isinstance(done, str):
        raise _failed(repository, done or "git is not on this computer")
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise _failed(repository, said[-1] if said else f"git {arguments[0]} failed")
    return done.stdout


# -- linked work trees, submodules


def _together(repository: Repository, dot: Path) -> None:
    if repository.common != repository.directory:
        _copy(repository.common, dot, _NOT_SHARED)
        (dot / "logs" / "HEAD").unlink(missing_ok=True)
    _copy(repository.directory, dot, _LINKS_ONLY)
    for name in ("config", "config.worktree"):
        if (dot / name).is_file():
            # 5 is git's word for "was not there".
            run(None, None, "/", "config", "--file", str(dot / name), "--unset-all", "core.worktree")
            run(None, None, "/", "config", "--file", str(dot / name), "core.bare", "false")


def _copy(source: Path, target: Path, without: set[str]) -> None:
    """Files and directories; no link is followed, nothing special taken, and no lock."""
    target.mkdir(exist_ok=True)
    with os.scandir(source) as found:
        for item in found:
            place = target / item.name
            if item.name in without or item.name.endswith(".lock"):
                continue
            if item.is_dir(follow_symlinks=False):
                _copy(Path(item.path), place, set())
            elif item.is_symlink():
                place.unlink(missing_ok=True)
                place.symlink_to(os.readlink(item.path))
            elif item.is_file(follow_symlinks=False):
                place.unlink(missing_ok=True)
                try:
                    shutil.copy2(item.path, place, follow_symlinks=False)
                except FileNotFoundError:
                    continue  # Gone since; `unchanged` notices where it matters.


# -- borrowed objects


def _whole(repository: Repository, dot: Path) -> None:
    """Bring the borrowed objects that branches, index and logs need, and borrow no more."""
    borrowed = dot / "objects" / "info" / "alternates"
    if not borrowed.is_file():
        return
    real = repository.common / "objects"
    lines = [os.fsdecode(line) for line in borrowed.read_bytes().splitlines() if line and not line.startswith(b"#")]
    borrowed.write_bytes(b"".join(os.fsencode(os.path.join(real, line)) + b"\n" for line in lines))
    _git(repository, dot, "-c", "pack.threads=2", "repack", "-a", "-d", "-q", seconds=_PACK_SECONDS)
    borrowed.unlink()


# -- a part of a work tree


def _part(repository: Repository, dot: Path) -> None:
    """A repository with one commit: the part, as HEAD has it."""
    # The path in a `rev:path` goes on to the end: there it could not be said that a tree is meant.
    here = str(repository.directory)
    found = run(repository.directory, None, here, "rev-parse", "--verify", "--quiet", f"HEAD:{repository.prefix}")
    tree = b"" if found is None or isinstance(found, str) or found.returncode else found.stdout.strip()
    branch = "main"
    named = run(repository.directory, None, here, "symbolic-ref", "--quiet", "--short", "HEAD")
    if named is not None and not isinstance(named, str) and not named.returncode:
        branch = named.stdout.decode("utf-8", "replace").strip()
    kind = "sha256" if len(tree) == 64 else "sha1"
    dot.mkdir()
    _git(repository, dot, "init", "-q", "--template=", f"--object-format={kind}")
    _git(repository, dot, "config", "core.bare", "false")
    _git(repository, dot, "symbolic-ref", "HEAD", f"refs/heads/{branch}")
    if tree:
        pack = _git(
            repository,
            repository.directory,
            *("pack-objects", "--revs", "--stdout", "-q", "--missing=allow-any"),
            data=tree + b"\n",
            seconds=_PACK_SECONDS,
        )
        _git(repository, dot, "index-pack", "--stdin", data=pack, seconds=_PACK_SECONDS)
        commit = _git(repository, repository.directory, "rev-parse", "HEAD^{commit}").decode().strip()
        said = _git(
            repository, repository.directory, "log", "-1", "--no-show-signature", "--format=%an%n%ae%n%aI", "HEAD"
        ).decode("utf-8", "replace")
        name, mail, date = (*said.splitlines(), "", "", "")[:3]
        who = {"NAME": name or "pyro", "EMAIL": mail or "pyro@localhost", "DATE": date}
        author = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in who.items()}
        message = f"{repository.prefix} as of {commit}\n\nA part of a repository that is outside this computer.\n"
        made = _git(repository, dot, "commit-tree", tree.decode(), data=message.encode(), extra=author).strip()
        _git(repository, dot, "update-ref", f"refs/heads/{branch}", made.decode())
        _git(repository, dot, "read-tree", tree.decode())
    _rules(repository, dot)


def _rules(repository: Repository, dot: Path) -> None:
    """What the directories above say of ignored files and attributes, as far as it can concern this part."""
    top = _top(repository)
    if top is None:
        return
    (dot / "info").mkdir(exist_ok=True)
    for name, to in ((".gitignore", "exclude"), (".gitattributes", "attributes")):
        lines: list[bytes] = []
        parts = repository.prefix.split("/")
        for depth in range(len(parts)):
            above = Path(top, *parts[:depth], name)
            below = "/".join(parts[depth:]) + "/"
            if above.is_file() and not above.is_symlink():
                lines += [kept for line in above.read_bytes().splitlines() if (kept := _moved(line, below))]
        if lines:
            with (dot / "info" / to).open("ab") as file:
                file.write(b"\n".join(lines) + b"\n")


def _top(repository: Repository) -> Path | None:
    """The work tree above the part: what `.git` stands in, or what a linked one's directory names."""
    if repository.directory.name == ".git":
        return repository.directory.parent
    try:
        back = os.fsdecode((repository.directory / "gitdir").read_bytes().strip())
    except OSError:
        return None
    return Path(os.path.realpath(repository.directory / back)).parent


def _moved(line: bytes, below: str) -> bytes:
    """A pattern as it reads from the directory `below`; nothing where it cannot match in there."""
    if not line.strip() or line.startswith(b"#"):
        return b""
    no, pattern = (b"!", line[1:]) if line.startswith(b"!") else (b"", line)
    body = pattern.split(None, 1)[0] if re.search(rb"\s", pattern) else pattern
    if b"/" not in body.rstrip(b"/") or pattern.startswith(b"**/"):
        return line
    rest = pattern.removeprefix(b"/")
    inside = os.fsencode(below)
    return no + b"/" + rest.removeprefix(inside) if rest.startswith(inside) and rest != inside else b""
