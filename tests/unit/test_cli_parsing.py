"""From words to arguments, and from results to text."""

from __future__ import annotations

import datetime
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from pyro_mcp.cli.app import _match, commands, run
from pyro_mcp.cli.figures import ago, duration, size
from pyro_mcp.cli.parsing import Parsed, parse
from pyro_mcp.cli.render import render
from pyro_mcp.errors import InvalidInput
from pyro_mcp.operations import REGISTRY, Operation


def parsed(line: list[str]) -> Parsed:
    before, after = line, None
    if "--" in line:
        before, after = line[: line.index("--")], line[line.index("--") + 1 :]
    path, rest = _match(before, commands())
    operation = commands()[path]
    assert isinstance(operation, Operation)
    return parse(operation, "pyro " + " ".join(path), rest, after)


def arguments(*line: str) -> dict[str, Any]:
    return parsed(list(line)).arguments


def test_options_and_positionals_may_stand_in_any_order() -> None:
    expected = {"workspace": "w", "cwd": "/x", "timeout_seconds": 3.0, "command": ["ls", "-l"]}
    for words in (
        ("w", "--cwd", "/x", "--timeout-seconds", "3"),
        ("--cwd", "/x", "w", "--timeout-seconds=3"),
        ("--cwd=/x", "--timeout-seconds", "3", "w"),
    ):
        assert arguments("workspace", "exec", *words, "--", "ls", "-l") == expected
    assert arguments("workspace", "create", "--name", "n", "debian:12")["environment"] == "debian:12"


def test_one_word_after_the_dashes_is_a_shell_line_and_several_are_arguments() -> None:
    assert arguments("workspace", "exec", "w", "--", "ls -l | wc")["command"] == "ls -l | wc"
    assert arguments("workspace", "exec", "w", "--", "a", "--json", "--", "b c")["command"] == [
        "a",
        "--json",
        "--",
        "b c",
    ]
    assert arguments("run", "--", "true") == {"command": "true"}


def test_pairs_lists_flags_and_negative_numbers() -> None:
    assert arguments("workspace", "create", "--label", "a=1", "--label", "b=x=y")["labels"] == {"a": "1", "b": "x=y"}
    assert arguments("workspace", "update", "w", "--clear-label", "a", "--clear-label", "b")["clear_labels"] == [
        "a",
        "b",
    ]
    assert arguments("workspace", "logs", "w", "--handle", "h", "--offset", "-100")["offset"] == -100
    assert arguments("workspace", "file", "write", "w", "f", "--text", "x", "--no-executable")["executable"] is False
    assert "executable" not in arguments("workspace", "file", "write", "w", "f", "--text", "x")


def test_only_what_was_said_is_sent() -> None:
    assert arguments("workspace", "list") == {}
    assert arguments("workspace", "diff", "w") == {"workspace": "w"}


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("workspace exec w --cwdd /x ls", "no option --cwdd", "--cwd"),
        ("workspace create --see x", "no option --see", "--seed-path"),
        ("workspace create --secretfile x", "no option --secretfile", "--secret-file"),
        ("workspace exec w", "command to run is missing", "-- ls"),
        ("workspace exec w --", "no command after", ""),
        ("workspace exec -- ls", "WORKSPACE is missing", "--help"),
        ("workspace create --netwrk-policy off", "--netwrk-policy", "--network-policy"),
        ("workspace create --network-policy all", "invalid choice", ""),
        ("workspace create --vcpu-count 33", "33 is out of range: 1 to 32", ""),
        ("workspace create --vcpu-count many", "'many' is not a whole number", ""),
        ("workspace create --name ../x", "'../x' is not valid", ""),
        ("workspace create --label x", "KEY=VALUE", ""),
        ("workspace create a b", "Unexpected argument: 'b'", ""),
        ("workspace logs w --wait-seconds nan", "out of range", ""),
        ("workspace file write w f", "--text or --text-file is missing", ""),
        ("workspace file write w f --text a --text-file b", "not both", ""),
        ("workspace file write w f --text-file /nowhere/x", "cannot be read", ""),
        ("workspace list --json --id-only", "Use only one of", ""),
    ],
)
def test_bad_usage_says_what_is_wrong(line: str, message: str, hint: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parsed(line.split())
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert caught.value.exit_status == 2


def test_texts_come_from_files_and_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "f").write_bytes("é\r\n".encode())
    assert arguments("workspace", "file", "write", "w", "x", "--text-file", str(tmp_path / "f"))["text"] == "é\r\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"in\n")))
    assert arguments("workspace", "file", "write", "w", "x", "--text-file", "-")["text"] == "in\n"
    assert arguments("workspace", "exec", "w", "--stdin", "--", "cat")["stdin"] is True
    (tmp_path / "b").write_bytes(b"\xff")
    with pytest.raises(InvalidInput, match="not UTF-8"):
        arguments("workspace", "patch", "apply", "w", "--patch-file", str(tmp_path / "b"))


