"""Answers the first messages of a host while the MCP library still loads.

Importing the library takes half a second, and Codex waits about one second for the tools before it goes on
without them. What a host asks first has answers known beforehand: `initialize`, `server/discover`, `ping` and
`tools/list`. They are given from here, word for word as the library would (a test compares them, for every
revision listed below). Anything else ends the opening; the library then takes over and is shown the
handshake, whose second answer is swallowed.

`Opening` is pure: messages in, answers out.
"""

from __future__ import annotations

from typing import Any

from pyro_mcp.version import VERSION

HANDSHAKE_VERSIONS = ("2025-06-18", "2025-11-25")
STATELESS_VERSION = "2026-07-28"
_META = "io.modelcontextprotocol/"
_NOT_CACHED = {"ttlMs": 0, "cacheScope": "private"}
Message = dict[str, Any]


class Opening:
    """The state of a connection that begins.

    After `answer` gave None for a request, nothing may be asked of it any more.
    """

    def __init__(self, tools: list[Message], instructions: str) -> None:
        self._tools = tools
        self._instructions = instructions
        self._info = {"name": "pyro", "version": VERSION}
        self._version: str | None = None
        self._initialized = False
        self.replay: list[Message] = []
        """What the library must be shown when it takes over, in order."""
        self.swallow: Any = None
        """The id of the request in `replay` that was answered already."""

    def answer(self, message: Any) -> Message | None:
        """The answer to a message; None when the library must take it. Notifications are never answered:
        see `notice`."""
        if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
            return None
        params = message.get("params")
        if not isinstance(params, dict | None) or not isinstance(message.get("id"), int | str):
            return None
        result = self._result(message, params or {})
        return None if result is None else {"jsonrpc": "2.0", "id": message["id"], "result": result}

    def notice(self, message: Any) -> bool:
        """Take the one notification that belongs to the handshake; False when the library must take it."""
        if isinstance(message, dict) and message.get("method") == "notifications/initialized" and self._version:
            self._initialized = True
            self.replay.append(message)
            return True
        return False

    def _result(self, message: Message, params: Message) -> Message | None:
        method = message.get("method")
        meta = params.get("_meta")
        if isinstance(meta, dict) and f"{_META}protocolVersion" in meta:
            return self._stateless(method, params, meta)
        if method == "initialize" and self._version is None:
            return self._initialize(message, params)
        if self._version is None:
            return None
        if method == "ping" and not (params.keys() - {"_meta"}):
            return {}
        if method == "tools/list" and not (params.keys() - {"_meta"}):
            return {"tools": self._tools}
        return None

    def _initialize(self, message: Message, params: Message) -> Message | None:
        asked = params.get("protocolVersion")
        client = params.get("clientInfo")
        well_formed = (
            asked in HANDSHAKE_VERSIONS
            and isinstance(params.get("capabilities"), dict)
            and isinstance(client, dict)
            and isinstance(client.get("name"), str)
            and isinstance(client.get("version"), str)
        )
        if not well_formed:
            return None
        self._version = asked
        self.replay.append(message)
        self.swallow = message["id"]
        return {
            "protocolVersion": asked,
            "capabilities": {"tools": {"listChanged": False}},
            "serverInfo": self._info,
            "instructions": self._instructions,
        }

    def _stateless(self, method: Any, params: Message, meta: Message) -> Message | None:
        known = meta.get(f"{_META}protocolVersion") == STATELESS_VERSION and self._version is None
        if not known or params.keys() - {"_meta"}:
            return None
        if not isinstance(meta.get(f"{_META}clientCapabilities"), dict):
            return None
        stamp = {f"{_META}serverInfo": self._info}
        if method == "server/discover":
            return {
                "_meta": stamp,
                "resultType": "complete",
                **_NOT_CACHED,
                "supportedVersions": [STATELESS_VERSION],
                "capabilities": {"tools": {"listChanged": False}},
                "instructions": self._instructions,
            }
        if method == "tools/list":
            return {"_meta": stamp, "resultType": "complete", **_NOT_CACHED, "tools": self._tools}
        return None
