"""Never lose work: each workspace's files are kept as they are after each command or edit that changes something.

The end of a command that changed little tells what the files have become. Else a look asks the agent what was written
since the baseline, by marks that cost no reading, and reads what is new. It
happens behind the caller's back; only who is about to change something waits for the look at what went before. What is
kept survives a reset, a lost machine and a daemon that is killed; it goes with its workspace. A fork begins anew.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from pyro_mcp import models
from pyro_mcp.errors import NotFound, PyroError
from pyro_mcp.files.changes import FILE_CAP, carry_out, marked_changes, read_states
from pyro_mcp.files.checkpoints import Checkpoint, Checkpoints, State
from pyro_mcp.guest.client import Guest
from pyro_mcp.guest.delta import Became, Delta, Look
from pyro_mcp.masking.redaction import Redactor
from pyro_mcp.models.base import iso_of
from pyro_mcp.patches.plan import Change, FileState

KEEPS = os.environ.get("PYRO_CHECKPOINTS") != "off"
"""To measure what they cost (`python -m benchmarks.checkpoints`)."""
log = logging.getLogger(__name__)
SETTLE_SECONDS = 10.0
"""How long one who changes something waits for the look at what went before."""
MOST_DELTAS = 100
"""Ends of commands whose contents wait to be written down; they are small."""
READ_AT_ONCE = 500
MOST_FILES = 20_000
"""Of a workspace with more changed files than that, nothing is kept."""
NAMED = 5
WHAT_CHARACTERS = 100
OVERTAKEN = " (incomplete: files disappeared before they were saved)"


class Kept(Protocol):
    """The workspace whose files are kept."""

    @property
    def id(self) -> str: ...
    @property
    def outputs(self) -> Path: ...
    @property
    def guest(self) -> Guest: ...
    @property
    def redactor(self) -> Redactor: ...
    @property
    def heard(self) -> Callable[[], None]: ...


class Keeper:
    """The checkpoints of one workspace."""

    def __init__(self, workspace: Kept) -> None:
        self._workspace = workspace
        self._lock = asyncio.Lock()
        self._kept: Checkpoints | None = None
        self._marks: dict[str, str] = {}
        self._looks: asyncio.Task[None] | None = None
        self._waiting: list[tuple[str, Delta | None]] = []
        self._doing: list[tuple[str, Delta | None]] = []
        self._seen: Look | None = None
        """The agent's look that what is kept comes from; a delta from there on needs no other."""

    @property
    def changed_files(self) -> int | None:
        """Files that differ from the baseline, as the last look found; None before there was one."""
        return None if self._kept is None else len(self._kept.now)

    @property
    def directory(self) -> Path:
        return self._workspace.outputs / "checkpoints"

    async def _checkpoints(self) -> Checkpoints:
        if self._kept is None:
            self._kept = await asyncio.to_thread(Checkpoints, self.directory)
        return self._kept

    # -- looking

    def happened(self, what: str, delta: Delta | None = None) -> None:
        """Something may have changed files: look, in the background, unless it is known what they have become."""
        if not KEEPS:
            return
        self._waiting.append((what, delta if len(self._waiting) < MOST_DELTAS else None))
        if self._looks is None or self._looks.done():
            self._looks = asyncio.create_task(self._look_all(), name=f"checkpoint {self._workspace.id}")

    async def settled(self) -> None:
        """Wait until all that happened is kept, within a limit."""
        if self._looks is not None and not self._looks.done():
            await asyncio.wait({self._looks}, timeout=SETTLE_SECONDS)

    async def in_hand(self) -> None:
        """Wait until nothing that happened has to be looked at any more, within a limit: what a command's end told is
        known already, and is written down behind whoever changes something next."""
        seen = self._seen
        for _, delta in (*self._doing, *self._waiting):
            if delta is None or delta.since != seen:
                await self.settled()
                return
            seen = delta.now

    async def _look_all(self) -> None:
        while self._waiting:
            self._doing, self._waiting = self._waiting, []
            try:
                async with self._lock:
                    while self._doing and self._follows(self._doing[0][1]):
                        await self._took(*self._doing[0])
                        self._doing.pop(0)
                    if self._doing:
                        await self._look("; ".join(dict.fromkeys(what for what, _ in self._doing)))
                self._workspace.heard()
            except (PyroError, OSError) as error:
                # The machine is gone or does not answer, or this computer's disk is full: the work goes on without.
                self._seen = None
                log.info("workspace %s: no checkpoint: %s", self._workspace.id, error)
            finally:
                self._doing = []

    def _follows(self, delta: Delta | None) -> bool:
        return delta is not None and delta.since == self._seen

    async def _took(self, what: str, delta: Delta | None) -> None:
        """Keep what the end of a command told."""
        assert delta is not None
        kept, redactor = await self._checkpoints(), self._workspace.redactor
        told = {
            path: now
            for path, now in delta.files.items()
            if redactor.text(path) == path and redactor.text(now.link) == now.link
        }
        said = redactor.text(what)[:WHAT_CHARACTERS]
        marks = await asyncio.to_thread(_keep_told, kept, told, redactor, said)
        self._marks = {path: mark for path, mark in {**self._marks, **marks}.items() if mark}
        self._seen = delta.now

    async def _look(self, what: str) -> Checkpoint | None:
        kept = await self._checkpoints()
        guest, redactor = self._workspace.guest, self._workspace.redactor
        self._seen = None
        changes, whole, look = await marked_changes(guest)
        if not whole or len(changes) > MOST_FILES:
            return None
        found: dict[str, State] = {}
        marks: dict[str, str] = {}
        unread: list[str] = []
        overtaken = False
        for change in changes:
            path, new = change["path"], change["new"]
            if redactor.text(path) != path or (new and new["link"] and redactor.text(new["link"]) != new["link"]):
                continue  # no value of a secret is kept, in a name either
            if new is None:
                found[path] = {"kind": "absent"}
                continue
            marks[path] = new["mark"]
            if new["kind"] == "file":
                known = kept.now.get(path)
                if self._marks.get(path) == new["mark"] and known is not None and known["kind"] == "file":
                    found[path] = {**known, "mode": new["mode"] & 0o7777}
                elif new["size"] > FILE_CAP:
                    found[path] = _unkept(new["mode"], new["size"])
                else:
                    unread.append(path)
            elif new["kind"] == "symlink":
                found[path] = {"kind": "symlink", "link": new["link"]}
            else:
                found[path] = {"kind": new["kind"], "mode": new["mode"] & 0o7777}
        for start in range(0, len(unread), READ_AT_ONCE):
            states = await read_states(guest, unread[start : start + READ_AT_ONCE])
            for path, state in (await asyncio.to_thread(_keep, kept, states, redactor)).items():
                if state["kind"] == "absent":
                    # It went while we looked: the next look says so. It is not to be said of this moment.
                    overtaken = True
                    marks.pop(path, None)
                    if path in kept.now:
                        found[path] = kept.now[path]
                    continue
                found[path] = state
                if state.get("sha256", "") is None:
                    marks.pop(path, None)
        self._marks = marks
        changed: dict[str, State | None] = {
            path: found.get(path) for path in {*kept.now, *found} if kept.now.get(path) != found.get(path)
        }
        made = None
        if changed:
            said = redactor.text(what)[:WHAT_CHARACTERS] + (OVERTAKEN if overtaken else "")
            made = await asyncio.to_thread(kept.add, said, changed)
        self._seen = None if overtaken else look
        return made

    # -- for those who ask

    async def listed(self, limit: int) -> list[models.Checkpoint]:
        """Newest first."""
        await self.settled()
        async with self._lock:
            kept = await self._checkpoints()
        return [_record(one) for one in [kept.first, *kept.list][: -limit - 1 : -1]]

    async def rewind(self, number: int) -> tuple[int, list[str]]:
        """Put the files back to a checkpoint. Gives how many were changed, and the paths that could not be.

        What is there now is kept first, so that this can be taken back as well.

        Raises:
            NotFound: it is not kept, or never was.
        """
        await self.settled()
        async with self._lock:
            await self._look("before the rewind")
            kept = await self._checkpoints()
            target = kept.at(number)
            if target is None:
                known = [one.number for one in (kept.first, *kept.list)]
                raise NotFound(
                    f"There is no checkpoint {number}; checkpoints {known[0]} to {known[-1]} exist.",
                    hint="Call it without a number to list them.",
                    code="unknown_checkpoint",
                )
            changed, left = await self._put_back(kept, target, kept.now)
            await self._look(f"rewind to {number}")
            return changed, left

    async def last(self) -> Checkpoint:
        """The newest one; as it began where there is none."""
        await self.settled()
        async with self._lock:
            kept = await self._checkpoints()
            return kept.list[-1] if kept.list else kept.first

    async def time_of(self, number: int) -> str | None:
        """When a checkpoint was made, as rows have it."""
        async with self._lock:
            kept = await self._checkpoints()
        return next((iso_of(one.at) for one in (kept.first, *kept.list) if one.number == number), None)

    async def bring_back(self, number: int) -> tuple[int, list[str]]:
        """The files of a checkpoint in a machine that is at its baseline. Gives how many, and the paths that are not
        kept. No checkpoint is made of what the machine is before, so that it can be asked for again."""
        async with self._lock:
            kept = await self._checkpoints()
            target = kept.at(number) or {}
            self._marks, self._seen = {}, None
            return await self._put_back(kept, target, {})

    async def _put_back(
        self, kept: Checkpoints, target: dict[str, State], now: dict[str, State]
    ) -> tuple[int, list[str]]:
        """From what the files are to what they were, in one request."""
        paths = [path for path in {*target, *now} if target.get(path) != now.get(path)]
        changes, left = await self._planned(self._workspace.guest, kept, target, now, sorted(paths))
        if changes:
            await carry_out(self._workspace.guest, changes)
        return len(paths) - len(left), left

    async def _planned(
        self, guest: Guest, kept: Checkpoints, target: dict[str, State], now: dict[str, State], paths: list[str]
    ) -> tuple[list[Change], list[str]]:
        below = await read_states(guest, [path for path in paths if path not in target], layer="lower")
        there = await read_states(guest, paths)
        gone: list[Change] = []
        made: list[Change] = []
        left: list[str] = []
        for path in paths:
            wanted, content = await asyncio.to_thread(_wanted, kept, target.get(path), below.get(path))
            present = there[path].kind
            kept_now = now.get(path)
            lost = kept_now is not None and kept_now["kind"] == "file" and kept_now["sha256"] is None
            if wanted is None or present == "other" or lost:
                left.append(path)
            elif wanted.kind == "dir":
                if present in ("file", "symlink"):
                    gone.append(Change("delete", path))
                if present == "dir":
                    if there[path].mode != wanted.mode:
                        made.append(Change("chmod", path, mode=wanted.mode))
                else:
                    made.append(Change("mkdir", path, mode=wanted.mode))
            elif wanted.kind == "absent":
                if present in ("file", "symlink"):
                    gone.append(Change("delete", path))
                elif present == "dir":
                    gone.append(Change("rmdir", path))
            elif wanted.kind == "symlink":
                if present == "file":
                    gone.append(Change("delete", path))
                made.append(Change("symlink", path, link=wanted.link))
            else:
                if present == "symlink":
                    gone.append(Change("delete", path))
                made.append(Change("write", path, mode=wanted.mode, content=content))
        return gone + made, left


