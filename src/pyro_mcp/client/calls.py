"""What a call is, whichever transport carries it: arguments made ready, headers, the final record."""

from __future__ import annotations

import os

from pyro_mcp.definitions.standing import spelled_out
from pyro_mcp.errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyro_mcp.definitions.operation import Operation
    from pyro_mcp.vocabulary import Face


def made_absolute(operation: Operation, arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments with paths of this computer absolute: the daemon has another working directory.

    A record stands for its name (`operations.standing`).

    `~` is the caller's home directory. Symbolic links are left as they are. PYRO_ENGINE is the caller's, too: the
    daemon may have been started by another one.
    """
    ready = spelled_out(operation, arguments)
    if operation.name == "create_workspace" and ready.get("engine", "auto") == "auto" and os.environ.get("PYRO_ENGINE"):
        ready["engine"] = os.environ["PYRO_ENGINE"]
    environment, output = ready.get("environment"), ready.get("output")
    if isinstance(environment, str) and ":" in environment:
        ready["environment"] = _absolute_image(environment)
    if operation.name == "export_environment" and isinstance(output, str) and output:
        ready["output"] = _absolute_image(output if output.startswith("oci:") else f"oci:{output}")
    for name in operation.host_paths:
        if name not in ready:
            continue
        value = ready[name]
        if isinstance(value, dict):
            ready[name] = {key: _absolute(path) for key, path in value.items()}
        else:
            ready[name] = _absolute(value)
    return ready


def _absolute_image(reference: str) -> str:
    from pyro_mcp.paths import absolute_image  # with pathlib, which is slow to import

    return absolute_image(reference)


def _absolute(path: Any) -> Any:
    """What is not a path is left to those who check it."""
    if isinstance(path, os.PathLike):
        path = os.fspath(path)
    if not isinstance(path, str) or not path:
        return path
    try:
        absolute = os.path.abspath(os.path.expanduser(path))
    except FileNotFoundError:
        raise InvalidInput(
            f"{path!a} is relative, and the present directory has been deleted.",
            hint="Change to another directory, or give an absolute path.",
            code="folder_gone",
        ) from None
    return absolute + "/" if path.endswith("/") and absolute != "/" else absolute  # it says that a directory is meant


def headers(face: Face, client: str, events: bool, outputs: bool = True, project: str | None = None) -> dict[str, str]:
    """The headers that tell the daemon who calls, and what it wants to hear meanwhile."""
    fields: dict[str, str] = {"Pyro-Face": face}
    if client:
        fields["Pyro-Client"] = client
    if project is not None:
        from urllib.parse import quote

        fields["Pyro-Project"] = quote(os.fsencode(project))
    if events:
        fields["Pyro-Events"] = "all" if outputs else "no-output"
    return fields
