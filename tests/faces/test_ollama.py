"""`pyro demo ollama` against a scripted model server: on real machines, judged by what is left in them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pyro_mcp.cli.local_model import demo as ollama
from pyro_mcp.cli.local_model import fence
from pyro_mcp.cli.local_model import model as model_server
from pyro_mcp.errors import InvalidInput, PyroError
from pyro_mcp.sdk import Pyro
from tests.scripted_model import (
    Messages,
    Reply,
    ScriptedModel,
    answers,
    calls,
    calls_there,
    made,
    says,
    speaks,
    wants,
)
from tests.support import Installation

PATCH = """\
--- a/calc.py
+++ b/calc.py
@@ -3,3 +3,3 @@
 
 def mean(numbers):
-    return sum(numbers) / (len(numbers) - 1)
+    return sum(numbers) / len(numbers)
"""  # noqa: W293
CREATE = calls("workspace_create")
TEST = calls_there("workspace_exec", command=ollama.TEST)
FIX = calls_there("workspace_patch_apply", patch=PATCH)


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the demo puts its temporary files, so that what it leaves can be seen."""
    directory = tmp_path / "tmp"
    directory.mkdir()
    monkeypatch.setenv("TMPDIR", str(directory))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.delenv("OLLAMA_HOST", raising=False)
    return directory


def play(model: ScriptedModel, *words: str) -> int:
    return ollama.run("pyro demo ollama", ["--url", model.url, *words])


def workspaces() -> list[str]:
    with Pyro() as pyro:
        return [w.id for w in pyro.list_workspaces().workspaces if fence.LABEL in w.labels]


def failure(act: Callable[[], object]) -> PyroError:
    with pytest.raises(PyroError) as caught:
        act()
    return caught.value


