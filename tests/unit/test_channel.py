"""The way to a gVisor machine's agent: whoever waits gets a connection, whatever comes, goes or gives up meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyro_mcp.errors import GuestUnreachable
from pyro_mcp.guest.duplex import Streams
from pyro_mcp.machines.gvisor import channel as channels
from pyro_mcp.machines.gvisor.channel import SOCKET, Channel

STEPS = st.lists(st.sampled_from(["dial", "take", "quiet", "give up", "drop", "turn"]), max_size=40)


@given(steps=STEPS)
@settings(max_examples=150, deadline=None)
def test_each_who_waits_gets_a_connection_of_its_own_in_any_order_of_things(steps: list[str]) -> None:
    async def play() -> None:
        with tempfile.TemporaryDirectory() as place:
            channel = Channel(Path(place))
            channel.listen()
            dialled: list[Streams] = []
            takers: list[asyncio.Task[Streams]] = []

            async def dial() -> None:
                dialled.append(await asyncio.open_unix_connection(f"{place}/{SOCKET}"))

            for step in steps:
                if step == "dial" and len(dialled) < channels.WAITING:
                    await dial()
                elif step in ("take", "quiet"):
                    takers.append(asyncio.create_task(channel.take(30, quietly=step == "quiet")))
                elif step == "give up" and takers:
                    takers[-1].cancel()
                elif step == "drop" and dialled:
                    dialled[-1][1].transport.abort()
                else:
                    await asyncio.sleep(0)
            # One that gave up, or whose other end was dropped a moment before, takes a connection with it.
            for _ in takers:
                await dial()
            async with asyncio.timeout(channels.LOOK_SECONDS * 3):
                found = await asyncio.gather(*takers, return_exceptions=True)
            assert all(
                not isinstance(each, BaseException) or isinstance(each, asyncio.CancelledError) for each in found
            )
            assert channel.awaited == 0
            for each in found:
                if not isinstance(each, BaseException):
                    each[1].transport.abort()
            channel.close()
            for _, writer in dialled:
                writer.transport.abort()

    asyncio.run(play())


def test_who_waits_for_the_agent_to_dial_is_counted_so_that_its_machine_is_not_stopped(tmp_path: Path) -> None:
    async def play() -> None:
        channel = Channel(tmp_path)
        channel.listen()
        loud = asyncio.create_task(channel.take(30))
        quiet = asyncio.create_task(channel.take(30, quietly=True))
        await asyncio.sleep(0)
        assert channel.awaited == 1
        loud.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await loud
        assert channel.awaited == 0
        channel.close()
        with pytest.raises(GuestUnreachable):
            await quiet

    asyncio.run(play())
