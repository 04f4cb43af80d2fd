"""Words that people type already: short commands, commands without `--`, units, completion, help."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pyro_mcp.cli import completion
from pyro_mcp.cli.app import _match, commands, run
from pyro_mcp.cli.help import START, WIDTH, group_page, start_page
from pyro_mcp.cli.parsing import parse
from pyro_mcp.cli.words import SAME, SHORT, expanded, nearest_command, number
from pyro_mcp.errors import InvalidInput
from pyro_mcp.operations import Operation


def command(line: str | list[str]) -> tuple[tuple[str, ...], dict[str, Any]]:
    words = line.split() if isinstance(line, str) else line
    before, after = words, None
    if "--" in words:
        before, after = words[: words.index("--")], words[words.index("--") + 1 :]
    path, rest = _match(expanded(before, commands()), commands())
    operation = commands()[path]
    assert isinstance(operation, Operation)
    return path, parse(operation, "pyro " + " ".join(path), rest, after).arguments


@pytest.mark.parametrize(
    ("line", "path", "arguments"),
    [
        ("ls", "workspace list", {}),
        ("ps --label a=b", "workspace list", {"labels": {"a": "b"}}),
        ("workspace ls", "workspace list", {}),
        ("workspace rm w", "workspace delete", {"workspace": "w"}),
        ("rm w", "workspace delete", {"workspace": "w"}),
        ("new debian:12 --seed .", "workspace create", {"environment": "debian:12", "seed_path": "."}),
        ("snapshot ls w", "workspace snapshot list", {"workspace": "w"}),
        ("service show w web", "workspace service status", {"workspace": "w", "name": "web"}),
        ("env ls", "env list", {}),
        ("env inspect debian:12", "env inspect", {"environment": "debian:12"}),
        ("cat w f", "workspace file read", {"workspace": "w", "path": "f", "max_bytes": 1 << 20}),
        ("new --mem 2g --cpus 2", "workspace create", {"mem_mib": 2048, "vcpu_count": 2}),
        ("new --mem-mib=512m --ttl 2h", "workspace create", {"mem_mib": 512, "ttl_seconds": 7200}),
        ("exec w --timeout 30m ls", "workspace exec", {"workspace": "w", "timeout_seconds": 1800.0, "command": "ls"}),
        ("exec w --timeout=1.5 ls", "workspace exec", {"workspace": "w", "timeout_seconds": 1.5, "command": "ls"}),
    ],
)
def test_short_words_and_units(line: str, path: str, arguments: dict[str, Any]) -> None:
    assert command(line) == (tuple(path.split()), arguments)


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        (["exec", "first", "bash", "-c", "echo hi"], {"workspace": "first", "command": ["bash", "-c", "echo hi"]}),
        (["exec", "first", "ls -l | wc"], {"workspace": "first", "command": "ls -l | wc"}),
        (
            ["exec", "first", "-w", "/x", "ls", "--help"],
            {"workspace": "first", "cwd": "/x", "command": ["ls", "--help"]},
        ),
        (["exec", "--cwd=/x", "first", "env", "--", "A=b"], {"workspace": "first", "cwd": "/x", "command": "A=b"}),
        (["run", "uname", "-a"], {"command": ["uname", "-a"]}),
        (["run", "debian:12", "uname", "-a"], {"environment": "debian:12", "command": ["uname", "-a"]}),
        (["run", "--vcpu-count", "2", "./x.sh"], {"vcpu_count": 2, "command": "./x.sh"}),
        (["run", "docker.io/library/node:22", "node"], {"environment": "docker.io/library/node:22", "command": "node"}),
    ],
)
def test_dashes_before_a_command_may_be_left_out(words: list[str], arguments: dict[str, Any]) -> None:
    if words[-2:] == ["--", "A=b"]:  # with dashes, what stands before them is not the command
        with pytest.raises(InvalidInput, match="Unexpected argument"):
            command(words)
        return
    assert command(words)[1] == arguments


def test_every_short_word_leads_somewhere() -> None:
    table = commands()
    groups = {path[:end] for path in table for end in range(1, len(path))}
    for path in SHORT.values():
        assert path in table or path in groups, path
    assert not set(SHORT) & {path[0] for path in table}


@pytest.mark.parametrize(
    ("typed", "below", "meant"),
    [
        ("ls", {"list", "logs"}, "list"),
        ("remove", {"delete", "reset"}, "delete"),
        ("crate", {"create", "delete"}, "create"),
        ("hist", {"history", "list"}, "history"),
        ("xyz", {"create"}, None),
    ],
)
def test_a_wrong_word_is_answered_by_its_meaning(typed: str, below: set[str], meant: str | None) -> None:
    assert nearest_command(typed, below) == meant


HABITS = """
attach=sh bash=sh branch=fork checkout=rewind clone=fork commit=land containers=ls copy=cp describe=inspect
destroy=rm enter=sh events=history fetch=pull get=ls image=env init=new kill=stop launch=new less=cat log=logs
merge=land network=update open=sh pause=stop ports=port processes=top read=cat rebase=land remove=rm rename=update
restart=stop restore=reset resume=start revert=rewind rg=search rollback=reset rsync=cp save=snapshot scp=cp
services=service
setup=doctor show=inspect snapshots=snapshot ssh=sh stash=snapshot suspend=stop tail=logs terminal=sh undo=rewind
unpause=start upload=push vim=edit wait=logs write=edit statu=status lgos=logs exce=exec hlep=help workspce=workspace
"""


@pytest.mark.parametrize("pair", HABITS.split())
def test_words_of_docker_git_and_kubectl_are_answered_by_meaning(pair: str, capsys: pytest.CaptureFixture[str]) -> None:
    typed, meant = pair.split("=")
    assert run([typed, "x"]) == 2
    assert f"Did you mean `pyro {meant}`?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("build", "env build"),
        ("rmi", "env remove"),
        ("prune", "env prune"),
        ("connect", "host connect"),
        ("serve", "mcp serve"),
    ],
)
def test_a_word_may_mean_a_command_of_two(typed: str, meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([typed, "x"]) == 2
    assert f"Did you mean `pyro {meant}`?" in capsys.readouterr().err


def test_no_word_of_another_tool_throws_work_away_unasked() -> None:
    assert {"reset", "delete"}.isdisjoint(SAME[word] for word in SAME.keys() - {"rm", "remove", "del"})


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rm", "-f", "w"], "Deleting never asks"),
        (["run", "-v", "/a:/b", "debian:12", "ls"], "pyro new --seed-path"),
        (["run", "--name", "x", "ls"], "pyro new --name"),
        (["run", "-d", "ls"], "pyro exec -d"),
        (["run", "-p", "80:80", "ls"], "--publish"),
        (["logs", "w", "--tail", "3"], "--offset"),
        (["ls", "--format", "json"], "--json"),
        (["rm", "a", "b c"], "for w in a 'b c'; do pyro workspace delete $w; done"),
    ],
)
def test_an_option_of_another_tool_is_answered_by_what_is_done_here(words: list[str], said: str) -> None:
    with pytest.raises(InvalidInput) as error:
        command(words)
    assert said in error.value.hint


@pytest.mark.parametrize("typed", ["mv", "login", "volume", "apply", "xyzzy", "k"])
def test_a_word_that_means_nothing_here_is_not_guessed(typed: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([typed]) == 2
    said = capsys.readouterr().err
    assert "pyro --help" in said or "pyro cp" in said


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("new --sed .", "--seed-path"),
        ("new --secrets A", "--secret"),
        ("new --memory-mib 5", "--mem-mib"),
        ("exec w --time 5 ls", "--timeout-seconds"),
        ("diff w --sumary", "--summary"),
        ("exec w --enviroment ls", "--env"),
    ],
)
def test_an_option_that_there_is_not_is_answered_by_the_nearest(
    line: str, meant: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PYRO_HOME", str(tmp_path))
    assert run(line.split()) == 2
    said = capsys.readouterr().err
    assert f"Did you mean {meant}?" in said, said


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("mem_mib", "1g", "1024"),
        ("mem_mib", "1.5GiB", "1536"),
        ("disk_gib", "512m", "0.5"),
        ("ttl_seconds", "2h", "7200"),
        ("ttl_seconds", "1d", "86400"),
        ("wait_seconds", "500ms", "0.5"),
        ("max_bytes", "64k", "65536"),
        ("limit", "2h", "2h"),
        ("mem_mib", "2h", "2h"),
    ],
)
def test_units(name: str, text: str, value: str) -> None:
    assert number(name, text) == value


def test_help_fits_80_columns_and_names_real_commands(capsys: pytest.CaptureFixture[str]) -> None:
    table = commands()
    groups = {path[:end] for path in table for end in range(1, len(path))}
    for page in (start_page(), *(group_page(path, table) for path in groups)):
        assert max(len(line) for line in page.splitlines()) <= WIDTH, page
    for _, rows in START:
        for words, _ in rows:
            for one in words.split(", "):
                first = one.split()[0].rstrip(",")
                assert first in SHORT or first == "help" or any(path[0] == first for path in table), first
    for line in (["--help"], ["help"], ["workspace", "--help"], ["help", "workspace"], ["help", "ls"], ["version"]):
        assert run(line) == 0
        assert capsys.readouterr().out
    assert run(["exec", "w", "--cwd", "/x", "--help"]) == 0
    assert "usage: pyro workspace exec" in capsys.readouterr().out


def test_every_help_fits_80_columns(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for path in commands():
        if path[0].startswith("_") or path in (("daemon", "run"),):
            continue
        try:
            assert run([*path, "--help"]) == 0
        except SystemExit as left:
            assert not left.code
        page = capsys.readouterr().out
        assert page.startswith("usage: pyro"), path
        assert max(len(line) for line in page.splitlines()) <= 80, page


def test_completion_without_a_daemon(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PYRO_HOME", str(tmp_path))
    assert completion.choices(["wor"]) == ["workspace"]
    assert {"ls", "new", "env", "help"} <= set(completion.choices([""]))
    assert completion.choices(["workspace", "sn"]) == ["snapshot"]
    assert completion.choices(["snapshot", ""]) == ["create", "delete", "list"]
    assert completion.choices(["new", "--seed"]) == ["--seed-path"]
    assert completion.choices(["exec", "w", "--", ""]) == []
    assert completion.choices(["rm", ""]) == []
    assert not list(tmp_path.iterdir()), "completing starts nothing"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", shell]) == 0
    assert "pyro __complete --" in capsys.readouterr().out


def test_bash_completes_with_the_script(tmp_path: Path) -> None:
    (tmp_path / "pyro").write_text(f'#!/bin/sh\nexec {sys.executable} -m pyro_mcp "$@"\n')
    (tmp_path / "pyro").chmod(0o755)
    script = 'eval "$(pyro completion bash)"; COMP_WORDS=(pyro workspace for); COMP_CWORD=2; _pyro; echo $COMPREPLY'
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYRO_HOME": str(tmp_path / "home")}
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "fork", done.stderr


def test_ctrl_c_in_any_first_moment_is_silent() -> None:
    """Python says what it has just imported; each of these moments is interrupted in a process of its own."""
    said = b""
    for number_of_lines in (60, 140, 220, 300, 400):
        process = subprocess.Popen(
            [sys.executable, "-v", "-m", "pyro_mcp", "workspace", "list", "--help"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        assert process.stderr is not None
        begun = False
        lines = 0
        for line in process.stderr:
            begun = begun or b"pyro_mcp.entry" in line
            lines += begun
            if begun and lines >= number_of_lines:
                process.send_signal(signal.SIGINT)
                break
        said += process.stderr.read()
        assert process.wait(30) in (0, 130, -signal.SIGINT)
    assert b"Traceback" not in said and b"KeyboardInterrupt" not in said
