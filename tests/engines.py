"""Which engines a run of the suite uses. tests/conftest.py makes them the parameter of each test that has a daemon."""

from __future__ import annotations

from contextlib import suppress
from functools import cache

from pyro_mcp.errors import PyroError
from pyro_mcp.machines.host_checks import kvm_opens
from pyro_mcp.sdk import Pyro
from tests.support import Installation

ENGINES = ("gvisor", "firecracker")
CHOICES = ("here", "all", *ENGINES)


@cache
def lacking() -> dict[str, str]:
    """What this computer lacks for an engine, by pyro's own probe, which has a deadline and keeps its verdict.

    gVisor needs nothing that could be lacking where Firecracker cannot run: then it is never skipped, but fails.
    """
    if not kvm_opens():
        return {"firecracker": "/dev/kvm does not exist, or this user may not open it"}
    try:
        with Installation() as installation, installation.active(), Pyro() as client:
            with suppress(PyroError):  # what cannot be fetched is lacking, and said to be so
                client.doctor(fix=True)
            found = {status.name: status for status in client.doctor().engines}
    except PyroError as error:
        return {"firecracker": f"pyro's probe failed: {error}"}
    lacks = {name: status.detail for name, status in found.items() if not status.ok}
    return {name: detail for name, detail in lacks.items() if name == "firecracker" or "firecracker" not in lacks}


def chosen(option: str) -> tuple[str, ...]:
    """The engines that --engine means, the one that «auto» prefers last."""
    if option == "here":
        return tuple(name for name in ENGINES if name not in lacking())
    return ENGINES if option == "all" else (option,)
