"""Answers the first messages of a host while the MCP library still loads.

Importing the library takes half a second, and Codex waits about one second for the tools before it goes on
without them. What a host asks first has answers known beforehand: `initialize`, `server/discover`, `ping`, the
lists of tools, prompts and resource templates, and `subscriptions/listen`, with which Claude Code begins. They are
given from here, word for word as the library would (a test compares them, for every revision listed below).
The list of resources may have to ask the daemon: it is put off until the library is there, and holds nothing
else up. Anything else ends the opening; the library then takes over and is shown what has to go on, the
handshake and the subscriptions, whose first words are swallowed the second time.

`Opening` is pure: messages in, answers out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyro_mcp.mcp.catalogue import Catalogue
from pyro_mcp.version import VERSION

HANDSHAKE_VERSIONS = ("2025-06-18", "2025-11-25")
STATELESS_VERSION = "2026-07-28"
_META = "io.modelcontextprotocol/"
_NOT_CACHED = {"ttlMs": 0, "cacheScope": "private"}
_FLAGS = ("toolsListChanged", "promptsListChanged", "resourcesListChanged")
ACKNOWLEDGED = "notifications/subscriptions/acknowledged"
Message = dict[str, Any]


def said(message: Message) -> tuple[str, Any]:
    """What tells one of our messages from the next: its kind, and the request that it belongs to."""
    method = message.get("method")
    if method is None:
        return "answer", message.get("id")
    meta = (message.get("params") or {}).get("_meta") or {}
    return str(method), meta.get(f"{_META}subscriptionId")


class Opening:
    """The state of a connection that begins.

    After `answer` gave None for a request that is not put off, nothing may be asked of it any more.
    """

    def __init__(self, catalogue: Catalogue, nothing_runs: Callable[[], bool] = lambda: True) -> None:
        self._catalogue = catalogue
        self._nothing_runs = nothing_runs
        self._info = {"name": "pyro", "version": VERSION}
        self._version: str | None = None
        self._stateless_begun = False
        self.replay: list[Message] = []
        """What the library must be shown when it takes over, in order."""
        self.swallow: set[tuple[str, Any]] = set()
        """What the library will say to that, and was said already (see `said`)."""

    def answer(self, message: Any) -> Message | None:
        """What to say to a message; None when the library must take it. Notifications are never answered:
        see `notice`."""
        if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
            return None
        params = message.get("params")
        number = message.get("id")
        if not isinstance(params, dict | None) or not isinstance(number, int | str):
            return None
        if message.get("method") == "subscriptions/listen":
            return self._listen(message, params or {})
        result = self._result(message, params or {})
        return None if result is None else {"jsonrpc": "2.0", "id": number, "result": result}

    def puts_off(self, message: Any) -> bool:
        """Whether a request that was not answered can wait for the library without holding others up."""
        begun = self._version is not None or self._stateless_begun
        return begun and isinstance(message, dict) and message.get("method") == "resources/list" and "id" in message

    def notice(self, message: Any) -> bool:
        """Take the one notification that belongs to the handshake; False when the library must take it."""
        if isinstance(message, dict) and message.get("method") == "notifications/initialized" and self._version:
            self.replay.append(message)
            return True
        return False

    def _result(self, message: Message, params: Message) -> Message | None:
        method = message.get("method")
        meta = params.get("_meta")
        if isinstance(meta, dict) and f"{_META}protocolVersion" in meta:
            return self._stateless(method, params, meta)
        if method == "initialize" and self._version is None and not self._stateless_begun:
            return self._initialize(message, params)
        if self._version is None or params.keys() - {"_meta"}:
            return None
        return {} if method == "ping" else self._list(method)

    def _list(self, method: Any) -> Message | None:
        """One of the lists; None for another method, or where the answer is not known beforehand."""
        catalogue = self._catalogue
        if method == "tools/list":
            return {"tools": catalogue.tools}
        if method == "prompts/list" and catalogue.prompts:
            return {"prompts": catalogue.prompts}
        if method == "resources/templates/list" and catalogue.templates:
            return {"resourceTemplates": catalogue.templates}
        if method == "resources/list" and catalogue.templates and self._nothing_runs():
            return {"resources": []}
        return None

    def _capabilities(self, listens: bool) -> Message:
        offered: Message = {"tools": {"listChanged": listens}}
        if self._catalogue.prompts:
            offered["prompts"] = {"listChanged": listens}
        if self._catalogue.templates:
            offered["resources"] = {"subscribe": listens, "listChanged": listens}
        return offered

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
        self.swallow.add(("answer", message["id"]))
        return {
            "protocolVersion": asked,
            "capabilities": self._capabilities(False),
            "serverInfo": self._info,
            "instructions": self._catalogue.instructions,
        }

    def _is_stateless(self, meta: Any) -> bool:
        return (
            isinstance(meta, dict)
            and self._version is None
            and meta.get(f"{_META}protocolVersion") == STATELESS_VERSION
            and isinstance(meta.get(f"{_META}clientCapabilities"), dict)
        )

    def _stateless(self, method: Any, params: Message, meta: Message) -> Message | None:
        if not self._is_stateless(meta) or params.keys() - {"_meta"}:
            return None
        self._stateless_begun = True
        envelope = {"_meta": {f"{_META}serverInfo": self._info}, "resultType": "complete", **_NOT_CACHED}
        if method == "server/discover":
            return {
                **envelope,
                "supportedVersions": [STATELESS_VERSION],
                "capabilities": self._capabilities(self._catalogue.listens),
                "instructions": self._catalogue.instructions,
            }
        listed = self._list(method)
        return None if listed is None else {**envelope, **listed}

    def _listen(self, message: Message, params: Message) -> Message | None:
        """Acknowledge a subscription; the library carries it on."""
        wanted = params.get("notifications")
        meta = params.get("_meta")
        if not self._is_stateless(meta) or not self._catalogue.listens or not isinstance(wanted, dict):
            return None
        if params.keys() - {"_meta", "notifications"} or wanted.keys() - {*_FLAGS, "resourceSubscriptions"}:
            return None
        addresses = wanted.get("resourceSubscriptions", [])
        if not all(isinstance(wanted.get(flag, False), bool) for flag in _FLAGS) or not isinstance(addresses, list):
            return None
        if not all(isinstance(address, str) for address in addresses):
            return None
        self._stateless_begun = True
        honoured: Message = {flag: True for flag in _FLAGS if wanted.get(flag)}
        if addresses:
            honoured["resourceSubscriptions"] = addresses
        acknowledged: Message = {
            "jsonrpc": "2.0",
            "method": ACKNOWLEDGED,
            "params": {"_meta": {f"{_META}subscriptionId": message["id"]}, "notifications": honoured},
        }
        self.replay.append(message)
        self.swallow.add(said(acknowledged))
        return acknowledged
