"""Bad input at every door, on the real daemon: an answer or a refusal in words; never silence, a traceback or a defect.

Each run tries a drawn part of all combinations within a few seconds; PYRO_BAD_INPUT_SECONDS gives it longer, and
PYRO_BAD_INPUT_SEED repeats a draw.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pyro_mcp.errors import PyroError
from pyro_mcp.operations import REGISTRY, Operation
from pyro_mcp.sdk import Pyro
from tests.support import Installation

SECONDS = float(os.environ.get("PYRO_BAD_INPUT_SECONDS") or 6)
SEED = int(os.environ.get("PYRO_BAD_INPUT_SEED") or secrets.randbelow(2**32))
LONGEST = 55.0
"""A call: chat hosts give a tool 60 s."""
ELSEWHERE = {"pull_environment", "prune_environments", "doctor", "export_environment"}
"""They fetch, or remove what other tests need, or take minutes when they succeed."""
GOOD: dict[str, Any] = {"path": "a.txt", "command": "true", "text": "x", "name": "a", "patch": "", "wait_seconds": 0}
GOOD |= {"handle": "h", "shell": "s", "service": "s", "snapshot": "s", "output": "made", "branch": "b", "data": "x"}
GOOD |= {"rows": 24, "cols": 80, "signal": "TERM", "environment": "debian:12", "asked": "q0"}
GOOD |= {"context": ".", "host": "a.example.com", "project": "/nowhere", "answer": "forget"}


def _deep(levels: int) -> Any:
    value: Any = "x"
    for _ in range(levels):
        value = [value]
    return value


def _bad(place: Path) -> list[Any]:
    texts = ["", " ", "\0", "a\0b", "\ud800", "\udcff", "x" * 5000, "x" * 70, "../../etc/passwd", "a\nb", "a\rb"]
    texts += ["\u202egnp.exe", "\u2028", "\x1b[31m", "~", "~root/x", "-rf", "--", ".", "..", "é" * 200, "x" * 2_000_000]
    places = ["/", "/etc", os.path.expanduser("~"), "/proc", "/proc/self/mem", "/proc/self/fd/0", "/dev/zero"]
    places += [
        "/dev/null",
        "/nowhere/at/all",
        "/proc/self/exe",
        *(str(place / name) for name in ("fifo", "loop", "socket")),
    ]
    numbers = [-1, 0, 10**30, -(10**30), 1.5, 1e300, float("nan"), float("inf"), True, 2**31, 2**63, 2**64]
    others = [None, [], {}, ["\0"], [1], {"a": 1}, {"": ""}, {"A=B": "\0"}, [{}], [{"old": 1}], _deep(60), _deep(700)]
    return [*texts, *places, *numbers, *others, ["x"] * 5000, {str(n): "x" for n in range(3000)}, {"\ud800": "\ud800"}]


def parameters(operation: Operation) -> list[str]:
    return [name for name in operation.plain_signature.parameters if name != "self"]


def drawn(place: Path) -> Iterator[tuple[Operation, str, Any]]:
    """Combinations in a drawn order, for as long as there is time; each call is printed before it is made."""
    tries = [
        (operation, name, value)
        for operation in REGISTRY.values()
        if operation.name not in ELSEWHERE
        for name in (*parameters(operation), "no_such_parameter")
        for value in _bad(place)
    ]
    random.Random(SEED).shuffle(tries)
    end, done = time.monotonic() + SECONDS, 0
    print(f"PYRO_BAD_INPUT_SEED={SEED}")
    for operation, name, value in tries:
        if time.monotonic() > end:
            break
        done += 1
        print(f"{operation.name}({name}={ascii(value)[:60]})", flush=True)
        yield operation, name, value
    assert done > 20
    print(f"{done} of {len(tries)} combinations")


def wrong_in(message: str) -> str:
    """What is wrong with words that somebody reads; empty where nothing is."""
    if not message.strip() or len(message) > 5000:
        return f"a message of {len(message)} characters"
    for sign in ("a bug in pyro", "Traceback", "object at 0x", "NoneType", "Errno"):
        if sign in message:
            return message[:500]
    if any(
        (ord(character) < 32 and character not in "\n\t") or character in "\x7f\u202e\u2028" for character in message
    ):
        return f"control characters: {ascii(message)[:300]}"
    return ""


def outcome(call: Callable[[], Any], *, unknown: bool) -> str:
    begun = time.monotonic()
    try:
        call()
    except PyroError as error:
        if error.code == "internal" or wrong_in(str(error)):
            return f"{error.code}: {wrong_in(str(error)) or error}"
    except TypeError as error:
        if not (unknown and "unexpected keyword" in str(error)):
            return f"TypeError: {str(error)[:300]}"
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:300]}"
    return "" if time.monotonic() - begun < LONGEST else f"it took {time.monotonic() - begun:.0f} s"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory, with what hurts; around it what must not change."""
    project = tmp_path / "project"
    project.mkdir()
    (project / "kept").write_text("kept\n")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "kept").write_text("kept\n")
    os.mkfifo(project / "fifo")
    (project / "loop").symlink_to("loop")
    (project / "out").symlink_to("../outside")
    monkeypatch.chdir(project)
    yield project
    assert (project / "kept").read_text() == "kept\n"
    assert sorted(os.listdir(tmp_path)) == ["outside", "project"]
    assert os.listdir(tmp_path / "outside") == ["kept"]
    assert (tmp_path / "outside" / "kept").read_text() == "kept\n"


