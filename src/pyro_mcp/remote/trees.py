"""Trees of this computer over there, and what an export makes there over here. Blocks, but for `Rooms`."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

from pyro_mcp import wholeness
from pyro_mcp.errors import DaemonUnavailable, EngineError
from pyro_mcp.remote.link import answered, checked
from pyro_mcp.remote.sent import Sent
from pyro_mcp.remote.ssh import Ssh
from pyro_mcp.seeds import archives, arrivals
from pyro_mcp.seeds.sources import Source
from pyro_mcp.seeds.store import SeedStore

MACHINE_ID = Path("/etc/machine-id")
ATTEMPTS = 3
"""To bring a tree there: what came before a connection broke is there already."""
Tell = Callable[[int, int], None]
Result = TypeVar("Result")


@dataclass(frozen=True)
class Tree:
    """What is to be there: a directory of this computer that nobody changes, and what it is known by."""

    name: str
    """What its mirror is named after: a place of this computer."""
    digest: str
    top: Path
    origin: dict[str, Any]


def here() -> str:
    """This computer, as others are told apart from it."""
    try:
        return MACHINE_ID.read_text().strip() or platform.node()
    except OSError:
        return platform.node()


class Turn:
    """Held while something reads a mirror: by one at a time, or by several that want the very same in it."""

    def __init__(self) -> None:
        self._what = ""
        self._holders = 0
        self._free = asyncio.Event()

    def must_wait(self, what: str) -> bool:
        return self._holders > 0 and self._what != what

    @contextlib.asynccontextmanager
    async def held(self, what: str) -> AsyncIterator[None]:
        while self.must_wait(what):
            await self._free.wait()
        self._free.clear()
        self._what = what
        self._holders += 1
        try:
            yield
        finally:
            self._holders -= 1
            if not self._holders:
                self._free.set()


class Transfer:
    """A process that moves bytes, driven by a thread. `cancel` may come from another one."""

    def __init__(self) -> None:
        self.cancelled = False
        self._process: subprocess.Popen[bytes] | None = None

    def by(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        if self.cancelled:
            process.kill()

    def cancel(self) -> None:
        self.cancelled = True
        if self._process is not None:
            self._process.kill()


async def moved(work: Callable[[Transfer], Result]) -> Result:
    """What `work` gives, which blocks. A call that is cancelled ends when nothing is moved any more."""
    transfer = Transfer()
    moving = asyncio.ensure_future(asyncio.to_thread(work, transfer))
    try:
        return await asyncio.shield(moving)
    except asyncio.CancelledError:
        transfer.cancel()
        await asyncio.wait({moving})
        moving.cancelled() or moving.exception()  # nobody asks for it any more
        raise


class Sender:
    """Sends trees, each to its mirror."""

    def __init__(self, ssh: Ssh, seeds: SeedStore, lists: Path, sent: Sent) -> None:
        self._ssh, self._seeds, self._lists = ssh, seeds, lists
        self.sent = sent
        self._computer = here()
        self._turns: dict[str, Turn] = {}

    def turn(self, name: str) -> Turn:
        """Held while something reads the mirror of that name."""
        return self._turns.setdefault(name, Turn())

    @contextlib.asynccontextmanager
    async def copied(self, source: Source, origin: dict[str, Any]) -> AsyncIterator[Tree]:
        """A private copy of what is to be sent, so that it stands still. `origin` is for its receiver."""
        plan = source.plan
        assert plan is not None
        try:
            with self._seeds.used():
                seed = await asyncio.to_thread(self._seeds.materialise, plan)
                self.sent.note(str(source.path), seed.digest, plan.prefix)
                yield Tree(str(source.path), seed.digest, seed.tree, origin)
        finally:
            await asyncio.to_thread(self._seeds.tidy, self.sent.copies)

    async def bring(self, tree: Tree, tell: Tell) -> str:
        """The path of the tree over there; see `send`."""
        return await moved(lambda transfer: self.send(tree, tell, transfer))

    def send(self, tree: Tree, tell: Tell, transfer: Transfer) -> str:
        """The path of the tree over there. Blocks.

        Raises:
            DaemonUnavailable: the connection broke again and again, or it was cancelled.
            PyroError: it could not be taken.
        """
        key = hashlib.sha256(f"{self._computer}\0{os.getuid()}\0{tree.name}".encode("utf-8", "surrogateescape"))
        for _ in range(ATTEMPTS):
            if transfer.cancelled:
                break
            process = self._ssh.start("take")
            transfer.by(process)
            assert process.stdin is not None and process.stdout is not None
            try:
                return arrivals.send(
                    cast(BinaryIO, process.stdout),
                    cast(BinaryIO, process.stdin),
                    key.hexdigest()[:32],
                    tree.digest,
                    tree.origin,
                    tree.top,
                    lambda: self._items(tree),
                    tell,
                )
            except (EOFError, BrokenPipeError):
                continue  # what came is kept there
            except ValueError as error:
                raise EngineError(f"{self._ssh.address} answers what was not asked: {error}.", code="remote") from None
            finally:
                _end(process)
        raise DaemonUnavailable(
            f"The connection to {self._ssh.address} broke {ATTEMPTS} times while files were sent.",
            hint="Try again: what was sent is kept there.",
            code="remote_unreachable",
        )

    def _items(self, tree: Tree) -> list[arrivals.Item]:
        """The list of a tree with its hashes, which is kept: nobody changes the tree."""
        kept = self._lists / f"{tree.digest}.json"
        with contextlib.suppress(OSError, ValueError, TypeError):
            return [arrivals.Item.of(line) for line in json.loads(wholeness.read_text(kept))]
        items = arrivals.items_of(tree.top)
        with contextlib.suppress(OSError):
            self._lists.mkdir(mode=0o700, exist_ok=True)
            for old in self._lists.iterdir():
                if not (self._seeds.root / old.stem).exists():
                    old.unlink()
            wholeness.write_new(kept, json.dumps([item.line() for item in items]).encode())
        return items


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()
    process.wait()


class Rooms:
    """Directories over there that an export writes into, and what they hold brought here."""

    def __init__(self, ssh: Ssh, staging: Path) -> None:
        self._ssh, self._staging = ssh, staging

    @contextlib.asynccontextmanager
    async def room(self) -> AsyncIterator[str]:
        """An empty directory over there; it goes."""
        path = str(checked(self._ssh, answered(await self._ssh.run("room"))).get("path", ""))
        if not os.path.basename(path).startswith(arrivals.ROOM):
            raise EngineError(f"{self._ssh.address} made no directory to export into.", code="remote")
        try:
            yield path
        finally:
            with contextlib.suppress(DaemonUnavailable):
                await asyncio.shield(self._ssh.run("drop", os.path.basename(path)))

    @contextlib.asynccontextmanager
    async def brought(self, room: str) -> AsyncIterator[Path]:
        """What stands in a room, unpacked in a private directory here, by the rules for what a workspace sends."""
        self._staging.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(prefix="brought-", dir=self._staging) as place:
            tree = Path(place, "tree")
            tree.mkdir()
            archive = Path(place, "stream.tar")
            await moved(lambda transfer: self._bring(room, archive, transfer))
            await asyncio.to_thread(archives.extract, archive, tree, of_workspace=True)
            yield tree

    def _bring(self, room: str, archive: Path, transfer: Transfer) -> None:
        process = self._ssh.start("give", os.path.basename(room))
        transfer.by(process)
        assert process.stdout is not None
        try:
            with archive.open("wb") as file:
                shutil.copyfileobj(process.stdout, file, 1 << 20)
            if process.wait(timeout=10) != 0:
                raise DaemonUnavailable(
                    f"The connection to {self._ssh.address} broke while the export was fetched; nothing was written.",
                    hint="Export again.",
                    code="remote_unreachable",
                )
        finally:
            _end(process)
