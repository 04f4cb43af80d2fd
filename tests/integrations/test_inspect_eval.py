"""Whole evals with Inspect's mock model: a machine for each sample, and nothing left afterwards."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("inspect_ai", reason="inspect-ai is not installed: make test-integrations")

from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.model import ModelOutput, ModelUsage, get_model
from inspect_ai.scorer import Score, accuracy, scorer
from inspect_ai.solver import generate, use_tools
from inspect_ai.tool import bash
from inspect_ai.util import SandboxEnvironmentSpec, sandbox

from pyro_mcp.integrations.inspect_ai import PyroSandboxConfig

pytestmark = pytest.mark.usefixtures("nothing_left")


@scorer(metrics=[accuracy()])
def calc_is_right() -> Any:
    async def score(state: Any, target: Any) -> Score:
        ran = await sandbox().exec(["python3", "-c", "import calc; print(calc.add(2, 3))"])
        return Score(value="C" if ran.stdout.strip() == target.text else "I", explanation=ran.stdout + ran.stderr)

    return score


def says(output: ModelOutput) -> ModelOutput:
    output.usage = ModelUsage()  # otherwise Inspect fetches a tokenizer from the network, to count
    return output


def call(line: str) -> ModelOutput:
    return says(ModelOutput.for_tool_call("mockllm/model", "bash", {"command": line}))


def text(words: str) -> ModelOutput:
    return says(ModelOutput.from_content("mockllm/model", words))


def of_two_samples(**more: Any) -> Task:
    """One sample that the model solves, and one where it does nothing."""
    files = {"calc.py": "def add(a, b):\n    return a - b\n", "blob": _blob(b"\x00\xff\xfe")}
    return Task(
        dataset=[Sample(id=name, input="Mend calc.py.", target="5", files=files) for name in ("mended", "left")],
        solver=[use_tools(bash(timeout=60)), generate()],
        scorer=calc_is_right(),
        **more,
    )


def _blob(data: bytes) -> str:
    return f"data:application/octet-stream;base64,{base64.b64encode(data).decode()}"


def evaluated(task: Task, tmp_path: Path) -> Any:
    """The log of the eval; samples one after the other, so that the model's script is theirs in turn."""
    mend = "sed -i 's/a - b/a + b/' calc.py && sha256sum blob; cat /prepared 2>&1; echo only-here >/mark; ls /mark"
    script = [call(mend), text("Done."), call("cat /prepared; ls /mark"), text("Nothing to do.")]
    (log,) = eval(
        task,
        model=get_model("mockllm/model", custom_outputs=script),
        max_samples=1,
        log_dir=str(tmp_path),
        display="none",
    )
    assert log.status == "success", log.error
    return log


def said_by_tools(log: Any) -> dict[str, str]:
    """What the tool said in each sample."""
    said = {}
    for sample in log.samples:
        (message,) = (message for message in sample.messages if message.role == "tool")
        assert message.error is None
        said[sample.id] = message.text
    return said


def test_an_eval_of_two_samples_in_machines_of_their_own(tmp_path: Path) -> None:
    log = evaluated(of_two_samples(sandbox="pyro"), tmp_path)
    assert {sample.id: sample.scores["calc_is_right"].value for sample in log.samples} == {"mended": "C", "left": "I"}
    said = said_by_tools(log)
    first, second = said["mended"], said["left"]
    assert "/mark" in first and "cannot access" in second
    assert hashlib.sha256(b"\x00\xff\xfe").hexdigest() in first


def test_the_setup_runs_once_and_the_samples_are_forks_of_it(tmp_path: Path) -> None:
    setup = "head -c16 /dev/urandom | od -An -tx1 | tr -d ' \\n' >/prepared"
    config = PyroSandboxConfig(setup=setup)
    log = evaluated(of_two_samples(sandbox=SandboxEnvironmentSpec("pyro", config)), tmp_path)
    assert {sample.id: sample.scores["calc_is_right"].value for sample in log.samples} == {"mended": "C", "left": "I"}
    said = said_by_tools(log)
    first, second = said["mended"], said["left"]
    (prepared,) = re.findall(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])", first)
    assert prepared in second
    assert "cannot access" in second  # the mark that the first one's machine has


def test_a_setup_that_fails_ends_the_eval_and_leaves_nothing(tmp_path: Path) -> None:
    task = of_two_samples(sandbox=SandboxEnvironmentSpec("pyro", PyroSandboxConfig(setup="echo no way >&2; exit 3")))
    with pytest.raises(RuntimeError, match="status 3: no way"):
        eval(task, model="mockllm/model", log_dir=str(tmp_path), display="none")
