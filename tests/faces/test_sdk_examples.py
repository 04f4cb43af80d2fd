"""Every example of the SDK guide and of the docstrings in the SDK reference runs."""

from __future__ import annotations

import ast
import asyncio
import doctest
import inspect
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import pyro_mcp
from pyro_mcp import aio, handles, sdk
from pyro_mcp.mcp import embedded
from pyro_mcp.sdk import Pyro

ROOT = Path(__file__).resolve().parents[2]
PARSER = doctest.DocTestParser()


def test_the_guide_goes_as_it_is_written(pyro: Pyro, tmp_path: Path) -> None:
    text = (ROOT / "docs" / "sdk" / "README.md").read_text()
    examples = PARSER.get_doctest(text, {"directory": str(tmp_path)}, "guide", "docs/sdk/README.md", 0)
    assert len(examples.examples) > 30
    said: list[str] = []
    result = doctest.DocTestRunner(optionflags=doctest.REPORT_ONLY_FIRST_FAILURE).run(examples, out=said.append)
    assert result.failed == 0, "".join(said)
    assert pyro.list_workspaces().workspaces == []


def _documented(module: ModuleType) -> list[tuple[str, str]]:
    found = [(module.__name__, module.__doc__ or "")]
    for name, value in vars(module).items():
        if name.startswith("_") or getattr(value, "__module__", None) != module.__name__:
            continue
        found.append((f"{module.__name__}.{name}", value.__doc__ or ""))
        if inspect.isclass(value):
            found += [(f"{name}.{inner}", str(getattr(each, "__doc__", ""))) for inner, each in vars(value).items()]
    return [(name, text) for name, text in found if ">>>" in text]


def test_examples_in_docstrings_run(pyro: Pyro, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "Makefile").write_text("test:\n\ttrue\n")
    monkeypatch.chdir(tmp_path)
    found = [each for module in (sdk, aio, handles) for each in _documented(module)]
    assert {name.rpartition(".")[2] for name, _ in found} == {"sdk", "AsyncPyro", "Workspace", "AsyncWorkspace"}
    for name, text in found:
        space: dict[str, Any] = {"pyro": pyro, **{each: getattr(pyro_mcp, each) for each in ("Pyro", "AsyncPyro")}}
        for example in PARSER.get_examples(inspect.cleandoc(text)):
            made = compile(example.source, name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            coroutine = eval(made, space)
            if inspect.iscoroutine(coroutine):
                asyncio.run(coroutine)


def test_the_example_of_the_server_serves_a_host_that_leaves_at_once() -> None:
    source = "".join(e.source for e in PARSER.get_examples(inspect.cleandoc(embedded.create_server.__doc__ or "")))
    source = re.sub("^async with", "async def main():\n  async with", source, flags=re.MULTILINE)
    source = re.sub("^    await", "      await", source, flags=re.MULTILINE)
    script = f"import asyncio\nfrom pyro_mcp import create_server\n{source}\nasyncio.run(main())\n"
    done = subprocess.run(
        [sys.executable, "-c", script], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
