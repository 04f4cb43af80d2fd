"""Which engine runs machines here: the one that is asked for, or by a probe whose verdict is kept.

«auto» takes Firecracker where it and its kernel are installed and a guest boots, else gVisor. The verdict of a
probe holds until this computer restarts, or Firecracker, the kernel or the agent is another.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, cast

from pyro_mcp import enclosure
from pyro_mcp.errors import InvalidInput
from pyro_mcp.machines.components import find_runsc
from pyro_mcp.machines.firecracker.components import fetched_firecracker, find_firecracker, find_jailer
from pyro_mcp.machines.firecracker.engine import FirecrackerEngine
from pyro_mcp.machines.firecracker.kernel import find_kernel, kernel_component
from pyro_mcp.machines.host_checks import kvm_opens
from pyro_mcp.machines.limits import Limits
from pyro_mcp.machines.processes import boot_id
from pyro_mcp.machines.protocol import Probe, RootTree
from pyro_mcp.models import Component
from pyro_mcp.models.base import iso
from pyro_mcp.wholeness import write_new

Wanted = Literal["auto", "firecracker", "gvisor"]
CHOICES = ("auto", "firecracker", "gvisor")


def wanted() -> Wanted:
    """What PYRO_ENGINE asks for.

    Raises:
        InvalidInput: it names no engine.
    """
    named = os.environ.get("PYRO_ENGINE") or "auto"
    if named not in CHOICES:
        raise InvalidInput(f"PYRO_ENGINE is {named!r}; it must be one of {', '.join(CHOICES)}.", code="unknown_engine")
    return cast("Wanted", named)


def firecracker_engine(*, agent: Path, machines: Path, cache: Path, limits: Limits) -> FirecrackerEngine:
    """The engine, whether or not its parts are fetched yet."""
    found = find_firecracker(cache).path
    binary = Path(found) if found else fetched_firecracker(cache)
    return FirecrackerEngine(firecracker=binary, agent=agent, machines=machines, cache=cache, limits=limits)


NO_KVM = "not needed: /dev/kvm cannot be opened here, so gVisor runs the machines"


def find_components(cache: Path) -> list[Component]:
    """The parts of both engines, for `doctor`. Blocks."""
    jailer = (find_jailer,) if enclosure.root_outside() else ()  # an ordinary user has no use for it
    needs_kvm = [look(cache) for look in (find_firecracker, *jailer, kernel_component)]
    if not kvm_opens():
        needs_kvm = [part if part.ok else part.model_copy(update={"remedy": NO_KVM}) for part in needs_kvm]
    return [find_runsc(cache), *needs_kvm]


async def verdict(engine: FirecrackerEngine, cache: Path, *, again: bool = False) -> Probe:
    """Whether a guest boots here: what was found out since this computer started, else or `again` found out now."""
    component, kernel = find_firecracker(cache), find_kernel(cache)
    if not component.ok:
        return Probe(False, f"firecracker is missing: {component.remedy}")
    if kernel is None:
        return Probe(False, "the guest kernel is missing: run `pyro doctor --fix`")
    known = f"{boot_id()} {component.path} {component.version} {kernel.release} {engine.agent_digest()}"
    kept = cache / "firecracker" / f"verdict-{hashlib.sha256(known.encode()).hexdigest()[:16]}.json"
    try:
        record = {} if again else json.loads(kept.read_text())
        return Probe(bool(record["ok"]), f"{record['detail']} (checked at {record['at']})", record["boot_seconds"])
    except (OSError, ValueError, KeyError):
        pass
    # Nothing of an environment is needed: the agent makes the directories that it mounts on.
    tree = cache / "firecracker" / "probe" / "root"
    tree.mkdir(parents=True, exist_ok=True)
    probe = await engine.probe(RootTree("probe", "probe", tree))
    at = iso(datetime.now(UTC))
    for old in kept.parent.glob("verdict-*.json"):
        old.unlink(missing_ok=True)
    write_new(kept, json.dumps({**asdict(probe), "at": at}).encode(), 0o644)
    return probe


async def prefers_firecracker(engine: FirecrackerEngine, cache: Path, asked: Wanted) -> tuple[bool, str]:
    """Whether Firecracker is to be the engine, and why."""
    if asked != "auto":
        return asked == "firecracker", f"{asked} is asked for"
    probe = await verdict(engine, cache)
    return probe.ok, f"Firecracker: {probe.detail}"