def _wanted(kept: Checkpoints, state: State | None, below: FileState | None) -> tuple[FileState | None, bytes | None]:
    """What a path is to be, and its content; None where that is not kept."""
    if state is None:
        assert below is not None
        if below.kind == "other" or (below.kind == "file" and below.content is None):
            return None, None
        return below, below.content
    if state["kind"] == "file":
        content = kept.content(state["sha256"]) if state["sha256"] is not None else None
        return (None if content is None else FileState("file", mode=state["mode"])), content
    if state["kind"] == "symlink":
        return FileState("symlink", link=state["link"]), None
    if state["kind"] == "dir":
        return FileState("dir", mode=state["mode"]), None
    return (FileState("absent"), None) if state["kind"] == "absent" else (None, None)


def _keep(kept: Checkpoints, states: dict[str, FileState], redactor: Redactor) -> dict[str, State]:
    """Keeps the contents, but for those that hold a secret: its value is on this computer's disk in one place only."""
    found: dict[str, State] = {}
    for path, state in states.items():
        known = state.kind == "file" and state.content is not None and not state.changing
        if known and state.content is not None and redactor.data(state.content) == state.content:
            name = kept.keep(state.content)
            found[path] = {"kind": "file", "mode": state.mode, "sha256": name, "size": len(state.content)}
        elif state.kind == "file":
            found[path] = _unkept(state.mode, 0)
        elif state.kind == "symlink":
            found[path] = {"kind": "symlink", "link": state.link}
        else:
            found[path] = {"kind": "absent"} if state.kind == "absent" else {"kind": state.kind, "mode": state.mode}
    return found


