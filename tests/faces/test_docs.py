"""What the documents tell a person to type works, and names things that exist."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from pyro_mcp.cli.extra import extras
from pyro_mcp.operations import REGISTRY
from pyro_mcp.sdk import Pyro

ROOT = Path(__file__).resolve().parent.parent.parent
COMMANDS = {op.cli for op in REGISTRY.values()}
EXTRA = {extra.words for extra in extras()}


def test_the_first_run_goes_as_it_is_written(pyro: Pyro, project: Path, tmp_path: Path) -> None:
    text = (ROOT / "docs" / "first-run.md").read_text()
    steps = [line.strip().removeprefix("$ ") for line in text.splitlines() if line.strip().startswith("$ ")]
    steps = [step.replace("/tmp/first.patch", str(tmp_path / "first.patch")) for step in steps if "cd " not in step]
    assert len(steps) >= 9
    for step in steps:
        step = re.sub(r"\bpyro (?=\w)", f"{shlex.quote(sys.executable)} -m pyro_mcp ", step)
        done = subprocess.run(
            ["bash", "-c", f"set -o pipefail; {step}"], cwd=project, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, (step, done.stdout, done.stderr)
    assert pyro.list_workspaces().workspaces == []


def test_the_words_to_a_landed_change_are_counted() -> None:
    """From a clone to a branch: the blocks of the page, as a shell splits them, and the numbers beside them."""
    text = (ROOT / "docs" / "first-run.md").read_text()
    blocks = re.findall(r"(?m)^    git clone(?:.*\n    )*.*", text)
    said = [int(number) for number in re.findall(r"(?:These are|make it) (\d+)", text)]
    counted = [len([w for w in shlex.split(block, comments=True) if w != "&&"]) for block in blocks]
    assert counted == said == [12, 26]


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        *[f"docs/{name}.md" for name in ("install", "troubleshooting", "first-run", "hosts", "mcp-http")],
    ],
)
def test_commands_that_the_pages_name_exist(page: str) -> None:
    known = {" ".join(words) for words in COMMANDS | EXTRA}
    named = re.findall(
        r"(?:`|\$ |^ +)pyro ((?:[a-z](?:[a-z-]*[a-z])? ?){1,3})", (ROOT / page).read_text(), re.MULTILINE
    )
    found = [words for words in named if words.split()[0] in {k.split()[0] for k in known}]
    assert found
    for words in found:
        parts = words.split()
        assert any(" ".join(parts[:n]) in known for n in (1, 2, 3)), f"pyro {words} in {page}"


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        *[
            f"docs/{name}.md"
            for name in ("architecture", "engines", "security", "install", "mcp-http", "hosts", "use-cases/README")
        ],
    ],
)
def test_links_between_pages_lead_somewhere(page: str) -> None:
    source = ROOT / page
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", source.read_text()):
        assert (source.parent / target).exists(), f"{target} in {page}"
