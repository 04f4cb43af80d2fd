"""deepagents with pyro as its backend: a whole agent with a scripted model, and the backend's own promises."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("deepagents", reason="deepagents is not installed: make test-integrations")

from deepagents import create_deep_agent
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage

from pyro_mcp.integrations.deepagents import PyroSandbox
from pyro_mcp.integrations.machine import Gone
from pyro_mcp.sdk import Pyro
from tests.support import Installation

LISTED = "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"


@pytest.fixture(scope="module")
def shared(place: Installation) -> Iterator[PyroSandbox]:
    with PyroSandbox.create("debian:12") as backend:
        yield backend


class Scripted(GenericFakeChatModel):
    def bind_tools(self, tools: Any, **_: Any) -> Any:
        return self


def steps(*calls: tuple[str, dict[str, Any]]) -> Scripted:
    """A model that uses these tools in turn, and then is done."""
    used = [
        AIMessage("", tool_calls=[{"name": name, "args": arguments, "id": f"call-{number}"}])
        for number, (name, arguments) in enumerate(calls)
    ]
    return Scripted(messages=iter([*used, AIMessage("Done.")]))


def answers(result: dict[str, Any]) -> list[str]:
    return [str(message.content) for message in result["messages"] if message.type == "tool"]


AGENT = (
    ("write_file", {"file_path": "/workspace/calc.py", "content": "def add(a, b):\n    return a - b\n"}),
    ("execute", {"command": "python3 -B -c 'import calc; print(calc.add(2, 3))'"}),
    ("edit_file", {"file_path": "/workspace/calc.py", "old_string": "a - b", "new_string": "a + b"}),
    ("grep", {"pattern": "a + b", "path": "/workspace", "output_mode": "content"}),
    ("glob", {"pattern": "*.py", "path": "/workspace"}),
    ("ls", {"path": "/workspace"}),
    ("read_file", {"file_path": "/workspace/calc.py"}),
    ("execute", {"command": "python3 -B -c 'import calc; print(calc.add(2, 3))'; exit 3"}),
)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_an_agent_works_in_a_machine(place: Installation, nothing_left: None, asynchronous: bool) -> None:
    with PyroSandbox.create("debian:12") as backend:
        agent = create_deep_agent(model=steps(*AGENT), backend=backend)
        asked: Any = {"messages": [{"role": "user", "content": "Mend calc.py."}]}
        result = asyncio.run(agent.ainvoke(asked)) if asynchronous else agent.invoke(asked)
        wrote, first, edited, found, globbed, listed, read, last = answers(result)
        assert "calc.py" in wrote and "-1" in first and "calc.py" in edited
        assert "a + b" in found and "/workspace/calc.py" in globbed and "calc.py" in listed
        assert "return a + b" in read
        assert "5" in last and "3" in last
        assert [file.path for file in backend.workspace.diff().files] == ["calc.py"]


def test_files_of_any_bytes_go_in_and_come_back(shared: PyroSandbox) -> None:
    data = os.urandom(3_000_000)
    place = "/srv/de ep/ünï '\"$(id)\n-rf"
    assert [answer.error for answer in shared.upload_files([(place, data), ("/srv/empty", b"")])] == [None, None]
    full, empty = shared.download_files([place, "/srv/empty"])
    assert (full.content, empty.content) == (data, b"")


def test_each_file_has_an_error_of_its_own(shared: PyroSandbox) -> None:
    shared.execute("mkfifo /srv/pipe; echo x >/srv/plain; mkdir -p /srv/dir")
    sent = shared.upload_files(
        [("/srv/dir", b""), ("relative", b""), ("/srv/fine", b"x"), ("/proc/version", b"y"), ("/srv/plain/below", b"")]
    )
    assert [answer.error for answer in sent][:3] == ["is_directory", "invalid_path", None]
    assert all(answer.error for answer in sent[3:])
    got = shared.download_files(["/srv/none", "/srv/dir", "relative", "/srv/pipe", "/srv/fine", "/srv/\0"])
    assert [answer.error for answer in got][:5] == [
        "file_not_found",
        "is_directory",
        "invalid_path",
        "invalid_path",
        None,
    ]
    assert got[5].error


def test_a_timeout_ends_the_command_and_says_so(shared: PyroSandbox) -> None:
    response = shared.execute("echo so far; sleep 27182", timeout=1)
    assert response.exit_code == 124
    assert "so far" in response.output and "ended after 1 seconds" in response.output
    assert "27182" not in shared.execute(LISTED).output


def test_output_beyond_the_bound_is_dropped_and_the_command_goes_on(shared: PyroSandbox) -> None:
    response = shared.execute("head -c 12000000 /dev/zero | tr '\\0' x; echo end >/srv/end; exit 4")
    assert (response.exit_code, response.truncated) == (4, True)
    assert len(response.output) == 10 * 1024 * 1024
    assert shared.execute("cat /srv/end").output == "end\n"


def test_large_output_is_kept_in_the_machine(shared: PyroSandbox) -> None:
    result = shared.execute_with_offload("seq 200000; exit 5", capture_path="/srv/captured", max_inline_bytes=20_000)
    assert result.offloaded and result.response.exit_code == 5
    assert shared.execute("tail -n1 /srv/captured").output.strip() == "200000"


def test_a_cancelled_call_ends_its_command(shared: PyroSandbox) -> None:
    async def cancelled() -> None:
        call = asyncio.ensure_future(shared.aexecute("touch /srv/begun; exec sleep 16180"))
        while (await shared.aexecute("test -e /srv/begun")).exit_code:
            assert not call.done()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        deadline = time.monotonic() + 60
        while "16180" in (await shared.aexecute(LISTED)).output:
            assert time.monotonic() < deadline

    asyncio.run(cancelled())


def test_many_threads_use_one_backend(shared: PyroSandbox) -> None:
    said: dict[int, str] = {}
    threads = [
        threading.Thread(target=lambda n=n: said.update({n: shared.execute(f"echo {n}").output})) for n in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert said == {n: f"{n}\n" for n in range(12)}


def test_a_fork_is_a_backend_of_its_own(place: Installation, nothing_left: None) -> None:
    with PyroSandbox.create("debian:12") as backend:
        backend.execute("echo before >/srv/mark")
        with backend.fork() as fork:
            assert fork.execute("cat /srv/mark; echo after >/srv/mark").output == "before\n"
            assert fork.id != backend.id
        assert backend.execute("cat /srv/mark").output == "before\n"


def test_only_its_own_workspace_is_deleted(place: Installation, nothing_left: None) -> None:
    with Pyro() as pyro, pyro.workspace("debian:12") as workspace:
        with PyroSandbox(workspace) as backend:
            assert backend.execute("echo hi").output == "hi\n"
        backend.close()
        with pytest.raises(Gone):
            backend.execute("echo hi")
        assert workspace.status().state == "running"
        with PyroSandbox(workspace.name or workspace.id) as again:
            workspace.delete()
            with pytest.raises(Gone):
                again.execute("true")