def _keep_told(kept: Checkpoints, told: Mapping[str, Became], redactor: Redactor, what: str) -> dict[str, str]:
    """Keeps what a command's end told, as `_look` would have found it; gives the marks, empty where one is no more."""
    marks: dict[str, str] = {}
    changed: dict[str, State | None] = {}
    for path, now in told.items():
        state: State | None = None
        marks[path] = now.mark
        if now.kind == "file":
            state = _keep(kept, {path: FileState("file", now.content, now.mode)}, redactor)[path]
            if state["sha256"] is None:
                marks[path] = ""
        elif now.kind == "symlink":
            state = {"kind": "symlink", "link": now.link}
        elif now.kind == "absent":
            state, marks[path] = {"kind": "absent"}, ""
        else:
            marks[path] = ""
        if kept.now.get(path) != state:
            changed[path] = state
    if changed:
        kept.add(what, changed)
    return marks


def _unkept(mode: int, size: int) -> State:
    return {"kind": "file", "mode": mode & 0o7777, "sha256": None, "size": size}


def _record(one: Checkpoint) -> models.Checkpoint:
    return models.Checkpoint(
        number=one.number,
        at=iso_of(one.at),
        after=one.what,
        files=len(one.changed),
        paths=sorted(one.changed)[:NAMED],
    )
