"""Streams in frames: each direction's end by itself, breaks that are no ends, TLS on top, the pace of the reader."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from pyro_mcp.guest import frames
from pyro_mcp.guest.duplex import Streams, duplex
from pyro_mcp.network.authority import Authority
from pyro_mcp.network.guest_tls import accept_tls


@asynccontextmanager
async def connection() -> AsyncIterator[tuple[Streams, Streams]]:
    """A stream as the daemon has it, and the bare other end, as the agent has it."""
    ours, theirs = socket.socketpair()
    near, far = await asyncio.open_connection(sock=ours), await asyncio.open_connection(sock=theirs)
    try:
        yield near, far
    finally:
        for _, writer in (near, far):
            writer.close()


async def said(reader: asyncio.StreamReader) -> list[tuple[int, bytes]]:
    """All frames until the connection ends."""
    decoder = frames.Decoder()
    return [(frame.type, frame.payload) for frame in decoder.feed(await reader.read(-1))]


def data(content: bytes) -> bytes:
    return frames.encode(frames.DATA, content)


def test_each_direction_ends_by_itself() -> None:
    async def main() -> None:
        async with connection() as (near, far):
            reader, writer = await duplex(near)
            far[1].write(data(b"an answer") + frames.encode(frames.END))
            assert await reader.read(-1) == b"an answer"
            writer.write(b"still ")
            writer.write(b"x" * (frames.MAX_PAYLOAD + 1))
            await writer.drain()
            writer.write_eof()
            writer.close()
            await writer.wait_closed()
            found = await said(far[0])
            assert [kind for kind, _ in found] == [frames.DATA] * 3 + [frames.END]
            assert b"".join(payload for _, payload in found) == b"still " + b"x" * (frames.MAX_PAYLOAD + 1)

    asyncio.run(main())


def test_what_came_together_with_the_head_is_not_lost() -> None:
    async def main() -> None:
        async with connection() as (near, far):
            far[1].write(b"head\r\n\r\n" + data(b"early") + data(b" and")[:5])
            assert await near[0].readuntil(b"\r\n\r\n") == b"head\r\n\r\n"
            reader, writer = await duplex(near)
            far[1].write(data(b" and")[5:] + data(b" late") + frames.encode(frames.END))
            assert await reader.read(-1) == b"early and late"
            writer.close()

    asyncio.run(main())


def test_a_close_says_the_end_and_an_abort_does_not() -> None:
    async def main() -> None:
        for ending, expected in (("close", [(frames.END, b"")]), ("abort", [])):
            async with connection() as (near, far):
                _, writer = await duplex(near)
                getattr(writer.transport, ending)()
                assert await said(far[0]) == expected

    asyncio.run(main())


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        data(b"half")[:-2],
        data(b"half"),
        frames.encode(frames.STDOUT, b"of a process"),
        frames.encode(frames.END) + data(b"after the end"),
        b"\xff" * 64,
    ],
)
def test_a_connection_that_breaks_is_not_taken_for_an_end(sent: bytes) -> None:
    async def main() -> None:
        async with connection() as (near, far):
            reader, writer = await duplex(near)
            far[1].write(sent)
            far[1].close()
            with pytest.raises(ConnectionResetError):
                for _ in range(3):
                    await reader.read(100)
                    await asyncio.sleep(0)
                await writer.drain()
                raise AssertionError("it looked like an end")

    asyncio.run(asyncio.wait_for(main(), 10))


def test_a_connection_that_is_gone_already_is_an_error() -> None:
    async def main() -> None:
        async with connection() as (near, far):
            far[1].close()
            assert await near[0].read(1) == b""
            with pytest.raises(OSError, match="gone"):
                await duplex(near)

    asyncio.run(main())


def test_whoever_ends_the_connection_below_ends_the_stream() -> None:
    async def main() -> None:
        async with connection() as (near, _):
            reader, _writer = await duplex(near)
            reading = asyncio.ensure_future(reader.read(1))
            await asyncio.sleep(0)
            near[1].transport.abort()
            with pytest.raises(ConnectionResetError):
                await reading

    asyncio.run(main())


def test_a_slow_reader_slows_the_sender() -> None:
    async def main() -> None:
        async with connection() as (near, far):
            reader, writer = await duplex(near)
            total = 8 * 1024 * 1024

            async def send() -> None:
                for _ in range(total // 65536):
                    far[1].write(data(bytes(65536)))
                    await far[1].drain()
                far[1].write(frames.encode(frames.END))

            sending = asyncio.create_task(send())
            done, _ = await asyncio.wait({sending}, timeout=0.2)
            assert not done, "nothing held the sender back"
            assert len(await reader.read(-1)) == total
            await sending
            writer.close()

    asyncio.run(main())


def test_tls_runs_on_top() -> None:
    async def main() -> None:
        authority = Authority.create("test")
        async with connection() as (near, far):
            stream = await duplex(near)
            accepting = asyncio.create_task(accept_tls(stream, authority.server_context("host.example")))
            client = ssl.create_default_context(cadata=authority.certificate_pem)
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = client.wrap_bio(incoming, outgoing, server_hostname="host.example")
            decoder = frames.Decoder()

            async def until(step: object) -> bytes:
                while True:
                    try:
                        found = step()  # type: ignore[operator]
                        far[1].write(data(held) if (held := outgoing.read()) else b"")
                        return found if isinstance(found, bytes) else b""
                    except ssl.SSLWantReadError:
                        far[1].write(data(held) if (held := outgoing.read()) else b"")
                        for frame in decoder.feed(await far[0].read(65536)):
                            incoming.write(frame.payload)

            await until(tls.do_handshake)
            reader, writer = await accepting
            await until(lambda: tls.write(b"ask"))
            assert await reader.readexactly(3) == b"ask"
            writer.write(b"answer")
            assert await until(lambda: tls.read(100)) == b"answer"
            writer.close()

    asyncio.run(asyncio.wait_for(main(), 20))
