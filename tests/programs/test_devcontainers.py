"""The scripts that a devcontainer.json becomes, as a shell runs them."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pyro_mcp.devcontainers.features import read as read_feature
from pyro_mcp.devcontainers.features import variables_file
from pyro_mcp.devcontainers.read import ready
from pyro_mcp.devcontainers.script import script
from tests.unit.test_devcontainers import said


def run(tmp_path: Path, **properties: Any) -> tuple[int, str]:
    text = script(ready(said(**properties), "app", {}).stages, "/bin/sh")
    done = subprocess.run(["sh", "-c", text], cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_stages_run_in_their_order_and_end_with_the_first_failure(tmp_path: Path) -> None:
    code, text = run(
        tmp_path, postStartCommand="echo four", postCreateCommand=["sh", "-c", "echo \"$0\"; exit 7", "it's three"],
        onCreateCommand="echo one; exec true", updateContentCommand={"a": "echo two a >> f", "b": "echo two b >> f"},
    )  # fmt: skip
    assert code == 7 and "one" in text and "it's three" in text and "four" not in text.replace("echo four", "")
    assert "== postCreateCommand failed: exit status 7" in text
    assert sorted((tmp_path / "f").read_text().splitlines()) == ["two a", "two b"]


def test_steps_of_one_stage_run_side_by_side_and_each_failure_is_said(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "meet")
    code, text = run(
        tmp_path, postCreateCommand={"a": "echo hi > meet; exit 3", "b": "cat meet", "c": ["no-such-program"]}
    )
    assert "hi" in text and "(a) failed: exit status 3" in text and "(c) failed: exit status 127" in text
    assert code == 127


@given(st.text(max_size=60).filter(lambda text: "\0" not in text and text.strip()))
def test_a_command_of_any_characters_is_one_word(text: str) -> None:
    found = said(onCreateCommand=["printf", "%s", text], postCreateCommand={text: ["true"]})
    done = subprocess.run(["sh", "-c", script(ready(found, "a", {}).stages, "sh")], capture_output=True)
    assert done.returncode == 0 and (text.encode() in done.stdout or "${" in text)


def test_the_options_of_a_feature_reach_its_script_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "install.sh").write_text("true")
    options = {"a-b": {"default": "x'; touch /y #"}, "9z": {"default": True}, "c": {}, "d": 7}
    (tmp_path / "devcontainer-feature.json").write_text(json.dumps({"options": options}))
    found = read_feature("./a", "f0", tmp_path, {"c": 'two\nlines "', "d": {}})
    variables = variables_file(found, "dev")
    shell = subprocess.run(
        ["sh", "-c", 'set -a; . /dev/stdin; printf %s "$A_B|$C|$_REMOTE_USER_HOME"'],
        input=variables, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert shell.stdout == "x'; touch /y #|two\nlines \"|/home/dev"
