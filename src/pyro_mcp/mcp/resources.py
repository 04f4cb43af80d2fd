"""The resources: a workspace's diff, the output of a command, the log of a service. Pure, and quick to import.

Each address leads to an operation and its arguments; what comes back is text within a bound. The address is all
there is: no state hangs on a connection.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

from pyro_mcp.operations import Profile

SCHEME = "pyro://workspaces/"
DIFF_BYTES = 60_000
"""Of a patch in a resource: what Claude Code takes in one piece (25,000 tokens), with room to spare."""
LOG_BYTES = 40_000
LOG_LINES = 400


@dataclass(frozen=True)
class Template:
    """A kind of resource. `parts` are the words behind the scheme; those in braces are filled in."""

    parts: tuple[str, ...]
    name: str
    title: str
    description: str
    mime_type: str
    operation: str
    arguments: Mapping[str, Any]
    text: str
    """The field of the result that holds the text."""
    full: bool = False
    """Only where services are offered."""

    @property
    def address(self) -> str:
        return SCHEME + "/".join(self.parts)

    def listed(self) -> dict[str, Any]:
        """As `resources/templates/list` gives it."""
        return {
            "uriTemplate": self.address,
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "mimeType": self.mime_type,
        }


TEMPLATES = (
    Template(
        ("{workspace}", "diff"),
        "workspace_diff",
        "What changed in a workspace",
        "All changes since the baseline as a patch for git apply. {workspace} is an id or a name.",
        "text/x-diff",
        "diff_workspace",
        {"max_bytes": DIFF_BYTES},
        "patch",
    ),
    Template(
        ("{workspace}", "commands", "{handle}", "log"),
        "command_log",
        "The output of a command",
        "Standard output and error as they came: the end, where it is long. {handle} is of workspace_exec.",
        "text/plain",
        "logs_workspace",
        {"offset": -LOG_BYTES, "max_output_bytes": LOG_BYTES},
        "output",
    ),
    Template(
        ("{workspace}", "services", "{name}", "log"),
        "service_log",
        "The log of a service",
        "The last lines that a service printed. {name} is of service_start.",
        "text/plain",
        "logs_service",
        {"tail": LOG_LINES, "max_output_bytes": LOG_BYTES},
        "output",
        full=True,
    ),
)


def templates_of(profile: Profile) -> tuple[Template, ...]:
    if profile == "vm-run":
        return ()
    return tuple(template for template in TEMPLATES if profile == "workspace-full" or not template.full)


def located(profile: Profile, address: str) -> tuple[Template, dict[str, Any]] | None:
    """The kind of resource that an address names, with the arguments of its operation; None for no resource."""
    if not address.startswith(SCHEME) or "?" in address or "#" in address:
        return None
    words = address[len(SCHEME) :].split("/")
    for template in templates_of(profile):
        if len(words) != len(template.parts) or not all(words):
            continue
        arguments = dict(template.arguments)
        for part, word in zip(template.parts, words, strict=True):
            if part.startswith("{"):
                arguments[part[1:-1]] = unquote(word)
            elif part != word:
                break
        else:
            return template, arguments
    return None


def diff_address(workspace: str) -> str:
    return f"{SCHEME}{quote(workspace, safe='')}/diff"


def listed(workspaces: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The diffs of existing workspaces, as `resources/list` gives them."""
    return [
        {
            "uri": diff_address(workspace["id"]),
            "name": f"{workspace.get('name') or workspace['id']}_diff",
            "title": f"What changed in {workspace.get('name') or workspace['id']}",
            "mimeType": "text/x-diff",
        }
        for workspace in workspaces
    ]


def shown(template: Template, record: Mapping[str, Any]) -> str:
    """The text of a resource; what had to be left out is said in its last line."""
    text = str(record.get(template.text) or "")
    hint = str(record.get("hint") or "")
    if hint and (record.get("truncated") or template.text == "output"):
        text += ("" if text.endswith("\n") or not text else "\n") + f"[{hint}]\n"
    return text
