"""Where the daemon is: on this computer, or on another one that is reached over ssh.

`PYRO_ON`, `pyro --on` and `Pyro(on=...)` name it, by an address `ssh://[USER@]HOST[:PORT][/PROGRAM]` or by the name of
a context (`pyro context add`); `pyro context use` chooses one for every command. PROGRAM is pyro's on that computer.
"""

from __future__ import annotations

import json
import os
import re

from pyro_mcp.errors import HostError, InvalidInput
from pyro_mcp.locations import ON, Locations
from pyro_mcp.plain import Plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LOCAL = "local"
"""The name of this computer among the contexts."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")
_ADDRESS = re.compile(
    r"ssh://(?:(?P<user>[A-Za-z0-9_.][A-Za-z0-9_.-]*)@)?(?P<host>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_][A-Za-z0-9_.-]*)"
    r"(?::(?P<port>[0-9]{1,5}))?(?P<program>/[^\s?#]*)?\Z"
)
"""Neither user nor host begins with a dash: ssh would take it for an option."""


class Address(Plain):
    """Another computer, as ssh calls it."""

    host: str
    user: str = ""
    port: int = 0
    """0: as the user's ssh configuration says."""
    program: str = ""
    """The path of `pyro` there; empty: the one on the PATH."""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"ssh://{self.user}{'@' * bool(self.user)}{host}{f':{self.port}' if self.port else ''}{self.program}"

    @property
    def target(self) -> str:
        """What ssh is given."""
        return f"{self.user}@{self.host}" if self.user else self.host


def parsed(text: str) -> Address:
    """The computer that an address names.

    Raises:
        InvalidInput: it is no such address.
    """
    found = _ADDRESS.match(text)
    port = int(found["port"] or 0) if found else 0
    if found is None or port > 65535 or (found["port"] and not port):
        raise InvalidInput(
            f"{text!r} is not the address of a computer.",
            hint="Give ssh://USER@HOST, or the name of a context (`pyro context list`).",
            code="bad_address",
        )
    program = (found["program"] or "").rstrip("/")
    return Address(host=found["host"].strip("[]"), user=found["user"] or "", port=port, program=program)


def locations(on: str | None = None) -> Locations:
    """Where the daemon is that is meant: `on`, else what PYRO_ON or the chosen context says, else on this computer.

    Raises:
        InvalidInput: it names no computer.
        HostError: the contexts cannot be read.
    """
    here = Locations.of_this_user()
    named = on if on is not None else os.environ.get(ON) or None
    if named is None:
        if not os.path.lexists(here.contexts_name):
            return here
        named = str(contexts(here)[0])
    if named in ("", LOCAL):
        return here
    if "://" not in named:
        known = contexts(here)[1]
        if named not in known:
            raise InvalidInput(
                f"There is no context {named!r}.",
                hint=f"`pyro context add {named} ssh://USER@HOST` adds it; `pyro context list` shows all.",
                code="unknown_context",
            )
        named = known[named]
    return _of(here, parsed(named))


def check_here(what: str) -> None:
    """See that the daemon of this computer is meant, for what concerns this computer alone.

    Raises:
        InvalidInput: PYRO_ON, `--on` or the chosen context says another one.
    """
    if on := locations().on:
        raise InvalidInput(
            f"{what} is about this computer, and {on} was chosen.", hint="Try: pyro --on local …", code="elsewhere"
        )


def _of(here: Locations, address: Address) -> Locations:
    """Directories of this computer for one that is elsewhere; the caches are shared."""
    import hashlib

    key = hashlib.sha256(str(address).encode()).hexdigest()[:12]
    runtime, state = (os.path.join(root, "on", key) for root in (os.path.dirname(here.socket_name), str(here.state)))
    return Locations(runtime, state, here.cache, on=str(address))


def contexts(here: Locations) -> tuple[str, dict[str, str]]:
    """The name of the chosen context, and the address of each.

    Raises:
        HostError: the file cannot be read, or holds something else.
    """
    place = here.contexts_name
    try:
        with open(place, encoding="utf-8") as file:
            found: dict[str, Any] = json.load(file)
        known = {str(name): str(parsed(str(text))) for name, text in found["contexts"].items()}
        chosen = str(found.get("current") or LOCAL)
    except FileNotFoundError:
        return LOCAL, {}
    except (OSError, ValueError, KeyError, AttributeError, TypeError, InvalidInput) as error:
        raise HostError(
            f"The contexts in {place} cannot be read: {error}.",
            hint="Repair or remove the file, then add them again with `pyro context add`.",
            code="bad_contexts",
        ) from None
    return (chosen if chosen in known else LOCAL), known


def keep_contexts(here: Locations, current: str, known: dict[str, str]) -> None:
    """Write the contexts, whole or not at all."""
    from pyro_mcp.wholeness import write_new

    here.prepare()
    text = json.dumps({"current": current, "contexts": known}, indent=2) + "\n"
    write_new(here.state / "contexts.json", text.encode())


def checked_name(name: str) -> str:
    """A name for a context.

    Raises:
        InvalidInput: it cannot be one.
    """
    if name == LOCAL or not _NAME.match(name):
        raise InvalidInput(
            f"{name!r} is not a name for a context.",
            hint=f"Use letters, digits, `.`, `_` and `-`, 63 at most; `{LOCAL}` is this computer.",
            code="bad_name",
        )
    return name
