"""Harbor: `-e pyro_mcp.integrations.harbor:PyroEnvironment` runs trials in workspaces (`pip install pyro-mcp harbor`).

A task's Dockerfile is built once, by pyro's own builder, into an environment that is named after its contents; a
task with a `docker_image` uses that image. No Docker daemon takes part.
"""

from __future__ import annotations

import asyncio
import codecs
import hashlib
import io
import math
import os
import re
import tarfile
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from harbor.environments.base import BaseEnvironment, ExecResult, OutputCallback, transfer_tar_filter
from harbor.environments.capabilities import EnvironmentCapabilities, EnvironmentResourceCapabilities
from harbor.environments.definition import (
    DOCKERFILE_NAME,
    require_agent_environment_definition,
    should_use_prebuilt_docker_image,
)
from harbor.environments.options import EnvironmentOptions
from harbor.environments.tar_transfer import pack_dir_to_bytes, tar_pack_succeeded
from harbor.models.task.config import NetworkMode, NetworkPolicy
from harbor.models.trial.config import ResourceMode
from pydantic import Field

from pyro_mcp.aio import AsyncPyro
from pyro_mcp.handles import AsyncWorkspace
from pyro_mcp.integrations import machine as machines
from pyro_mcp.integrations.machine import Machine, Ran, opened

LABELS = {"integration": "harbor"}
OUTPUT_BYTES = 64 * 1024 * 1024
TRANSFER_BYTES = 1024 * 1024 * 1024
"""Of a file or directory that is taken out; the machine could make it endless."""
SETUP_SECONDS = 600

_built: dict[str, asyncio.Task[None]] = {}
"""Environments that are made in this process, by name: trials of a task wait for one build."""


class PyroOptions(EnvironmentOptions):
    """What `--environment-kwarg` (`--ek`) sets."""

    environment: str | None = Field(default=None, description="An environment or image instead of the task's own.")
    ttl_seconds: int = Field(
        default=machines.TTL_SECONDS, ge=10, description="Delete a machine after so long without use."
    )
    build_network: bool = Field(default=True, description="Whether a Dockerfile's RUN reaches public hosts.")


