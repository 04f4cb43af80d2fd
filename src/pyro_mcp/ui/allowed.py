"""What the page may ask of the daemon: operations by name, each with the parameters that a view of it uses."""

from __future__ import annotations

from typing import Any

from pyro_mcp.errors import InvalidInput, NotFound
from pyro_mcp.operations import REGISTRY, Operation

ALLOWED: dict[str, frozenset[str]] = {
    name: frozenset(words.split())
    for name, words in {
        "create_workspace": "environment seed_path name network_policy mem_mib vcpu_count",
        "fork_workspace": "workspace count snapshot",
        "reset_workspace": "workspace snapshot",
        "stop_workspace": "workspace",
        "start_workspace": "workspace",
        "delete_workspace": "workspace",
        "status_workspace": "workspace",
        "history_workspace": "workspace limit",
        "logs_workspace": "workspace handle offset limit grep max_output_bytes wait_seconds",
        "cancel_workspace_exec": "workspace handle",
        "diff_workspace": "workspace path max_bytes summary",
        "list_workspace_files": "workspace path limit",
        "read_workspace_file": "workspace path offset limit byte_offset max_bytes",
        "apply_workspace_patch": "workspace patch",
        "export_workspace": "workspace path output patch",
        "land_workspace": "workspace branch message",
        "list_services": "workspace",
        "logs_service": "workspace name tail grep",
        "stop_service": "workspace name",
        "list_snapshots": "workspace",
        "exec_workspace": "workspace command timeout_seconds wait_seconds max_output_bytes",
        "open_shell": "workspace rows cols",
        "write_shell": "workspace shell text",
        "resize_shell": "workspace shell rows cols",
        "close_shell": "workspace shell",
        "rewind_workspace": "workspace to",
        "update_workspace": "workspace name",
        "list_environments": "",
        "list_questions": "",
        "answer_question": "asked answer",
        "note_workspace": "workspace text path line",
        "list_decisions": "",
        "change_decision": "project host answer",
    }.items()
}


def asked_for(name: str, arguments: Any) -> tuple[Operation, dict[str, Any]]:
    """The operation and its arguments.

    Raises:
        NotFound: the page has no such operation.
        InvalidInput: a parameter that it does not use, or no object.
    """
    parameters = ALLOWED.get(name)
    if parameters is None:
        raise NotFound(f"The page has no operation {name[:64]!r}.", code="unknown_operation")
    if not isinstance(arguments, dict):
        raise InvalidInput("The arguments are no object.", code="bad_request")
    strange = [each for each in arguments if each not in parameters]
    if strange:
        raise InvalidInput(f"{name} has no parameter {strange[0][:64]!r} here.", code="unknown_parameter")
    return REGISTRY[name], arguments
