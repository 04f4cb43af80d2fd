"""Which records may stand where an operation wants a name: a `Workspace` for its id, a `Snapshot` for its name."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from pyro_mcp.definitions.operation import Operation

_BY_PARAMETER: Mapping[str, Mapping[str, str]] = {
    "workspace": {"Workspace": "id"},
    "handle": {"ExecResult": "handle", "CommandRecord": "handle", "Service": "handle"},
    "shell": {"Shell": "shell"},
    "snapshot": {"Snapshot": "name"},
    "environment": {"Environment": "name"},
}
_OF_NAME: Mapping[str, Mapping[str, str]] = {
    "delete_snapshot": {"Snapshot": "name"},
    **{name: {"Service": "name"} for name in ("status_service", "logs_service", "stop_service")},
}
"""Where the parameter is called `name`."""


def records_for(operation: Operation, parameter: str) -> Mapping[str, str]:
    """The records' names, each with the field that is meant."""
    return _OF_NAME.get(operation.name, {}) if parameter == "name" else _BY_PARAMETER.get(parameter, {})


def spelled_out(operation: Operation, arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments with names in the place of records; all else is as it was."""
    ready = dict(arguments)
    for name, given in arguments.items():
        if given is None or isinstance(given, str) or not (wanted := records_for(operation, name)):
            continue
        from pyro_mcp import models

        for record, field in wanted.items():
            if isinstance(given, getattr(models, record)):
                ready[name] = getattr(given, field)
    return ready
