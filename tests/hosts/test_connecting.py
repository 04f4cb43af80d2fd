"""`pyro host connect` and `--guard` on configurations as people have them. No host is needed here."""

from __future__ import annotations

import json
import os
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from pyro_mcp import hosts
from pyro_mcp.cli.app import run
from pyro_mcp.hosts import base, connect, guard
from pyro_mcp.hosts.files import Edit

CLAUDE = """\
#!{python}
import json, os, sys
words = sys.argv[1:]
if words == ["--version"]:
    print("0.0.0 (stand-in)"); sys.exit()
at = words.index("--scope")
name, scope = words[at + 2] if words[1] == "add-json" else words[2], words[at + 1]
home = os.environ.get("CLAUDE_CONFIG_DIR") or os.environ["HOME"]
path = ".mcp.json" if scope == "project" else home + "/.claude.json"
data = json.load(open(path)) if os.path.exists(path) else {{}}
place = data.setdefault("projects", {{}}).setdefault(os.getcwd(), {{}}) if scope == "local" else data
servers = place.setdefault("mcpServers", {{}})
if words[1] == "remove":
    servers.pop(name)
elif name in servers:
    sys.exit("exists already")
else:
    servers[name] = json.loads(words[-1])
json.dump(data, open(path, "w"), indent=2)
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's home with a project in it; a stand-in for Claude Code's own command is on the PATH."""
    home = tmp_path / "home"
    (home / "project").mkdir(parents=True)
    (home / "bin").mkdir()
    program = home / "bin" / "claude"
    program.write_text(CLAUDE.format(python=sys.executable))
    program.chmod(0o755)
    for name in ("CLAUDE_CONFIG_DIR", "CODEX_HOME", "OPENCODE_CONFIG_DIR", "XDG_CONFIG_HOME", "PYRO_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "state"))
    monkeypatch.setenv("PATH", f"{home / 'bin'}:/usr/bin:/bin")
    monkeypatch.chdir(home / "project")
    return home


FILES = {
    "claude-code": ".claude.json",
    "codex": ".codex/config.toml",
    "opencode": ".config/opencode/opencode.json",
}
FOREIGN = {
    "claude-code": '{\n  "numStartups": 3,\n  "mcpServers": {\n    "other": {\n      "command": "x"\n    }\n  }\n}',
    "codex": '# mine\nmodel = "gpt" # good\n\n[mcp_servers.other]\ncommand = "x"\n',
    "opencode": '{\n  // mine\n  "model": "m", // good\n  "mcp": {\n    "other": {"command": ["x"]}\n  }\n}\n',
}
BROKEN = {"claude-code": '{"a": ', "codex": "[a\n", "opencode": '{"a": oops}'}
EVERY = pytest.mark.parametrize("name", hosts.NAMES)


def write(home: Path, name: str, text: str) -> Path:
    path = home / FILES[name]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def holds(path: Path) -> dict[str, Any]:
    text = path.read_text()
    data = tomllib.loads(text) if path.suffix == ".toml" else hosts.host("opencode").document(path, text).data
    servers = data.get("mcpServers") or data.get("mcp_servers") or data.get("mcp")
    assert isinstance(servers, dict)
    return servers


def backups(path: Path) -> list[Path]:
    return sorted(path.parent.glob(f"{path.name}.pyro-*"))


@EVERY
def test_a_first_connection_is_found_again(home: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        run(["host", "connect", name, "--profile", "workspace-full", "--network", "off", "--allow-path", "/usr"]) == 0
    )
    entry = hosts.host(name).effective(home / "project")
    assert entry is not None
    assert os.path.isabs(entry.command)
    words = ("mcp", "serve", "--profile", "workspace-full", "--network", "off", "--allow-path", "/usr")
    assert entry.arguments[-len(words) :] == words
    assert hosts.host(name).lacks(entry) == []
    assert entry.path == home / FILES[name]


@EVERY
def test_a_second_connection_changes_nothing(home: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(home, name, FOREIGN[name])
    assert run(["host", "connect", name]) == 0
    first = path.read_bytes(), path.stat().st_mtime_ns
    assert len(backups(path)) == 1
    assert run(["host", "connect", name]) == 0
    assert "already" in capsys.readouterr().out
    assert (path.read_bytes(), path.stat().st_mtime_ns) == first
    assert len(backups(path)) == 1


@EVERY
def test_foreign_entries_and_comments_stay(home: Path, name: str) -> None:
    path = write(home, name, FOREIGN[name])
    assert run(["host", "connect", name]) == 0
    assert set(holds(path)) == {"other", "pyro"}
    if name != "claude-code":
        kept = set(path.read_text().splitlines())
        assert {line for line in FOREIGN[name].splitlines() if "mine" in line or "good" in line} <= kept
    assert backups(path)[0].read_text() == FOREIGN[name]


@EVERY
def test_a_dry_run_shows_the_change_and_makes_none(home: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(home, name, FOREIGN[name])
    assert run(["host", "connect", name, "--dry-run", "--guard"]) == 0
    shown = capsys.readouterr().out
    assert f"+++ {path}" in shown
    assert any(line.startswith("+") and "serve" in line for line in shown.splitlines())
    assert path.read_text() == FOREIGN[name]
    assert backups(path) == []
    assert not (home / ".claude").exists()


@EVERY
def test_a_broken_file_is_refused_and_stays(home: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(home, name, BROKEN[name])
    assert run(["host", "connect", name, "--guard"]) == 1
    assert str(path) in capsys.readouterr().err
    assert path.read_text() == BROKEN[name]
    assert backups(path) == []


@EVERY
def test_an_older_entry_of_ours_is_renewed_and_said(home: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    old = {
        "claude-code": '{"mcpServers": {"pyro": {"command": "/old/pyro", "args": ["mcp","serve"], "env": {"A": "1"}}}}',
        "codex": '[mcp_servers.pyro]\ncommand = "/old/pyro" # old\nargs = ["mcp", "serve"]\nenv = { A = "1" }\n',
        "opencode": '{"mcp": {"pyro": {"command": ["/old/pyro", "mcp", "serve"], "environment": {"A": "1"}}}}',
    }
    path = write(home, name, old[name])
    assert run(["host", "connect", name]) == 0
    assert "/old/pyro mcp serve" in capsys.readouterr().err
    entry = hosts.host(name).effective(home / "project")
    assert entry is not None
    assert entry.command != "/old/pyro"
    assert entry.environment == {"A": "1"}
    assert "/old/pyro" in backups(path)[0].read_text()


@EVERY
def test_another_server_of_that_name_is_replaced_only_when_told(home: Path, name: str) -> None:
    other = {
        "claude-code": '{"mcpServers": {"pyro": {"command": "ppl", "args": []}}}',
        "codex": '[mcp_servers.pyro]\ncommand = "ppl"\n',
        "opencode": '{"mcp": {"pyro": {"type": "local", "command": ["ppl"]}}}',
    }
    path = write(home, name, other[name])
    assert run(["host", "connect", name]) == 1
    assert path.read_text() == other[name]
    assert run(["host", "connect", name, "--replace"]) == 0
    entry = hosts.host(name).effective(home / "project")
    assert entry is not None
    assert entry.ours


@pytest.mark.parametrize("name", ["codex", "opencode"])
def test_a_symbolic_link_stays_one(home: Path, name: str) -> None:
    path = write(home, name, FOREIGN[name])
    real = home / "dotfiles"
    path.rename(real)
    real.chmod(0o640)
    path.symlink_to(real)
    assert run(["host", "connect", name]) == 0
    assert path.is_symlink()
    assert "serve" in real.read_text()
    assert real.stat().st_mode & 0o777 == 0o640
    assert len(backups(real)) == 1


@pytest.mark.parametrize("name", ["codex", "opencode"])
def test_line_ends_of_windows_stay(home: Path, name: str) -> None:
    path = write(home, name, "")
    path.write_bytes(FOREIGN[name].replace("\n", "\r\n").encode())
    assert run(["host", "connect", name, "--guard"]) == 0
    text = path.read_bytes()
    assert b"\n" not in text.replace(b"\r\n", b"")


def test_opencode_keeps_to_the_file_that_there_is(home: Path) -> None:
    folder = home / ".config" / "opencode"
    folder.mkdir(parents=True)
    (folder / "opencode.jsonc").write_text("{\n  // mine\n}\n")
    assert run(["host", "connect", "opencode"]) == 0
    assert not (folder / "opencode.json").exists()
    assert "// mine" in (folder / "opencode.jsonc").read_text()


@pytest.mark.parametrize(
    ("name", "words", "file"),
    [
        ("claude-code", ["--scope", "project"], "project/.mcp.json"),
        ("claude-code", ["--project", "."], ".claude.json"),
        ("codex", ["--project", "."], "project/.codex/config.toml"),
        ("opencode", ["--scope", "project"], "project/opencode.json"),
    ],
)
def test_a_scope_has_its_file(home: Path, name: str, words: list[str], file: str) -> None:
    assert run(["host", "connect", name, *words]) == 0
    entry = hosts.host(name).effective(home / "project")
    assert entry is not None
    assert entry.path == home / file


def test_a_scope_that_the_host_has_not_is_refused(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["host", "connect", "codex", "--scope", "local"]) == 2
    assert "project, user" in capsys.readouterr().err


def test_claude_code_without_its_command_is_refused_with_a_way_out(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "bin" / "claude").unlink()
    assert run(["host", "connect", "claude-code"]) == 1
    assert "print-config" in capsys.readouterr().err
    assert not (home / ".claude.json").exists()


@EVERY
def test_what_print_config_prints_is_what_connect_writes(
    home: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["host", "print-config", name, "--network", "off"]) == 0
    printed = capsys.readouterr().out
    assert run(["host", "connect", name, "--network", "off"]) == 0
    pasted = home / f"pasted{Path(FILES[name]).suffix}"
    pasted.write_text(printed)
    assert holds(pasted)["pyro"] == holds(home / FILES[name])["pyro"]


def test_one_object_is_printed_for_programs(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["host", "connect", "codex", "--guard", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["outcome"] == "added"
    assert {change["path"] for change in said["guard"]["changes"]} >= {"sandbox_mode", "features.shell_tool"}


def test_a_file_that_changes_meanwhile_is_not_overwritten(home: Path) -> None:
    path = write(home, "codex", "a = 1\n")
    edit = Edit(path, "a = 0\n", "a = 2\n")
    with pytest.raises(Exception, match="another program"):
        edit.apply()
    assert path.read_text() == "a = 1\n"


def test_the_command_does_not_depend_on_the_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    link = tmp_path / "pyro"
    link.symlink_to("/bin/true")
    monkeypatch.setattr(sys, "argv", [str(link)])
    assert base.pyro_command() == [str(link)]
    monkeypatch.setattr(sys, "argv", ["/x/pytest"])
    assert os.path.isabs(base.pyro_command()[0])


# -- guard

SETTINGS = {
    "claude-code": (".claude/settings.json", '{\n  "permissions": {\n    "deny": ["Read(.env)"]\n  },\n  "x": 1\n}\n'),
    "codex": (".codex/config.toml", '# mine\nsandbox_mode = "workspace-write" # mine\n\n[features]\nhooks = true\n'),
    "opencode": (".config/opencode/opencode.json", '{\n  // mine\n  "permission": {"bash": {"git *": "allow"}}\n}\n'),
}


@EVERY
def test_a_guard_goes_up_and_comes_down_again(home: Path, name: str) -> None:
    host, project = hosts.host(name), home / "project"
    path = home / SETTINGS[name][0]
    path.parent.mkdir(parents=True)
    path.write_text(SETTINGS[name][1])
    raised = guard.raising(host, "user", project)
    raised.apply()
    assert guard.state(host, "user", project).missing == ()
    assert not guard.raising(host, "user", project).edit.changes
    guard.lowering(host, "user", project).apply()
    assert path.read_text() == SETTINGS[name][1]
    assert not guard.state(host, "user", project).asked


@EVERY
def test_a_guard_comes_down_though_the_file_has_changed_since(home: Path, name: str) -> None:
    host, project = hosts.host(name), home / "project"
    path = home / SETTINGS[name][0]
    path.parent.mkdir(parents=True)
    path.write_text(SETTINGS[name][1])
    before = host.document(path, path.read_text()).data
    guard.raising(host, "user", project).apply()
    document = host.document(path, path.read_text())
    document.put(("later",), "theirs")
    path.write_text(document.text)
    guard.lowering(host, "user", project).apply()
    assert host.document(path, path.read_text()).data == {**before, "later": "theirs"}


@EVERY
def test_a_guard_that_made_its_file_takes_it_away(home: Path, name: str) -> None:
    host, project = hosts.host(name), home / "project"
    guard.raising(host, "user", project).apply()
    path = home / SETTINGS[name][0]
    assert path.exists()
    guard.lowering(host, "user", project).apply()
    assert not path.exists()


@EVERY
def test_connect_with_a_guard_and_without_is_the_connection_alone(home: Path, name: str) -> None:
    assert run(["host", "connect", name, "--guard"]) == 0
    assert run(["host", "connect", name, "--unguard"]) == 0
    host = hosts.host(name)
    plan = connect.plan(host, base.server_argv(profile=None, network=None, allow_paths=[]), "user", home / "project")
    assert plan.outcome == "unchanged"
    assert len(guard.state(host, "user", home / "project").missing) == len(host.guard_rules())
    assert run(["host", "connect", name, "--unguard"]) == 1


def test_one_word_for_all_permissions_becomes_the_rule_for_the_others(home: Path) -> None:
    path = write(home, "opencode", '{\n  "permission": "allow" // mine\n}\n')
    host, project = hosts.host("opencode"), home / "project"
    guard.raising(host, "user", project).apply()
    permission = host.document(path, path.read_text()).get(("permission",))
    assert next(iter(permission.items())) == ("*", "allow")
    assert permission["bash"] == "deny"
    path.write_text(path.read_text() + "\n")
    guard.lowering(host, "user", project).apply()
    assert path.read_text() == '{\n  "permission": "allow" // mine\n}\n\n'


@EVERY
def test_what_was_written_between_two_guards_stays_when_they_come_down(home: Path, name: str) -> None:
    host, project = hosts.host(name), home / "project"
    path = home / SETTINGS[name][0]
    guard.raising(host, "user", project).apply()
    rule = host.guard_rules()[0]
    document = host.document(path, path.read_text())
    document.put(rule.path, ["theirs"] if rule.in_list else "theirs")
    document.put(("later",), "theirs")
    path.write_text(document.text)
    assert guard.state(host, "user", project).missing
    guard.raising(host, "user", project).apply()
    assert not guard.state(host, "user", project).missing
    guard.lowering(host, "user", project).apply()
    after = host.document(path, path.read_text())
    assert after.get(("later",)) == "theirs"
    assert after.get(rule.path) == (["theirs"] if rule.in_list else "theirs")
