"""The arena, and the table of attempts at the end of a run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pyro_mcp.sdk import Pyro
from tests.isolation.attempts import Arena
from tests.support import Installation

TABLE: list[tuple[str, str, str, str]] = []


@pytest.fixture(scope="module")
def arena(session_installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    """One for all attempts of an engine: what an attempt leaves inside is the next one's start."""
    with session_installation.active(), Pyro() as pyro:
        before = {workspace.id for workspace in pyro.list_workspaces().workspaces}
        made = Arena(session_installation, pyro, tmp_path_factory.mktemp("arena"))
        try:
            yield made
        finally:
            made.close()
            for workspace in pyro.list_workspaces().workspaces:
                if workspace.id not in before:
                    pyro.delete_workspace(workspace.id)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not TABLE or terminalreporter.config.getoption("isolation") != "whole":
        return
    terminalreporter.section(f"{len(TABLE)} attempts, none of which got through")
    for engine, area, what, told in TABLE:
        terminalreporter.write_line(f"{engine:<11} {area:<16} {what:<58} {told}")