class PyroEnvironment(BaseEnvironment):
    """A workspace of pyro as the environment of a trial; the network is what the task says, held by pyro's proxy."""

    options_model = PyroOptions
    options: PyroOptions

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._machine: Machine | None = None
        super().__init__(*args, **kwargs)

    @staticmethod
    def type() -> str:
        return "pyro"

    @property
    def capabilities(self) -> EnvironmentCapabilities:
        return EnvironmentCapabilities(
            disable_internet=True,
            network_allowlist=True,
            network_allowlist_hostnames=True,
            network_allowlist_wildcard_hostnames=True,
        )

    @classmethod
    def resource_capabilities(cls) -> EnvironmentResourceCapabilities:
        return EnvironmentResourceCapabilities(cpu_limit=True, memory_limit=True)

    def _validate_definition(self) -> None:
        if self._host_mounts:
            raise ValueError("pyro mounts nothing of this computer in a machine: take out `mounts`.")
        if self.options.environment is not None:
            return
        image = self.task_env_config.docker_image
        require_agent_environment_definition(self.environment_dir, docker_image=image)
        if image is None and not (self.environment_dir / DOCKERFILE_NAME).exists():
            raise ValueError(
                f"{self.environment_dir} has a compose file and no Dockerfile, and a workspace is one machine: "
                "run this task with Docker."
            )

    async def start(self, force_build: bool) -> None:
        """Create the machine; at first, build its environment. What fails or is cancelled leaves none behind."""
        environment = await self._environment(force_build)
        pyro, workspace = await opened("harbor", lambda pyro: self._create(pyro, environment))
        try:
            workdir = self.task_env_config.workdir or (await pyro.inspect_environment(environment)).workdir or "/"
        except BaseException:
            await machines.delete(pyro, workspace.id)
            await pyro.close()
            raise
        self._machine = Machine(pyro, workspace.id, workdir)
        try:
            await self._checked(["mkdir", "-p", "--", workdir], cwd="/")
            await self.ensure_dirs(self._mount_targets(writable_only=True))
            await self._upload_environment_dir_after_start()
        except BaseException:
            await self.stop(delete=True)
            raise

    async def stop(self, delete: bool) -> None:
        machine, self._machine = self._machine, None
        if machine is None:
            return
        try:
            if delete:
                await machines.delete(machine.pyro, machine.workspace)
            else:
                self.logger.info(f"The machine stays: pyro sh {machine.workspace}")
        finally:
            await machine.pyro.close()

    async def exec(
        self,
        command: str,
        cwd: str | None = None,
        env: dict[str, str] | None = None,
        timeout_sec: int | None = None,
        user: str | int | None = None,
    ) -> ExecResult:
        """A line for bash.

        Raises:
            RuntimeError: it was ended by the timeout.
            Gone: the machine was lost.
        """
        resolved = self._resolve_user(user)
        callback = self._output_callback()
        ran = await self._here().run(
            command,
            cwd=cwd,
            env=self._merge_env(env),
            timeout_seconds=timeout_sec,
            user=None if resolved is None else str(resolved),
            limit_bytes=OUTPUT_BYTES,
            end_at_limit=False,
            on_output=None if callback is None else _told(callback),
        )
        if ran.timed_out:
            raise RuntimeError(f"Command timed out after {timeout_sec} seconds")  # Harbor's words
        if ran.truncated:
            self.logger.warning(f"Of the output of {command[:100]!r} the first {OUTPUT_BYTES} bytes were kept.")
        return ExecResult(
            stdout=ran.stdout.decode("utf-8", "replace"),
            stderr=ran.stderr.decode("utf-8", "replace"),
            return_code=ran.exit_code,
        )

    async def upload_file(self, source_path: Path | str, target_path: str) -> None:
        source = Path(source_path)
        data = await asyncio.to_thread(source.read_bytes)
        await self._here().write(target_path, data, user="root")
        if source.stat().st_mode & 0o111:
            await self._checked(["chmod", "a+x", "--", self._here().path(target_path)])

    async def upload_dir(self, source_dir: Path | str, target_dir: str) -> None:
        packed = await asyncio.to_thread(pack_dir_to_bytes, source_dir, include_root=False)
        script = 'mkdir -p -- "$1" && exec tar -xf - --no-same-owner -C "$1"'
        await self._checked(["sh", "-c", script, "sh", self._here().path(target_dir)], stdin=packed.getvalue())

    async def download_file(self, source_path: str, target_path: Path | str) -> None:
        data = await self._here().read(source_path, limit_bytes=TRANSFER_BYTES, user="root")
        await asyncio.to_thread(_written, Path(target_path), data)

    async def download_dir(self, source_dir: str, target_dir: Path | str) -> None:
        """A directory's contents; links that lead out of it, and what is no file, are left out."""
        ran = await self._here().run(
            ["tar", "-cf", "-", "-C", self._here().path(source_dir), "."], user="root", limit_bytes=TRANSFER_BYTES
        )
        said = ran.stderr.decode("utf-8", "replace")
        if ran.truncated:
            raise RuntimeError(f"{source_dir} has more than {TRANSFER_BYTES} bytes.")
        if not tar_pack_succeeded(ran.exit_code, stderr=said, logger=self.logger):
            raise RuntimeError(f"{source_dir} could not be packed (status {ran.exit_code}): {said[-2000:]}")
        await asyncio.to_thread(_unpacked, ran.stdout, Path(target_dir))

    async def attach(self) -> NoReturn:
        """A terminal in the machine."""
        os.execvp("pyro", ["pyro", "sh", self._here().workspace])

    def _here(self) -> Machine:
        if self._machine is None:
            raise RuntimeError("This environment is not running: call start() first.")
        return self._machine

    async def _checked(self, command: list[str], *, stdin: bytes | None = None, cwd: str | None = None) -> Ran:
        ran = await self._here().run(command, stdin=stdin, user="root", cwd=cwd, timeout_seconds=SETUP_SECONDS)
        if ran.exit_code:
            raise RuntimeError(f"{command[0]} failed in the machine (status {ran.exit_code}): {ran.text[-2000:]}")
        return ran

    async def _environment(self, force_build: bool) -> str:
        """The name of the environment that the task asks for, once it is there."""
        image = self.task_env_config.docker_image
        if self.options.environment is not None:
            return self.options.environment
        if image is not None and should_use_prebuilt_docker_image(
            self.environment_dir, docker_image=image, force_build=force_build
        ):
            return str(image)
        name = _name(self.environment_dir)
        building = _built.get(name)
        if building is None or (building.done() and (force_build or building.cancelled() or building.exception())):
            building = _built[name] = asyncio.ensure_future(self._build(name, force_build))
        await asyncio.shield(building)
        return name

    async def _build(self, name: str, again: bool) -> None:
        async with AsyncPyro(client="harbor") as pyro:
            await pyro.build_environment(
                name,
                context=str(self.environment_dir.resolve()),
                network_policy="egress" if self.options.build_network else "off",
                again=again,
            )

    async def _create(self, pyro: AsyncPyro, environment: str) -> AsyncWorkspace:
        return await pyro.create_workspace(
            environment,
            labels={**LABELS, "session": re.sub(r"[^A-Za-z0-9._-]", "-", self.session_id)[:60]},
            ttl_seconds=self.options.ttl_seconds,
            **self._size(),
            **_network(self._network_policy),
        )

    def _size(self) -> dict[str, Any]:
        wanted: dict[str, Any] = {}
        cpus = self._resource_limit_value("cpu", auto_mode=ResourceMode.LIMIT)
        memory = self._resource_limit_value("memory", auto_mode=ResourceMode.LIMIT)
        if cpus is not None:
            wanted["vcpu_count"] = int(cpus)
        if memory is not None:
            wanted["mem_mib"] = memory
        if self._effective_storage_mb is not None:
            wanted["disk_gib"] = max(1, math.ceil(self._effective_storage_mb / 1024))
        return wanted


