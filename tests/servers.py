"""Servers of a test's own on this computer's loopback, beside the web servers of `tests.tls`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import subprocess
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path


@contextlib.contextmanager
def answering(
    answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    context: ssl.SSLContext | None = None,
) -> Iterator[int]:
    """A server on this computer's loopback; its port."""
    loop, ready, ports = asyncio.new_event_loop(), threading.Event(), list[int]()

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await answer(reader, writer)
        writer.close()

    async def begin() -> None:
        server = await asyncio.start_server(one, "127.0.0.1", 0, ssl=context)
        ports.append(server.sockets[0].getsockname()[1])
        ready.set()

    def run() -> None:
        loop.create_task(begin())
        loop.run_forever()

    thread = threading.Thread(target=run)
    thread.start()
    assert ready.wait(20)
    try:
        yield ports[0]
    finally:
        asyncio.run_coroutine_threadsafe(_ended(), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _ended() -> None:
    """Whoever is still served is let go."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


@contextlib.contextmanager
def sshd(root: Path, *options: str) -> Iterator[int]:
    """sshd(8) with the host key `root/host_key`; its port. `options` are of sshd_config(5), as NAME=VALUE."""
    key = root / "host_key"
    if not key.exists():
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # as which an sshd of root separates its privileges
    words = ["/usr/sbin/sshd", "-i", "-f", "none", "-h", str(key)]
    for option in ("StrictModes=no", "UsePAM=no", "PasswordAuthentication=no", *options):
        words += ["-o", option]

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *words, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.DEVNULL
        )
        assert process.stdin is not None and process.stdout is not None
        stdin, stdout = process.stdin, process.stdout

        async def up() -> None:
            while data := await reader.read(9999):
                stdin.write(data)
            stdin.close()

        forward = asyncio.ensure_future(up())
        try:
            while data := await stdout.read(9999):
                writer.write(data)
        finally:
            forward.cancel()
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()

    with answering(one) as port:
        yield port
