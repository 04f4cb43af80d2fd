"""The OpenAI Agents SDK with pyro's sandbox client: a run with a scripted model, and what its interface promises."""

from __future__ import annotations

import io
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("agents", reason="openai-agents is not installed: make test-integrations")

from agents import ModelResponse, RunConfig, Runner, Usage
from agents.models.interface import Model
from agents.sandbox import Manifest, SandboxAgent, SandboxRunConfig
from agents.sandbox.entries import File
from agents.sandbox.errors import (
    ExecTimeoutError,
    ExecTransportError,
    InvalidManifestPathError,
    WorkspaceArchiveReadError,
    WorkspaceArchiveWriteError,
    WorkspaceReadNotFoundError,
)
from agents.sandbox.snapshot import LocalSnapshotSpec
from openai.types.responses import (
    ResponseCustomToolCall,
    ResponseFunctionToolCall,
    ResponseOutputMessage,
    ResponseOutputText,
)

from pyro_mcp.integrations.openai_agents import LABELS, PyroSandboxClient, PyroSandboxClientOptions
from pyro_mcp.sdk import Pyro

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("nothing_left")]
BROKEN = "def add(a, b):\n    return a - b\n"
PATCH = "*** Begin Patch\n*** Update File: calc.py\n@@\n-    return a - b\n+    return a + b\n*** End Patch\n"


def shell(line: str) -> Any:
    arguments = json.dumps({"cmd": line, "yield_time_ms": 30_000})
    return ResponseFunctionToolCall(arguments=arguments, call_id=f"c{os.urandom(4).hex()}", name="exec_command",
                                    type="function_call")  # fmt: skip


def patch(text: str) -> Any:
    return ResponseCustomToolCall(call_id=f"c{os.urandom(4).hex()}", input=text, name="apply_patch",
                                  type="custom_tool_call")  # fmt: skip


def done(text: str) -> Any:
    said = ResponseOutputText(annotations=[], text=text, type="output_text")
    return ResponseOutputMessage(id="m", content=[said], role="assistant", status="completed", type="message")


class Scripted(Model):
    """A model that does these things in turn."""

    def __init__(self, *steps: Any) -> None:
        self._steps = iter(steps)

    async def get_response(self, *_: Any, **__: Any) -> ModelResponse:
        return ModelResponse(output=[next(self._steps)], usage=Usage(), response_id=None)

    def stream_response(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError


@asynccontextmanager
async def session(manifest: Manifest | None = None, **options: Any) -> AsyncIterator[Any]:
    client = PyroSandboxClient()
    made = await client.create(manifest=manifest, options=PyroSandboxClientOptions(**options))
    try:
        await made.start()
        yield made
    finally:
        await client.delete(made)


async def test_an_agent_mends_a_file_and_its_machine_is_deleted() -> None:
    use = "python3 -B -c 'import calc; print(calc.add(2, 3), \"$MODE\")'"
    model = Scripted(shell(use), patch(PATCH), shell(f"{use}; exit 3"), done("Mended."))
    manifest = Manifest(entries={"calc.py": File(content=BROKEN.encode())}, environment={"value": {"MODE": "test"}})
    agent = SandboxAgent(name="Coder", instructions="Mend calc.py.", model=model, default_manifest=manifest)
    config = RunConfig(sandbox=SandboxRunConfig(client=PyroSandboxClient()), tracing_disabled=True)
    result = await Runner.run(agent, "Mend it.", run_config=config)
    assert result.final_output == "Mended."
    first, _, last = (item.output for item in result.new_items if item.type == "tool_call_output_item")
    assert "-1" in first and "5" in last and "code 3" in last


async def test_files_of_any_bytes_and_their_errors() -> None:
    data = os.urandom(2_000_000)
    async with session() as made:
        await made.write(Path("de ep/ünï '$(id)'"), io.BytesIO(data))
        assert (await made.read(Path("de ep/ünï '$(id)'"))).read() == data
        assert await made.read_bounded(Path("de ep/ünï '$(id)'"), max_bytes=1000) == data[:1000]
        assert [Path(entry.path).name for entry in await made.ls("de ep")] == ["ünï '$(id)'"]
        await made.exec("mkfifo pipe; ln -s /etc/passwd out; mkdir dir")
        with pytest.raises(WorkspaceReadNotFoundError):
            await made.read(Path("none"))
        for name in ("pipe", "dir"):
            with pytest.raises(WorkspaceArchiveReadError):
                await made.read(Path(name))
        with pytest.raises(WorkspaceArchiveWriteError):
            await made.write(Path("dir"), io.BytesIO(b"x"))
        for name in ("out", "/etc/passwd", "../etc/passwd"):
            with pytest.raises(InvalidManifestPathError):
                await made.read(Path(name))


async def test_commands_have_users_timeouts_and_an_end() -> None:
    async with session() as made:
        ran = await made.exec("id -u; pwd; echo no >&2; exit 7", user="1234")
        assert (ran.stdout, ran.stderr, ran.exit_code) == (b"1234\n/workspace\n", b"no\n", 7)
        assert (await made.exec("no-such-program", shell=False)).exit_code == 127
        with pytest.raises(ExecTimeoutError):
            await made.exec("exec sleep 17320", timeout=1)
        assert b"17320" not in (await made.exec("cat /proc/[0-9]*/cmdline | tr '\\0' ' '")).stdout
        with Pyro() as pyro:
            pyro.delete_workspace(pyro.list_workspaces(labels=LABELS)[0])
        assert not await made.running()
        with pytest.raises(ExecTransportError):
            await made.exec("true")
        with pytest.raises((WorkspaceArchiveReadError, ExecTransportError)):
            await made.read(Path("x"))


async def test_a_session_is_found_again_and_one_whose_machine_is_gone_has_its_files(tmp_path: Path) -> None:
    client = PyroSandboxClient()
    made = await client.create(snapshot=LocalSnapshotSpec(base_path=tmp_path), options=PyroSandboxClientOptions())
    await made.start()
    await made.exec("mkdir -p sub && echo kept >sub/file && ln -s sub/file link && chmod 755 sub/file && mkfifo pipe")
    await made.exec("echo outside >/srv/mark")
    await made.aclose()
    payload = json.loads(json.dumps(client.serialize_session_state(made.state)))

    again = await client.resume(client.deserialize_session_state(dict(payload)))
    await again.start()
    assert (await again.exec("cat /srv/mark link")).stdout == b"outside\nkept\n"
    with Pyro() as pyro:
        pyro.stop_workspace(again.state.workspace)
    resumed = await client.resume(client.deserialize_session_state(dict(payload)))
    assert await resumed.running()
    await client.delete(resumed)
    await client.delete(again)

    replaced = await client.resume(client.deserialize_session_state(dict(payload)))
    await replaced.start()
    assert (
        await replaced.exec("cat link; test -x sub/file && test ! -e /srv/mark && echo new")
    ).stdout == b"kept\nnew\n"
    await client.delete(replaced)


async def test_a_session_can_begin_as_a_fork() -> None:
    with Pyro() as pyro, pyro.workspace("debian:12", name="prepared") as prepared:
        prepared.exec("echo ready >/srv/ready; nohup sleep 22360 >/dev/null 2>&1 &")
        async with session(fork_of="prepared") as made:
            said = (await made.exec("cat /srv/ready; echo changed >/srv/ready; pgrep -f 22360 || pidof sleep")).stdout
            assert said.startswith(b"ready\n") and len(said.split()) >= 2
        assert prepared.exec("cat /srv/ready").stdout == "ready\n"
