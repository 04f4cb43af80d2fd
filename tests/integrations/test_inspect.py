"""The sandbox `pyro` does what Inspect asks of sandboxes: Inspect's own conformance suite, and what it leaves out."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

import pytest

pytest.importorskip("inspect_ai", reason="inspect-ai is not installed: make test-integrations")

from inspect_ai.util import (
    OutputLimitExceededError,
    SandboxUnavailableError,
)
from inspect_ai.util._sandbox.limits import override_max_exec_output_size
from inspect_ai.util._sandbox.registry import registry_find_sandboxenv
from inspect_ai.util._sandbox.self_check import *  # noqa: F403

from pyro_mcp.integrations.inspect_ai import PyroSandboxConfig, PyroSandboxEnvironment
from tests.support import Installation

pytestmark = pytest.mark.anyio
USER = "1000:1000"
"""Nobody of /etc/passwd: permissions hold for it, as they do not for root."""


@pytest.fixture(scope="module")
async def of_a_user(place: Installation, anyio_backend: str) -> AsyncIterator[PyroSandboxEnvironment]:
    config = PyroSandboxConfig(user=USER)
    made = await PyroSandboxEnvironment.sample_init("checks", config, {})
    yield made["default"].as_type(PyroSandboxEnvironment)
    await PyroSandboxEnvironment.sample_cleanup("checks", config, made, False)


@pytest.fixture
def sandbox_env(of_a_user: PyroSandboxEnvironment, request: pytest.FixtureRequest) -> PyroSandboxEnvironment:
    """What Inspect's suite calls the sandbox under test."""
    return of_a_user


def test_inspect_finds_the_sandbox_by_its_name() -> None:
    assert registry_find_sandboxenv("pyro") is PyroSandboxEnvironment


async def test_a_file_of_any_bytes_comes_back_as_it_was(sandbox_env: PyroSandboxEnvironment) -> None:
    data = bytes(range(256)) * 5000 + os.urandom(300_001)
    name = "deep/ünï 'quoted' \"name\"\n$(touch x) -rf"
    await sandbox_env.write_file(name, data)
    assert await sandbox_env.read_file(name, text=False) == data
    with pytest.raises(UnicodeDecodeError):
        await sandbox_env.read_file(name)
    await sandbox_env.write_file("crlf", "a\r\nb\n")
    assert await sandbox_env.read_file("crlf") == "a\r\nb\n"


async def test_what_is_no_file_has_the_error_of_its_class(sandbox_env: PyroSandboxEnvironment) -> None:
    await sandbox_env.exec(["sh", "-c", "mkfifo pipe; echo x >plain; ln -s loop loop; mkdir -m 0 shut"])
    for name, kind in (
        ("pipe", OSError),
        ("/dev/zero", OSError),
        ("plain/below", NotADirectoryError),
        ("loop", OSError),
        ("shut/inside", PermissionError),
        ("Permission denied", FileNotFoundError),
        ("x" * 300, OSError),
    ):
        with pytest.raises(kind):
            await sandbox_env.read_file(name)
    for name, kind in (("/etc/new", PermissionError), ("plain/below", OSError), ("/etc/passwd", PermissionError)):
        with pytest.raises(kind):
            await sandbox_env.write_file(name, "no")
    with pytest.raises(OSError):
        await sandbox_env.write_file("/proc/version", b"\xff" * 2_000_000)


async def test_output_without_end_is_cut_and_the_command_ended(sandbox_env: PyroSandboxEnvironment) -> None:
    with override_max_exec_output_size(100_000), pytest.raises(OutputLimitExceededError) as error:
        await sandbox_env.exec(["sh", "-c", "echo first; exec yes endless-output"])
    said = error.value.truncated_output
    assert said is not None
    assert said.startswith("first\n") and 50_000 < len(said) < 10_000_000
    assert "endless" not in (await sandbox_env.exec(["sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '; :"])).stdout


async def test_a_timeout_says_what_had_been_said(sandbox_env: PyroSandboxEnvironment) -> None:
    with pytest.raises(TimeoutError) as error:
        await sandbox_env.exec(["sh", "-c", "echo so far; sleep 600"], timeout=1)
    assert "so far" in error.value.truncated_output  # type: ignore[attr-defined]


async def test_input_that_nobody_reads_blocks_nothing(sandbox_env: PyroSandboxEnvironment) -> None:
    assert (await sandbox_env.exec(["true"], input=b"\xff" * 5_000_000)).success
    assert (await sandbox_env.exec(["head", "-c3"], input="x" * 5_000_000)).stdout == "xxx"


async def test_a_program_that_is_not_there_is_a_result(sandbox_env: PyroSandboxEnvironment) -> None:
    missing = await sandbox_env.exec(["no-such-program"])
    assert (missing.returncode, missing.success) == (127, False)
    assert "no-such-program" in missing.stderr
    assert (await sandbox_env.exec(["ls"], cwd="nowhere")).returncode == 126


async def test_a_cancelled_call_ends_its_command(sandbox_env: PyroSandboxEnvironment) -> None:
    call = asyncio.ensure_future(sandbox_env.exec(["sh", "-c", "echo begun >begun; exec sleep 31415"]))
    while not (await sandbox_env.exec(["test", "-e", "begun"])).success:
        assert not call.done()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    listed = "cat /proc/[0-9]*/cmdline | tr '\\0' ' '; :"
    assert "31415" not in (await sandbox_env.exec(["sh", "-c", listed])).stdout


async def test_a_machine_that_is_gone_is_unavailable(place: Installation, nothing_left: None) -> None:
    made = await PyroSandboxEnvironment.sample_init("gone", None, {})
    environment = made["default"].as_type(PyroSandboxEnvironment)
    connection = await environment.connection()
    assert connection.command == f"pyro sh {environment.machine.workspace}"
    running = asyncio.ensure_future(environment.exec(["sleep", "600"]))
    while not (await environment.exec(["pidof", "sleep"])).success:
        pass
    await PyroSandboxEnvironment.cli_cleanup(environment.machine.workspace)
    with pytest.raises(SandboxUnavailableError):
        await running
    with pytest.raises(SandboxUnavailableError):
        await environment.exec(["true"])
    with pytest.raises(SandboxUnavailableError):
        await environment.read_file("x")
    with pytest.raises(SandboxUnavailableError):
        await environment.write_file("x", "y")
    await PyroSandboxEnvironment.sample_cleanup("gone", None, made, True)


async def test_input_that_a_stopped_machine_did_not_get_is_no_success(place: Installation, nothing_left: None) -> None:
    made = await PyroSandboxEnvironment.sample_init("stopped", None, {})
    environment = made["default"].as_type(PyroSandboxEnvironment)
    line = ["sh", "-c", "head -c1000 >/dev/null; touch /begun; sleep 600; cat >/got"]
    running = asyncio.ensure_future(environment.exec(line, input=b"\xff" * 20_000_000))
    while not (await environment.exec(["test", "-e", "/begun"])).success:
        assert not running.done()
    await environment.machine.pyro.stop_workspace(environment.machine.workspace)
    with pytest.raises(SandboxUnavailableError):
        await running
    await PyroSandboxEnvironment.sample_cleanup("stopped", None, made, False)


@pytest.mark.parametrize("config", ["compose.yaml", "no-such:image:at-all"])
async def test_a_configuration_that_cannot_be_is_refused(place: Installation, config: str, nothing_left: None) -> None:
    with pytest.raises(Exception, match=r"compose.yaml|no-such"):
        await PyroSandboxEnvironment.sample_init("refused", config, {})
