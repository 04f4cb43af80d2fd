"""What a set-up made, as it is read out of the machine and left out of an export."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pyro_mcp.daemon import preparing
from pyro_mcp.environments.cache import EnvironmentCache
from pyro_mcp.errors import EngineError
from pyro_mcp.files.made import Made, paths_of
from pyro_mcp.workspaces.locks import SharedLock


def test_a_machine_that_does_not_come_to_an_end_gives_the_workspace_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def drops() -> AsyncIterator[bytes]:
        while True:
            await asyncio.sleep(0.01)
            yield b"x"

    @contextlib.asynccontextmanager
    async def download(path: str, query: Any) -> AsyncIterator[AsyncIterator[bytes]]:
        yield drops()

    async def run() -> None:
        cache = EnvironmentCache(tmp_path / "environments")
        service = preparing.Preparing(
            cast(Any, SimpleNamespace(cache=cache)), cast(Any, None), cast(Any, SimpleNamespace(fleet=None))
        )
        workspace = cast(Any, SimpleNamespace(lock=SharedLock(), guest=SimpleNamespace(download=download)))
        async with asyncio.timeout(20):
            with pytest.raises(EngineError, match="came to a halt"):
                await service.spool(workspace, lambda: "")
            async with workspace.lock.shared():
                assert list((cache.root / "staging").iterdir()) == []

    monkeypatch.setattr(preparing, "STALL_SECONDS", 0.3)
    asyncio.run(run())


def test_no_link_in_what_was_made_has_this_computers_directories_read(tmp_path: Path) -> None:
    tree, seed, other = tmp_path / "tree", tmp_path / "seed", tmp_path / "other"
    for place in (tree / "made" / "in", seed, other / "in"):
        place.mkdir(parents=True)
        (place / "file").touch()
    (tree / "link").symlink_to(other)
    made = Made([("link", 1), ("file", 1)], tree, seed)
    assert paths_of(made, "made") == {"made/in", "made/in/file"}
    assert paths_of(made, "link") == paths_of(made, "link/in") == frozenset()