def test_a_model_that_repairs_the_project_is_believed_after_the_check(
    installation: Installation, work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with ScriptedModel([CREATE, TEST, FIX, TEST, says("mean divided by one too few.")]) as model:
        assert play(model) == 0
    shown = capsys.readouterr().out
    assert "1.\n   workspace_create {}" in shown
    assert "exit status 1" in shown and "exit status 0" in shown
    assert "mean divided by one too few." in shown
    assert "+    return sum(numbers) / len(numbers)" in shown
    assert shown.endswith("The model fixed the project: its test passes.\n")
    assert workspaces() == []
    assert list(work.iterdir()) == []
    assert model.paths == ["GET /v1/models"] + ["POST /v1/chat/completions"] * 5
    asked = model.requests[0]
    assert asked["model"] == "scripted" and asked["stream"] is False
    functions = {tool["function"]["name"]: tool["function"] for tool in asked["tools"]}
    assert functions["workspace_exec"]["parameters"]["required"] == ["workspace", "command"]
    assert [m["role"] for m in asked["messages"]] == ["system", "user"]
    last = model.requests[-1]["messages"]
    assert [m["role"] for m in last[2:]] == ["assistant", "tool"] * 4
    assert last[2]["tool_calls"][0]["id"] == last[3]["tool_call_id"]


def test_json_is_one_object_and_a_named_model_is_asked_for(
    installation: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    with ScriptedModel([CREATE, FIX], models=[]) as model:
        assert play(model, "--json", "--model", "other") == 0
    outcome = json.loads(capsys.readouterr().out)
    assert outcome["solved"] is True
    assert (outcome["model"], outcome["turns"], outcome["tool_calls"]) == ("other", 3, 2)
    assert "calc.py" in outcome["diff"]
    assert model.requests[0]["model"] == "other"
    assert workspaces() == []


def test_a_model_that_never_repairs_it_fails_the_demo(
    installation: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    with ScriptedModel([CREATE, TEST, TEST, TEST]) as model:
        assert play(model, "--max-turns", "3") == 1
    assert len(model.requests) == 3
    said = capsys.readouterr().err
    assert "The demo failed: the project's test does not pass in " in said
    assert "All 3 turns were used" in said
    assert workspaces() == []


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("test_calc.py", "print('OK')\n"),
        ("calc.py", "import sys\nsys.exit(0)\n"),
    ],
)
def test_a_model_that_only_silences_the_test_is_not_believed(
    installation: Installation, capsys: pytest.CaptureFixture[str], path: str, text: str
) -> None:
    with ScriptedModel([CREATE, calls_there("workspace_file_write", path=path, text=text), TEST]) as model:
        assert play(model) == 1
    assert "test does not pass" in capsys.readouterr().err
    assert workspaces() == []


def test_a_model_that_makes_no_workspace_fails_the_demo(
    installation: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    with ScriptedModel([says("I would look at\x1b[2J calc.py.")]) as model:
        assert play(model) == 1
    shown = capsys.readouterr()
    assert "the model created no workspace" in shown.err
    assert "\x1b" not in shown.out


def test_malformed_calls_go_back_as_errors_and_the_model_recovers(installation: Installation) -> None:
    seen: list[str] = []

    def recovers(messages: Messages) -> Reply:
        seen.extend(answers(messages))
        for message in messages:
            for call in message.get("tool_calls", []):
                json.loads(call["function"]["arguments"])  # what a server would refuse is not sent back
        return FIX(messages)

    def malformed(messages: Messages) -> Reply:
        here = made(messages)
        nameless: Any = {"function": None}
        return speaks(
            None,
            wants("workspace_exec", '{"workspace": "' + here, "a"),
            wants("workspace_exec", '["ls"]', "b"),
            wants("workspace_exce", {}, "c"),
            wants("workspace_exec", {"workspace": here, "comand": "ls"}, "d"),
            wants("workspace_exec", {"workspace": here, "command": "\ud800"}, "e"),
            nameless,
        )

    with ScriptedModel([CREATE, malformed, recovers]) as model:
        assert play(model) == 0
    assert "are not a JSON object" in seen[1] and "[bad_arguments]" in seen[1]
    assert "are not a JSON object" in seen[2]
    assert "Did you mean 'workspace_exec'?" in seen[3]
    assert "has no parameter 'comand'" in seen[4]
    assert seen[5]  # a lone surrogate: whatever it gives, the conversation goes on
    assert "[unknown_tool]" in seen[6]
    assert workspaces() == []


def test_the_model_reaches_no_workspace_but_its_own_and_deletes_none(installation: Installation, pyro: Pyro) -> None:
    other = pyro.create_workspace("debian:12", name="of-the-user").id
    seen: list[str] = []

    def prowls(messages: Messages) -> Reply:
        reach = [wants("workspace_exec", {"workspace": ref, "command": "id"}) for ref in (other, "of-the-user")]
        mine = wants("workspace_delete", {"workspace": made(messages)})
        return speaks(None, *reach, wants("workspace_list", {}), mine)

    def notes(messages: Messages) -> Reply:
        seen.extend(answers(messages)[1:])
        return FIX(messages)

    with ScriptedModel([CREATE, prowls, notes]) as model:
        assert play(model) == 0
    assert "There is no workspace" in seen[0] and "There is no workspace" in seen[1]
    assert len(json.loads(seen[2])["workspaces"]) == 1 and other not in seen[2]
    assert "[not_permitted]" in seen[3]
    assert pyro.status_workspace(other).state == "running"
    assert workspaces() == []


def test_an_answer_that_fails_once_is_asked_for_again(installation: Installation) -> None:
    def broken(messages: Messages) -> Reply:
        return Reply({"error": {"message": "error parsing tool call"}}, 500)

    def empty(messages: Messages) -> Reply:
        return Reply({"choices": []})

    with ScriptedModel([broken, CREATE, empty, FIX]) as model:
        assert play(model) == 0
    assert workspaces() == []


@pytest.mark.parametrize(
    ("reply", "code", "words"),
    [
        (Reply({"error": {"message": "m does not support tools"}}, 400), "model_refused", "m does not support tools"),
        (Reply({"error": "boom\x1b"}, 500), "model_failed", "HTTP 500"),
        (Reply({"choices": []}), "model_failed", "returned no choices"),
        (Reply({"choices": None}), "model_failed", "returned no choices"),
        (Reply(b"<html>"), "model_failed", "not return a JSON object"),
        (Reply({}, 302, {"Location": "http://127.0.0.1:9/v1"}), "model_refused", "HTTP 302"),
    ],
)
def test_a_server_that_fails_ends_the_demo_and_nothing_is_left(
    installation: Installation, work: Path, reply: Reply, code: str, words: str
) -> None:
    with ScriptedModel([CREATE, lambda messages: reply, lambda messages: reply]) as model:
        error = failure(lambda: play(model))
    assert error.code == code and words in error.message and error.hint and error.exit_status == 1
    assert "\x1b" not in str(error)
    assert workspaces() == []
    assert list(work.iterdir()) == []


def test_a_model_that_is_too_slow_ends_the_demo(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_server, "ANSWER_SECONDS", 0.5)
    late = threading.Event()

    def slow(messages: Messages) -> Reply:
        late.wait(30)
        return speaks("At last.")

    with ScriptedModel([CREATE, slow]) as model:
        error = failure(lambda: play(model))
        late.set()
    assert error.code == "model_timeout"
    assert workspaces() == []


def test_a_demo_that_is_stopped_leaves_nothing(installation: Installation, work: Path) -> None:
    reached, leave = threading.Event(), threading.Event()

    def thinks(messages: Messages) -> Reply:
        reached.set()
        leave.wait(30)
        return speaks("Too late.")

    program = (
        "import sys; from pyro_mcp.cli.local_model.demo import run; sys.exit(run('pyro demo ollama', sys.argv[1:]))"
    )
    with ScriptedModel([CREATE, thinks]) as model:
        # A shell's background jobs begin with SIGINT ignored, which is inherited; here it is meant to be heard.
        command = ["env", "--default-signal=INT", sys.executable, "-c", program, "--url", model.url]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as playing:
            assert reached.wait(120)
            playing.send_signal(signal.SIGINT)
            _, said = playing.communicate(timeout=60)
        leave.set()
    assert playing.returncode == 128 + signal.SIGINT, said
    assert "Stopped by SIGINT" in said
    assert workspaces() == []
    assert list(work.iterdir()) == []


def test_no_server_is_said_with_what_to_do(work: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))  # no daemon is asked for anything, nor started
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        error = failure(lambda: ollama.run("pyro demo ollama", ["--url", address]))
    assert error.code == "model_server_unreachable" and error.exit_status == 1
    assert address in error.message and "ollama serve" in error.hint and "--url" in error.hint
    assert list(work.iterdir()) == []
    assert os.listdir(tmp_path) == ["tmp"]


def test_no_models_is_said_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedModel(models=[]) as model:
        monkeypatch.setenv("OLLAMA_HOST", model.address)
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # is not asked
        error = failure(lambda: ollama.run("pyro demo ollama", []))
    assert error.code == "no_models" and "ollama pull" in error.hint and error.exit_status == 1


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("127.0.0.1:11434", "http://127.0.0.1:11434/v1"),
        ("box", "http://box:11434/v1"),
        (":8000", "http://127.0.0.1:8000/v1"),
        ("0.0.0.0", "http://127.0.0.1:11434/v1"),
        ("[::1]:11434", "http://[::1]:11434/v1"),
        ("http://box", "http://box:80/v1"),
        ("https://box/", "https://box:443/v1"),
        ("http://box:1/v1/", "http://box:1/v1"),
        ("https://box/ollama", "https://box:443/ollama/v1"),
        ("https://box/v1beta/openai", "https://box:443/v1beta/openai"),
    ],
)
def test_every_form_of_ollama_host_is_understood(given: str, meant: str) -> None:
    assert model_server.endpoint(given) == meant


@pytest.mark.parametrize("given", ["ftp://box", "http://box:many", "http://me:secret@box"])
def test_what_is_no_server_is_refused(given: str) -> None:
    assert isinstance(failure(lambda: model_server.endpoint(given)), InvalidInput)


@pytest.mark.parametrize("words", [["x"], ["--max-turns", "0"], ["--modle", "m"]])
def test_words_that_do_not_fit_are_refused(words: list[str]) -> None:
    assert failure(lambda: ollama.run("pyro demo ollama", words)).exit_status == 2
