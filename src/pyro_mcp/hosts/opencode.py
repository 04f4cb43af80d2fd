"""OpenCode. Its JSON with comments is edited here: `opencode mcp add` sets no timeout.

Files: `~/.config/opencode/opencode.json` or `.jsonc` (scope user), the same in the project (scope project).
Measured with 1.18.33.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pyro_mcp.errors import Conflict
from pyro_mcp.hosts import probe
from pyro_mcp.hosts.base import CALL_SECONDS, SERVER, Entry, Host, Launch, Rule, Scope, Seen
from pyro_mcp.hosts.documents import MISSING, Document, JsonDocument

_OWN_TOOLS = ("bash", "shell", "edit", "write", "patch", "apply_patch", "multiedit")


class OpenCode(Host):
    name = "opencode"
    title = "OpenCode"
    program = "opencode"
    package = "opencode-ai"
    scopes = ("project", "user")
    quiet: ClassVar[Mapping[str, str]] = {
        "OPENCODE_DISABLE_AUTOUPDATE": "1",
        "OPENCODE_DISABLE_MODELS_FETCH": "1",
        "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
        "OPENCODE_DISABLE_DEFAULT_PLUGINS": "1",
    }

    def file(self, scope: Scope, project: Path) -> Path:
        """The one that has pyro's entry, else the one that exists, else opencode.json."""
        if scope == "project":
            folder = project
        else:
            moved = os.environ.get("OPENCODE_CONFIG_DIR")
            base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
            folder = Path(moved) if moved else Path(base) / "opencode"
        existing = [path for name in ("opencode.jsonc", "opencode.json") if (path := folder / name).exists()]
        for path in existing:
            try:
                if self.load(path)[1].get(self.place(scope, project)) is not MISSING:
                    return path
            except Conflict:
                return path
        return existing[0] if existing else folder / "opencode.json"

    def document(self, path: Path, text: str) -> Document:
        return JsonDocument(path, text)

    def place(self, scope: Scope, project: Path) -> tuple[str, ...]:
        return ("mcp", SERVER)

    def entry(self, argv: Sequence[str]) -> dict[str, Any]:
        return {"type": "local", "command": list(argv), "enabled": True, "timeout": CALL_SECONDS * 1000}

    def read_entry(self, scope: Scope, path: Path, value: Any) -> Entry:
        command = value.get("command")
        words = [str(word) for word in command] if isinstance(command, list) else []
        return Entry(
            scope,
            path,
            words[0] if words else "",
            tuple(words[1:]),
            dict(value.get("environment") or {}),
            value,
            enabled=value.get("enabled") is not False,
        )

    def lacks(self, entry: Entry) -> list[str]:
        timeout = entry.settings.get("timeout")
        return [] if isinstance(timeout, int) and timeout >= 60_000 else [f"timeout = {CALL_SECONDS}000"]

    def guard_file(self, scope: Scope, project: Path) -> Path:
        return self.file(scope, project)

    def guard_rules(self) -> list[Rule]:
        return [
            Rule(("permission", "bash"), "deny", says="its shell is denied"),
            Rule(("permission", "edit"), "deny", says="its editing tools are denied"),
            Rule(("permission", f"{SERVER}_*"), "allow", says="pyro's tools are allowed"),
        ]

    def launch(self, url: str, scratch: Path) -> Launch:
        provider = {
            "npm": "@ai-sdk/openai-compatible",
            "options": {"baseURL": f"{url}/v1", "apiKey": probe.KEY},
            "models": {"none": {"name": "none", "tool_call": True}},
        }
        more = {"provider": {"pyro_probe": provider}, "enabled_providers": ["pyro_probe"]}
        argv = (self.executable() or self.program, "run", "--format", "json", "--model", "pyro_probe/none", "ping")
        return Launch(argv, {**self.quiet, "OPENCODE_CONFIG_CONTENT": json.dumps(more), "XDG_DATA_HOME": str(scratch)})

    def seen(self, request: Mapping[str, Any]) -> Seen | None:
        tools = tuple(name for tool in request.get("tools") or () for name in probe.names(tool))
        if not tools:
            return None  # such as the request for a title
        pyro = any(tool.startswith(f"{SERVER}_") for tool in tools)
        return Seen(tools, pyro, tuple(tool for tool in tools if tool in _OWN_TOOLS))
