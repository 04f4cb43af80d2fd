"""Codex. `codex mcp add` cannot set timeouts nor `required`, so its TOML is edited here, comments and all kept.

Files: `$CODEX_HOME/config.toml` (scope user), `.codex/config.toml` in a trusted project (scope project).
Codex waits about one second for a server's tools unless the entry says `required`, and passes the server nothing of
the environment but HOME, LANG, PATH and TERM: the rest is named in `env_vars`. Measured with 0.169.0.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pyro_mcp.hosts import probe
from pyro_mcp.hosts.base import (
    CALL_SECONDS,
    PASSED_ON,
    SERVER,
    START_SECONDS,
    Entry,
    Host,
    Launch,
    Rule,
    Scope,
    Seen,
)
from pyro_mcp.hosts.documents import Document, TomlDocument

_KEPT = ("HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER")
_RUNS_COMMANDS = ("exec_command", "shell", "shell_command", "local_shell", "unified_exec")
_NESTED = re.compile(r"declare const tools: \{ (\w+)\(")
"""In its JavaScript mode Codex describes the tools inside the description of one."""


class Codex(Host):
    name = "codex"
    title = "Codex"
    program = "codex"
    package = "@openai/codex"
    scopes = ("project", "user")

    def file(self, scope: Scope, project: Path) -> Path:
        if scope == "project":
            return project / ".codex" / "config.toml"
        moved = os.environ.get("CODEX_HOME")
        return (Path(moved) if moved else Path.home() / ".codex") / "config.toml"

    def document(self, path: Path, text: str) -> Document:
        return TomlDocument(path, text)

    def place(self, scope: Scope, project: Path) -> tuple[str, ...]:
        return ("mcp_servers", SERVER)

    def entry(self, argv: Sequence[str]) -> dict[str, Any]:
        return {
            "command": argv[0],
            "args": list(argv[1:]),
            "env_vars": list(PASSED_ON),
            "startup_timeout_sec": START_SECONDS,
            "tool_timeout_sec": CALL_SECONDS,
            "required": True,
        }

    def read_entry(self, scope: Scope, path: Path, value: Any) -> Entry:
        return Entry(
            scope,
            path,
            str(value.get("command", "")),
            tuple(map(str, value.get("args") or ())),
            dict(value.get("env") or {}),
            value,
            enabled=value.get("enabled") is not False,
        )

    def server_environment(self, entry: Entry) -> dict[str, str]:
        names = {*_KEPT, *(name for name in entry.settings.get("env_vars") or () if isinstance(name, str))}
        return {**{name: os.environ[name] for name in names if name in os.environ}, **entry.environment}

    def lacks(self, entry: Entry) -> list[str]:
        said = [f"{name} = {CALL_SECONDS}" for name in ("tool_timeout_sec",) if not _at_least(entry, name, 60)]
        said += [f"startup_timeout_sec = {START_SECONDS}"] if not _at_least(entry, "startup_timeout_sec", 10) else []
        said += ["required = true"] if entry.settings.get("required") is not True else []
        passed = {str(name) for name in entry.settings.get("env_vars") or ()} | set(entry.environment)
        lost = [name for name in PASSED_ON[:4] if name in os.environ and name not in passed]
        return said + [f"env_vars with {name}" for name in lost]

    def guard_file(self, scope: Scope, project: Path) -> Path:
        return self.file(scope, project)

    def guard_rules(self) -> list[Rule]:
        return [
            Rule(("features", "shell_tool"), False, says="the shell tool is off"),
            Rule(("sandbox_mode",), "read-only", says="its own patches change nothing without asking you"),
            Rule(
                ("mcp_servers", SERVER, "default_tools_approval_mode"),
                "approve",
                says="all of pyro's tools are allowed",
            ),
        ]

    def launch(self, url: str, scratch: Path) -> Launch:
        provider = f'{{name = "pyro", base_url = "{url}/v1", wire_api = "responses", env_key = "PYRO_PROBE_KEY"}}'
        settings = {
            "model_provider": '"pyro_probe"',
            "model_providers.pyro_probe": provider,
            "features.enable_request_compression": "false",
            "features.hooks": "false",
            "analytics.enabled": "false",
            "check_for_update_on_startup": "false",
        }
        argv = [self.executable() or self.program, "exec", "--json", "--ephemeral", "--skip-git-repo-check"]
        for name, value in settings.items():
            argv += ["-c", f"{name}={value}"]
        return Launch((*argv, "ping"), {"PYRO_PROBE_KEY": probe.KEY})

    def seen(self, request: Mapping[str, Any]) -> Seen | None:
        if "input" not in request:
            return None
        tools = tuple(dict.fromkeys(_tools(request)))
        text = json.dumps(request["input"], ensure_ascii=False)
        pyro = any(tool.startswith(f"mcp__{SERVER}") for tool in tools) or f"- mcp__{SERVER}:" in text
        # A model that is given no patch tool may still have one by its catalogue: the sandbox decides about both.
        read_only = "`sandbox_mode` is `read-only`" in text
        ways = [tool for tool in tools if tool in _RUNS_COMMANDS]
        ways += [] if read_only else ["apply_patch"]
        return Seen(tools, pyro, tuple(ways))


def _at_least(entry: Entry, name: str, least: float) -> bool:
    value = entry.settings.get(name)
    return isinstance(value, int | float) and value >= least


def _tools(request: Mapping[str, Any]) -> Iterator[str]:
    lists = [request.get("tools")]
    lists += [item.get("tools") for item in request["input"] if isinstance(item, dict)]
    for tool in (tool for found in lists if isinstance(found, list) for tool in found):
        yield from probe.names(tool)
        for inner in [tool, *(tool.get("tools") or [])] if isinstance(tool, dict) else []:
            yield from _NESTED.findall(str(inner.get("description", "")))
