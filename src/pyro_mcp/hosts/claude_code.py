"""Claude Code. Its own command writes its files, for running sessions write them too; what we compute is shown only.

Files: `~/.claude.json` (scopes user and local; `CLAUDE_CONFIG_DIR` moves it), `.mcp.json` in the project (scope
project); permissions in `settings.json`, `.claude/settings.local.json` and `.claude/settings.json`.
Measured with 2.1.329.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pyro_mcp.errors import ComponentMissing
from pyro_mcp.hosts import files, probe
from pyro_mcp.hosts.base import CALL_SECONDS, SERVER, Entry, Host, Launch, Rule, Scope, Seen, git_root
from pyro_mcp.hosts.documents import Document, JsonDocument

OWN_TOOLS = ("Bash", "PowerShell", "Monitor", "REPL", "Edit", "MultiEdit", "Write", "NotebookEdit")
"""What runs commands or changes files here. A denied tool is not offered to the model at all."""


class ClaudeCode(Host):
    name = "claude-code"
    title = "Claude Code"
    program = "claude"
    package = "@anthropic-ai/claude-code"
    scopes = ("local", "project", "user")
    own_command = True
    quiet: ClassVar[Mapping[str, str]] = {
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
        "DISABLE_TELEMETRY": "1",
        "DISABLE_ERROR_REPORTING": "1",
    }

    def file(self, scope: Scope, project: Path) -> Path:
        if scope == "project":
            return project / ".mcp.json"
        moved = os.environ.get("CLAUDE_CONFIG_DIR")
        return (Path(moved) if moved else Path.home()) / ".claude.json"

    def document(self, path: Path, text: str) -> Document:
        return JsonDocument(path, text)

    def place(self, scope: Scope, project: Path) -> tuple[str, ...]:
        if scope == "local":
            # Claude Code keeps a project's settings under the root of its git work tree.
            return ("projects", str(git_root(project) or project), "mcpServers", SERVER)
        return ("mcpServers", SERVER)

    def entry(self, argv: Sequence[str]) -> dict[str, Any]:
        # alwaysLoad: the tools stand in the first request instead of behind a search.
        return {
            "type": "stdio",
            "command": argv[0],
            "args": list(argv[1:]),
            "timeout": CALL_SECONDS * 1000,
            "alwaysLoad": True,
        }

    def read_entry(self, scope: Scope, path: Path, value: Any) -> Entry:
        return Entry(
            scope,
            path,
            str(value.get("command", "")),
            tuple(map(str, value.get("args") or ())),
            dict(value.get("env") or {}),
            value,
        )

    def apply(self, edit: files.Edit, argv: Sequence[str], scope: Scope, project: Path) -> Path | None:
        if not edit.changes:
            return None
        program = self._needed()
        saved = files.backup(edit.path)
        before = self.found(scope, project)
        if before is not None:
            self.run([program, "mcp", "remove", SERVER, "--scope", scope], directory=project)
        try:
            entry = {**(before.settings if before else {}), **self.entry(argv)}
            self._add(program, entry, scope, project)
        except ComponentMissing:
            if before is not None:
                self._add(program, dict(before.settings), scope, project)
            raise
        return saved

    def remove(self, scope: Scope, project: Path) -> Path | None:
        program = self._needed()
        saved = files.backup(self.file(scope, project))
        self.run([program, "mcp", "remove", SERVER, "--scope", scope], directory=project)
        return saved

    def _needed(self) -> str:
        program = self.executable()
        if program is None:
            raise ComponentMissing(
                "Claude Code is not installed: `claude`, which must write its configuration, is not on the PATH.",
                hint=f"Install it (npm: {self.package}), or edit {self.file('user', Path.cwd())} yourself: "
                f"`pyro host print-config {self.name}` prints pyro's entry.",
                code="host_missing",
            )
        return program

    def _add(self, program: str, entry: Mapping[str, Any], scope: Scope, project: Path) -> None:
        self.run([program, "mcp", "add-json", "--scope", scope, SERVER, json.dumps(entry)], directory=project)

    def lacks(self, entry: Entry) -> list[str]:
        timeout = entry.settings.get("timeout")
        return [] if isinstance(timeout, int) and timeout >= CALL_SECONDS * 1000 else [f"timeout = {CALL_SECONDS}000"]

    def guard_file(self, scope: Scope, project: Path) -> Path:
        if scope == "user":
            moved = os.environ.get("CLAUDE_CONFIG_DIR")
            return (Path(moved) if moved else Path.home() / ".claude") / "settings.json"
        return project / ".claude" / ("settings.local.json" if scope == "local" else "settings.json")

    def guard_rules(self) -> list[Rule]:
        deny = [Rule(("permissions", "deny"), tool, True, f"{tool} is denied") for tool in OWN_TOOLS]
        return [*deny, Rule(("permissions", "allow"), f"mcp__{SERVER}", True, "pyro's tools are allowed")]

    def launch(self, url: str, scratch: Path) -> Launch:
        argv = (
            *(self.executable() or self.program, "-p", "ping", "--output-format", "stream-json", "--verbose"),
            *("--no-session-persistence", "--settings", json.dumps({"disableAllHooks": True})),
        )
        quiet = {**self.quiet, "ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": probe.KEY}
        return Launch(argv, quiet)

    def seen(self, request: Mapping[str, Any]) -> Seen | None:
        return None  # the request leaves out what is deferred; the first line of output does not

    def seen_line(self, line: bytes) -> Seen | None:
        try:
            event = json.loads(line)
        except ValueError:
            return None
        if not isinstance(event, dict) or (event.get("type"), event.get("subtype")) != ("system", "init"):
            return None
        tools = tuple(map(str, event.get("tools") or ()))
        pyro = any(tool.startswith(f"mcp__{SERVER}__") for tool in tools)
        return Seen(tools, pyro, tuple(tool for tool in tools if tool in OWN_TOOLS))