@pytest.mark.parametrize("op", REGISTRY.values(), ids=lambda op: op.name)
def test_every_command_has_help_with_each_option(op: Operation, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*op.cli, "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: pyro {' '.join(op.cli)}")
    for p in op.takes.values():
        if p.name not in op.positional:
            one = p.name.replace("_", "-").removesuffix("es" if p.name.endswith("sses") else "s")
            assert f"--{one}" in text
            assert f"--{one}e " not in text, "one address, no addresse"


def test_usage_errors_exit_with_2_and_json_stays_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["workspace", "lst"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Did you mean `pyro workspace list`?" in captured.err
    assert run(["--json", "workspace", "exec", "w", "--"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "bad_usage"
    assert run(["workspace", "diff", "w", "--id-only"]) == 2


def test_sizes_durations_and_times_in_words() -> None:
    assert [size(n) for n in (0, 1023, 1536, 20 * 1024 * 1024, None)] == ["0 B", "1023 B", "1.5 KiB", "20 MiB", "-"]
    assert [duration(s) for s in (0.04, 1.5, 600, 7300, 2e6)] == ["40 ms", "1.5 s", "10 min", "2 h", "23 days"]
    now = datetime.datetime(2026, 1, 1, 12, 0, 0, tzinfo=datetime.UTC)
    assert ago("2026-01-01T11:59:48.000Z", now) == "12 s ago"
    assert ago("2026-01-01T12:03:00.000Z", now) == "in 3 min"


def test_tables_align_and_hints_follow_content() -> None:
    entries = [
        {"path": "a", "kind": "file", "size": 5, "mode": "0644", "modified_at": "", "link": None},
        {"path": "bb", "kind": "symlink", "size": 5, "mode": "0777", "modified_at": "", "link": "a"},
    ]
    text = render("FileList", {"entries": entries, "hint": "more"})
    assert text.splitlines() == ["0644  5 B      -  a", "0777  symlink  -  bb -> a", "[more]"]
    assert render("FileContent", {"content": "x\n", "hint": ""}) == "x\n"


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("kit", {"context": "."}),
        ("kit .", {"context": "."}),
        ("kit --context dir", {"context": "dir"}),
        ("-t kit dir", {"context": "dir"}),
        ("dir --tag=kit", {"context": "dir"}),
        ("-t kit", {"context": "."}),
        ("-t kit -f docker/Dockerfile --no-cache .", {"context": ".", "file": "docker/Dockerfile", "again": True}),
    ],
)
def test_a_build_is_named_as_here_or_as_with_docker(line: str, meant: dict[str, Any]) -> None:
    assert parsed(["env", "build", *line.split()]).arguments == {"name": "kit", **meant}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (".", "NAME is missing"),
        ("../dir", "NAME is missing"),
        ("", "NAME is missing"),
        ("kit a --context b", "Unexpected argument: 'a'"),
        ("-t kit a b", "Unexpected argument: 'a'"),
    ],
)
def test_a_build_with_other_words_is_refused(line: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        parsed(["env", "build", *line.split()])
