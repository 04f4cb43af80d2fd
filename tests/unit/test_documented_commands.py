"""Each command of the pages is one that the command line takes, with options that it has: nothing is run here.

`tests/faces/test_docs.py`, `test_sdk_examples.py` and `tests/engine/test_network_sessions.py` run whole examples.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from pyro_mcp.cli.app import _match, commands, run
from pyro_mcp.cli.parsing import parse
from pyro_mcp.cli.words import SHORT, expanded
from pyro_mcp.errors import InvalidInput
from pyro_mcp.operations import Operation

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = sorted({*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")} - {ROOT / "CHANGELOG.md"})
ENDS = {"|", "||", "&&", ";", ">", ">>", "<", "2>", "&"}
LEFT_OUT = re.compile(r"…|\.\.\.|\[[A-Z-]|\b[a-z]+\|[a-z]+")
"""A form and no example: `pyro ls [--json]`, `pyro agent claude-code|codex`."""


def examples(text: str) -> list[str]:
    """What stands alone on an indented line or after a prompt, or whole in backquotes with an argument."""
    joined = text.replace("\\\n", " ")
    found = re.findall(r"^(?: {4,}|\t)(?:\$ )?(pyro [^\n]*)", joined, re.M)
    found += re.findall(r"^\$ (pyro [^\n]*)", joined, re.M)
    found += [each for each in re.findall(r"`(pyro [^`]*)`", joined.replace("\n", " ")) if " -" in each]
    return [re.split(r"\s{2,}#|\s#\s", each)[0].strip() for each in found]


def words_of(line: str) -> list[str]:
    words = []
    for word in shlex.split(line)[1:]:
        if word in ENDS:
            break
        words.append(word)
    return words


ALL = [(page.relative_to(ROOT).as_posix(), line) for page in PAGES for line in examples(page.read_text())]


def test_there_are_many() -> None:
    assert len(ALL) > 100
    assert len({page for page, _ in ALL}) > 8


@pytest.mark.parametrize(("page", "line"), sorted(set(ALL)))
def test_a_documented_command_is_taken(
    page: str, line: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "a-value-of-an-example")
    if LEFT_OUT.search(line):
        return
    words = words_of(line)
    before, after = words, None
    if "--" in words:
        before, after = words[: words.index("--")], words[words.index("--") + 1 :]
    if before[:1] == ["--on"]:
        before = before[2:]  # of every command: the computer
    table = commands()
    path, rest = _match(expanded(before, table), table)
    if path not in table:
        assert not rest or before[0] in ("help", "--version", "version", *SHORT) or rest == ["--help"], (page, line)
        return
    command, prog = table[path], "pyro " + " ".join(path)
    if isinstance(command, Operation):
        try:
            parse(command, prog, rest, after)
        except InvalidInput as error:
            # A file of the example's is not here, a folder means its workspace, and a text may name an option alone.
            missing = (error.details or {}).get("missing") == "workspace"
            named = f"{line.split()[-1]}: expected one argument" in str(error)
            if error.code not in ("file_unreadable", "stdin_is_terminal") and not missing and not named:
                raise
        return
    assert run([*path, "--help"]) == 0
    help_text = capsys.readouterr().out
    for word in rest:
        if word.startswith("--"):
            assert re.search(rf"(?<![\w-]){re.escape(word.partition('=')[0])}(?![\w-])", help_text), (page, word)
