"""Every error that pyro raises on purpose, on one page.

There are two levels: `PyroError` and its kinds. Each error's message says what was wrong and what
holds now, its `hint` what to do next, and its `code` is a stable word that programs can match. The kind
decides the command line's exit status. Errors cross the daemon's socket as records
(`to_record` / `from_record`) and come out as the same class on the other side.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar


class PyroError(Exception):
    """Base of all errors of pyro.

    Attributes:
        message: what was wrong and what holds now, in one or two sentences.
        hint: what to do next; empty when there is nothing to do.
        code: a stable word in lower case, with underscores.
        details: further facts, JSON-compatible.
    """

    kind: ClassVar[str] = "error"
    default_code: ClassVar[str] = "error"
    exit_status: ClassVar[int] = 1

    def __init__(
        self, message: str, *, hint: str = "", code: str | None = None, details: dict[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code or self.default_code
        self.details = details or {}

    def __str__(self) -> str:
        # A message of several lines ends with something quoted, which the advice must not be glued to.
        return f"{self.message}{chr(10) if chr(10) in self.message else ' '}{self.hint}".strip()

    def to_record(self) -> dict[str, Any]:
        """The error as it crosses a socket or is printed with `--json`."""
        return {
            "kind": self.kind,
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "details": self.details,
        }


class InvalidInput(PyroError):
    """The call itself is invalid: a bad name, path, number, patch or archive. Nothing was changed."""

    kind = "invalid_input"
    default_code = "invalid_input"
    exit_status = 2


class NotFound(PyroError):
    """Something named in the call does not exist: a workspace, environment, file or handle."""

    kind = "not_found"
    default_code = "not_found"


class Conflict(PyroError):
    """The call is valid but the current state does not allow it: a name in use, an existing file, a busy workspace."""

    kind = "conflict"
    default_code = "conflict"


class PatchMismatch(Conflict):
    """A patch does not fit the files. Nothing was changed; the message names the file, hunk and nearest lines."""

    kind = "patch_mismatch"
    default_code = "patch_does_not_fit"


class NotPermitted(PyroError):
    """The user's settings or this computer forbid it; the hint says how the user can allow it."""

    kind = "not_permitted"
    default_code = "not_permitted"


class Unsupported(PyroError):
    """This engine, profile or version cannot do it."""

    kind = "unsupported"
    default_code = "unsupported"


class EngineError(PyroError):
    """The engine could not boot, restore, snapshot or stop a machine."""

    kind = "engine"
    default_code = "engine_failed"


class MachineLost(EngineError):
    """A machine is gone for good; the message says why. It is never replaced silently."""

    kind = "machine_lost"
    default_code = "machine_lost"


class GuestError(PyroError):
    """The agent inside the machine refused an operation."""

    kind = "guest"
    default_code = "guest_failed"


class GuestUnreachable(GuestError):
    """The agent did not answer; the machine may still be running, so the call can be retried."""

    kind = "guest_unreachable"
    default_code = "guest_unreachable"


class ComponentMissing(PyroError):
    """A program or kernel feature that pyro needs is not on this computer."""

    kind = "component_missing"
    default_code = "component_missing"


class HostError(PyroError):
    """This computer refuses: its disk is full or read-only, or it has no memory or descriptors left."""

    kind = "host"
    default_code = "host_refuses"


class DaemonUnavailable(PyroError):
    """The daemon could not be started or went away during the call."""

    kind = "daemon_unavailable"
    default_code = "daemon_unavailable"


class Cancelled(PyroError):
    """The operation was cancelled by its caller."""

    kind = "cancelled"
    default_code = "cancelled"


class InternalError(PyroError):
    """A bug in pyro. The daemon's log has the traceback."""

    kind = "internal"
    default_code = "internal"


def _all_kinds(cls: type[PyroError]) -> dict[str, type[PyroError]]:
    kinds = {cls.kind: cls}
    for sub in cls.__subclasses__():
        kinds.update(_all_kinds(sub))
    return kinds


def from_record(record: dict[str, Any]) -> PyroError:
    """The error that `to_record` wrote; an unknown kind becomes a plain `PyroError`."""
    cls = _all_kinds(PyroError).get(str(record.get("kind")), PyroError)
    return cls(
        str(record.get("message", "unknown error")),
        hint=str(record.get("hint", "")),
        code=str(record.get("code", cls.default_code)),
        details=dict(record.get("details") or {}),
    )
