"""The use cases, each through the MCP server on real machines, and their recipes beside them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from pyro_mcp.mcp.prompts import PROMPTS
from pyro_mcp.mcp.schema import operations_of
from pyro_mcp.sdk import Pyro
from tests.support import Installation

ROOT = Path(__file__).resolve().parent.parent.parent
USE_CASES = (
    *("cold_start_validation", "repro_fix_loop", "parallel_workspaces", "untrusted_inspection", "review_eval"),
    "candidate_fixes",
)
TOOLS = {str(op.mcp) for op in operations_of("workspace-full")}


@pytest.mark.parametrize("name", USE_CASES)
def test_the_use_case_holds_on_real_machines(installation: Installation, pyro: Pyro, name: str) -> None:
    before = {workspace.id for workspace in pyro.list_workspaces().workspaces}
    ran = subprocess.run(
        [sys.executable, "-m", f"examples.use_cases.{name}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"{name.replace('_', '-')}: holds" in ran.stdout
    assert {workspace.id for workspace in pyro.list_workspaces().workspaces} == before


def tools_in(text: str) -> set[str]:
    return {word for word in re.findall(r"[a-z_]+", text) if word in TOOLS}


@pytest.mark.parametrize("name", USE_CASES)
def test_the_recipe_names_every_tool_that_the_example_calls(name: str) -> None:
    example = (ROOT / "examples" / "use_cases" / f"{name}.py").read_text()
    called = tools_in(" ".join(re.findall(r'host\.(?:call|refused)\(\s*"([a-z_]+)"', example)))
    if "host.run(" in example:
        called.add("workspace_exec")
    recipe = (ROOT / "docs" / "use-cases" / f"{name.replace('_', '-')}.md").read_text()
    assert called <= tools_in(recipe)
    assert f"make smoke-{name.replace('_', '-')}" in recipe
    assert f"`{name}`" in recipe


def test_there_is_a_prompt_for_each_use_case() -> None:
    assert tuple(prompt.name for prompt in PROMPTS) == USE_CASES