def tried(place: Path, workspace: str, door: Callable[[Operation, dict[str, Any], bool], str]) -> None:
    found = []
    for operation, name, value in drawn(place):
        known = parameters(operation)
        base = {key: given for key, given in {**GOOD, "workspace": workspace}.items() if key in known}
        wrong = door(operation, {**base, name: value}, name not in known)
        if wrong:
            print("   ", wrong, flush=True)
            found.append(f"{operation.name}({name}={ascii(value)[:60]}): {wrong}")
    assert not found, "\n".join(found)


def still_there(pyro: Pyro, workspace: str) -> None:
    """It was not hurt; that a call rightly deleted or stopped it is fine."""
    try:
        state = pyro.status_workspace(workspace).state
    except PyroError as error:
        assert error.code.endswith("not_found"), error
        return
    if state == "running":
        assert pyro.exec_workspace(workspace, "echo here").stdout == "here\n"


def test_bad_input_to_the_daemon_is_refused_in_words(pyro: Pyro, workspace: str, place: Path) -> None:
    tried(place, workspace, lambda operation, given, _: outcome(lambda: pyro.call(operation, given), unknown=False))
    still_there(pyro, workspace)


def test_bad_input_to_the_sdk_is_refused_in_words(pyro: Pyro, workspace: str, place: Path) -> None:
    def call(operation: Operation, given: dict[str, Any], unknown: bool) -> str:
        return outcome(lambda: getattr(pyro, operation.name)(**given), unknown=unknown)

    tried(place, workspace, call)
    still_there(pyro, workspace)


def test_bad_input_to_each_tool_is_answered_in_words(
    installation: Installation, pyro: Pyro, workspace: str, place: Path
) -> None:
    server = subprocess.Popen(
        [sys.executable, "-m", "pyro_mcp", "mcp", "serve", "--profile", "workspace-full"],
        env={**os.environ, **installation.environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=place,
    )
    assert server.stdin is not None and server.stdout is not None and server.stderr is not None
    wire, answers = server.stdin, server.stdout
    number = 0
    rest = b""

    def line() -> bytes:
        nonlocal rest
        while b"\n" not in rest:
            if not select.select([answers], [], [], LONGEST)[0]:
                return b""
            data = os.read(answers.fileno(), 1 << 20)
            if not data:
                return b""
            rest += data
        first, _, rest = rest.partition(b"\n")
        return first

    def ask(method: str, values: dict[str, Any]) -> dict[str, Any] | None:
        nonlocal number
        number += 1
        asked = {"jsonrpc": "2.0", "id": number, "method": method, "params": values}
        wire.write(json.dumps(asked).encode() + b"\n")
        wire.flush()
        while said := line():
            record = json.loads(said)
            if record.get("id") == number or (record.get("id") is None and "error" in record):
                return dict(record)
        return None

    def call(operation: Operation, given: dict[str, Any], _: bool) -> str:
        if operation.mcp is None:
            return ""
        record = ask("tools/call", {"name": operation.mcp, "arguments": given})
        if record is None:
            return f"silence; exit status {server.poll()}"
        if "error" in record:
            return wrong_in(str(record["error"]["message"]))
        result = record["result"]
        text = "".join(str(part.get("text", "")) for part in result["content"])
        return wrong_in(text) if result.get("isError") else ""

    try:
        opened = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
        assert ask("initialize", opened) is not None
        wire.write(b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n')
        tried(place, workspace, call)
        assert ask("ping", {}) is not None
    finally:
        wire.close()
        server.wait(20)
        said = server.stderr.read().decode()
        answers.close()
        server.stderr.close()
    assert "Traceback" not in said, said[-3000:]
    still_there(pyro, workspace)
