"""What a coding agent's machine may reach, which host gets the key, and what of the user's is copied in."""

from __future__ import annotations

import base64
import io
import os
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyro_mcp.cli.extra import extras
from pyro_mcp.coding_agents import endpoint, told
from pyro_mcp.coding_agents.machine import environment_name
from pyro_mcp.coding_agents.programs import PROGRAMS, Program
from pyro_mcp.errors import InvalidInput
from pyro_mcp.masking.redaction import Redactor

CLAUDE, CODEX, OPENCODE = (PROGRAMS[name] for name in ("claude-code", "codex", "opencode"))
KEY = "sk-0123456789"


def find(
    program: Program, url: str | None = None, variable: str | None = None, **environment: str
) -> endpoint.Endpoint:
    return endpoint.find(program, url=url, variable=variable, domains=("pypi.org",), environment=environment)


def test_the_makers_host_gets_the_key_and_nothing_else_is_reached() -> None:
    found = find(CLAUDE, ANTHROPIC_API_KEY=KEY)
    assert found.url is None
    assert found.machine == {
        "allow_domains": ["api.anthropic.com", "pypi.org"],
        "secrets": {"ANTHROPIC_API_KEY": KEY},
        "secret_hosts": {"ANTHROPIC_API_KEY": "api.anthropic.com"},
    }
    assert found.command == {"env": {}, "secret_env": {"ANTHROPIC_API_KEY": "ANTHROPIC_API_KEY"}}
    assert find(OPENCODE, OPENROUTER_API_KEY=KEY).domains[0] == "openrouter.ai"


def test_an_endpoint_of_ones_own_gets_the_key_over_tls_alone() -> None:
    found = find(CODEX, "https://models.example.com/v1/", OPENAI_API_KEY=KEY)
    assert (found.url, found.secret_host) == ("https://models.example.com/v1", "models.example.com")
    assert found.domains == ("models.example.com", "pypi.org")
    plain = find(CODEX, "http://models.example.com/v1", OPENAI_API_KEY=KEY)
    assert plain.secret is None and "secrets" not in plain.machine
    assert plain.command["env"] == {"OPENAI_API_KEY": "none"}


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "0.0.0.0", "host.pyro.internal", "api.localhost"])
def test_this_machines_own_port_is_opened_and_no_other(host: str) -> None:
    found = find(CODEX, f"http://{host}:11434/v1")
    assert found.url == "http://host.pyro.internal:11434/v1"
    assert found.machine == {"allow_domains": ["host.pyro.internal", "pypi.org"], "allow_host_ports": ["11434"]}


def test_an_address_of_the_network_around_is_opened_with_its_port_only() -> None:
    assert find(CODEX, "http://[fd00::5]/v1").machine["allow_addresses"] == ["[fd00::5]:80"]
    found = find(CODEX, "http://192.168.1.5:8000/v1")
    assert found.machine == {"allow_domains": ["192.168.1.5", "pypi.org"], "allow_addresses": ["192.168.1.5:8000"]}


@pytest.mark.parametrize(
    "url",
    ["", "x", "ftp://h/", "https://", "http://h:0/", "http://h:99999/", "https://user:pw@h/", "file:///etc/passwd"],
)
def test_what_is_no_endpoint_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput):
        find(CODEX, url, OPENAI_API_KEY=KEY)


@given(st.text(max_size=40))
def test_any_word_is_an_endpoint_or_refused(url: str) -> None:
    try:
        found = find(CODEX, url, OPENAI_API_KEY=KEY)
    except InvalidInput:
        return
    assert found.domains


def test_a_missing_key_is_said_and_a_wrong_variable_too() -> None:
    with pytest.raises(InvalidInput, match="needs a key: none of ANTHROPIC_API_KEY"):
        find(CLAUDE)
    with pytest.raises(InvalidInput, match="reads no key from AWS_SECRET"):
        find(CLAUDE, variable="AWS_SECRET", AWS_SECRET=KEY)
    with pytest.raises(InvalidInput, match="is not set"):
        find(CLAUDE, variable="ANTHROPIC_AUTH_TOKEN", ANTHROPIC_API_KEY=KEY)


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_a_prompt_is_one_argument_whatever_it_says(program: Program) -> None:
    for prompt in ("Fix it.", "--help", "-p", "", "a\nb'\"$(id)"):
        start = program.start(prompt, model="m", url="https://h/v1", key="K", more=["--more"])
        assert start.argv[-1] == prompt and start.argv[-2] == "--"
    assert "--" not in program.start(None, model="m", url=None, key="K", more=[]).argv


def test_opencode_must_be_told_the_model_of_an_endpoint_of_ones_own() -> None:
    with pytest.raises(InvalidInput, match="which model"):
        OPENCODE.start("x", model=None, url="https://h/v1", key="K", more=[])


def test_the_command_line_offers_each_by_its_name_and_title() -> None:
    offered = {extra.words[1]: extra.summary for extra in extras() if extra.words[0] == "agent"}
    for name, program in PROGRAMS.items():
        assert program.title in offered[name]


def test_another_version_or_base_is_another_environment() -> None:
    names = {environment_name(program, base) for program in PROGRAMS.values() for base in ("debian:12", "node:22")}
    assert len(names) == 6


def test_instructions_are_copied_read_only_without_what_holds_the_key(tmp_path: Path) -> None:
    home = tmp_path / ".claude"
    (home / "skills" / "one").mkdir(parents=True)
    (home / "CLAUDE.md").write_text("Say please.")
    (home / "settings.json").write_text("{}")
    (home / "skills" / "one" / "SKILL.md").write_text("how")
    (home / "skills" / "one" / "run.sh").write_text(f"curl -H {KEY}")
    (home / "skills" / "one" / "encoded").write_text(base64.b64encode(f"x:{KEY}".encode()).decode())
    (home / "skills" / "loop").symlink_to(home / "skills")
    os.mkfifo(home / "skills" / "fifo")
    (home / "skills" / "big").write_bytes(b"x" * (told.MAX_FILE + 1))
    (home / "skills" / "dangling").symlink_to("/nowhere")
    data = told.archive(tmp_path, CLAUDE.told, Redactor([KEY]))
    names = [".claude/CLAUDE.md", ".claude/skills/one/SKILL.md"]
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert [(entry.name, entry.mode & 0o222) for entry in tar] == [(name, 0) for name in names]


def test_no_instructions_are_no_archive_and_too_many_are_refused(tmp_path: Path) -> None:
    assert told.archive(tmp_path, CLAUDE.told, Redactor([])) == b""
    (tmp_path / ".claude" / "skills").mkdir(parents=True)
    for number in range(6):
        (tmp_path / ".claude" / "skills" / str(number)).write_bytes(os.urandom(told.MAX_FILE))
    with pytest.raises(InvalidInput, match="--no-instructions"):
        told.archive(tmp_path, CLAUDE.told, Redactor([]))
