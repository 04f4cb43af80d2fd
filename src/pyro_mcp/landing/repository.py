"""Git run for a landing, and the user's repository: asked where things are, its references moved once, at the end."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from pyro_mcp.errors import ComponentMissing, Conflict, EngineError, InvalidInput
from pyro_mcp.git import SAFE, environment
from pyro_mcp.patches.names import quote
from pyro_mcp.paths import show
from pyro_mcp.trees import matching

GIT_SECONDS = 60
_IDENT = re.compile(r"(.*) <(.*)> \d+ [+-]\d+", re.DOTALL)
FALLBACK = ("pyro", "pyro@localhost")


def shown(path: bytes) -> str:
    return quote(os.fsdecode(path)).decode()


def run(
    arguments: Sequence[str | bytes], *, cwd: str, env: Mapping[str, str], stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    git = shutil.which("git")
    if git is None:
        raise ComponentMissing("git is not on this computer.", hint="Install git 2.38 or newer.", code="git_missing")
    try:
        return subprocess.run(
            [git, *arguments],
            cwd=cwd,
            env=environment({"GIT_NO_REPLACE_OBJECTS": "1", **env}),
            input=stdin,
            capture_output=True,
            timeout=GIT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise EngineError(
            f"git did not finish within {GIT_SECONDS} seconds in {cwd}; the branch was not changed.",
            hint="Check whether the repository's disk is slow or full, then try again.",
            code="git_timeout",
        ) from error
    except OSError as error:
        raise EngineError(f"git could not be run in {cwd}: {error.strerror}.", code="git_failed") from error


def said(done: subprocess.CompletedProcess[bytes]) -> str:
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return lines[0] if lines else f"exit status {done.returncode}"


def failed(what: str, done: subprocess.CompletedProcess[bytes]) -> EngineError:
    return EngineError(f"git {what} failed: {said(done)}. The branch was not changed.", code="git_failed")


class Repository:
    """The user's repository: asked with its own settings, but it runs no program of theirs."""

    def __init__(self, repo: Path) -> None:
        self._cwd = os.path.abspath(repo)
        if not os.path.isdir(self._cwd):
            raise self._not_one("there is no such directory")
        found = self._git("rev-parse", "--path-format=absolute", "--git-common-dir")
        if found.returncode:
            raise self._not_one(said(found))
        self.common = os.fsdecode(found.stdout.removesuffix(b"\n"))
        top = self._git("rev-parse", "--show-toplevel")
        self._shown_top = self.common if top.returncode else os.fsdecode(top.stdout.removesuffix(b"\n"))
        # An old git without the option knows SHA-1 only.
        self.format = self._git("rev-parse", "--show-object-format").stdout.decode().strip() or "sha1"
        self.zero = "0" * (64 if self.format == "sha256" else 40)
        self.shared = self._git("config", "--get", "core.sharedRepository").stdout.decode().strip()

    def _not_one(self, why: str) -> InvalidInput:
        return InvalidInput(
            f"{show(str(self._cwd))} is not in a usable git repository: {why}.",
            hint="Name the repository with `--repo DIR`.",
            code="not_a_repository",
        )

    def _git(
        self, *arguments: str, stdin: bytes = b"", env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        return run([*SAFE, *arguments], cwd=self._cwd, env=env or {}, stdin=stdin)

    def _ask(self, *arguments: str) -> bytes:
        done = self._git(*arguments)
        if done.returncode:
            raise failed(arguments[0], done)
        return done.stdout

    def setting(self, name: str, *, path: bool = False) -> str:
        """Empty where it is not set."""
        words = ["config", *(["--type=path"] if path else []), "--get", name]
        return os.fsdecode(self._git(*words).stdout).removesuffix("\n")

    def filters(self) -> set[str]:
        """The filters that would change what is committed, or whose lack would stop it."""
        out = self._git("config", "-z", "--name-only", "--get-regexp", r"^filter\..*\.(clean|process|required)$").stdout
        names = (os.fsdecode(name) for name in out.split(b"\0")[:-1])
        return {name.split(".", 1)[1].rpartition(".")[0] for name in names}

    def check_branch(self, branch: str) -> None:
        # `@` alone means HEAD to every other command.
        good = not branch.startswith(("-", "refs/")) and branch != "@" and "\0" not in branch
        if good:
            done = self._git("check-ref-format", "--branch", branch)
            # `@{-1}` and the like are names for other branches.
            good = done.returncode == 0 and done.stdout.removesuffix(b"\n") == os.fsencode(branch)
        if not good:
            raise InvalidInput(
                f"{shown(os.fsencode(branch))} is not a valid branch name.",
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
                hint="Land on another branch, then merge it.",
                code="branch_checked_out",
            )

    def _in_rebase(self) -> set[bytes]:
        """The references that are being rebased.

        Raises:
            EngineError: the work trees cannot be listed.
        """
        common = Path(self.common)
        names = set()
        try:
            others = matching(common / "worktrees", "*")
        except OSError as error:
            raise EngineError(
                f"{show(str(common / 'worktrees'))} cannot be read: {error.strerror}. The branch was not changed.",
                code="git_failed",
            ) from error
        for place in (common, *others):
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
                    f"Branch {branch} is a symbolic reference or not a commit, so it was not moved.",
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
            name, mail = (found[1], found[2]) if found else FALLBACK
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
                f"Branch {branch} moved to {now[:12] or 'nothing'} in the meantime. Nothing was changed.",
                hint="Run the command again.",
                code="branch_moved",
            )
        if b"cannot create" in done.stderr or b"cannot lock ref" in done.stderr:
            raise Conflict(
                f"Branch {branch} could not be written: {said(done)}. Nothing was changed.",
                hint="Land on another branch, or try again when no other git command is running in the repository.",
                code="branch_locked",
            )
        raise failed("update-ref", done)

    def undo(self, branch: str, commit: str, tip: str) -> str:
        words = ["git", "-C", self._shown_top, "update-ref"]
        ref = f"refs/heads/{branch}"
        return shlex.join([*words, ref, tip, commit] if tip else [*words, "-d", ref, commit])