def _network(policy: NetworkPolicy) -> dict[str, Any]:
    if policy.network_mode == NetworkMode.NO_NETWORK:
        return {"network_policy": "off"}
    if policy.network_mode == NetworkMode.ALLOWLIST:
        return {"network_policy": "egress", "allow_domains": list(policy.allowed_hosts)}
    return {"network_policy": "egress"}


def _name(context: Path) -> str:
    """The name of a Dockerfile's environment: the same for the same context, so that it is built once."""
    digest = hashlib.sha256()
    for path in sorted(context.rglob("*")):
        kind = b"l" if path.is_symlink() else b"d" if path.is_dir() else b"f"
        contents = os.fsencode(os.readlink(path)) if kind == b"l" else path.read_bytes() if kind == b"f" else b""
        mode = b"" if kind == b"l" else b"%o" % (path.stat().st_mode & 0o777)
        for part in (kind, mode, os.fsencode(path.relative_to(context)), contents):
            digest.update(b"%d:" % len(part) + part)
    return f"harbor-{digest.hexdigest()[:20]}"


def _told(callback: OutputCallback) -> Callable[[str, bytes], Awaitable[None]]:
    """Bytes as they come, as text: a character that is split between two pieces is told with the second."""
    decoders = {name: codecs.getincrementaldecoder("utf-8")("replace") for name in ("stdout", "stderr")}

    async def tell(stream: str, data: bytes) -> None:
        if text := decoders[stream].decode(data):
            await callback(text, stream)

    return tell


def _written(target: Path, data: bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)


def _unpacked(packed: bytes, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r:") as archive:
        for member in archive:
            with suppress(tarfile.FilterError):
                archive.extract(member, target, filter=transfer_tar_filter)
