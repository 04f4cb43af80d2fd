"""What the engine's verbs cost, as ratios to bare Firecracker in the same run (docs/engines.md has the table)."""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import time
from pathlib import Path

from lab.inside import bare
from lab.inside.engine import MEM, Lab, run, setup, tell, timed
from pyro_mcp.environments.catalog import DEFAULT
from pyro_mcp.machines.firecracker import images
from pyro_mcp.machines.firecracker.kernel import find_kernel
from pyro_mcp.machines.protocol import MachineSpec
from pyro_mcp.sdk import Pyro

ROUNDS = 5
SPARE_SECONDS = 6
"""Enough for the daemon to put a machine in the pool, in emulation."""


async def ours(lab: Lab) -> dict[str, list[float]]:
    engine, times = lab.engine, lab.times
    for number in range(2):
        started = time.monotonic()
        machine = await engine._boot(MachineSpec(f"boot{number}", lab.root, 1, MEM), 60)
        await machine.guest.call("GET", "/v1/health")
        times.setdefault("boot", []).append(time.monotonic() - started)
        await machine.destroy()
    template = await engine.template(lab.root, 1)
    warm = await lab.restore("template", template)
    await warm.destroy()
    for number in range(ROUNDS):
        machine = await lab.restore("restore", template)
        await setup(machine, "/v1/setup", f"m{number}", False)
        for _ in range(3):
            await timed("round trip", machine.guest.call("GET", "/v1/health"), times)
        await run(machine.guest, "true")
        for _ in range(3):
            await timed("exec", run(machine.guest, "true"), times)
        snapshot = lab.snapshots / f"s{number}"
        await timed("snapshot", machine.snapshot(snapshot), times)
        fork = await lab.restore("fork", snapshot)
        await machine.destroy()
        await fork.destroy()
        await engine.finish_cleaning()
        started = time.monotonic()
        created = await engine.restore(lab.spec(), template)
        await setup(created, "/v1/setup", f"c{number}", False)
        await run(created.guest, "true")
        times.setdefault("create and exec", []).append(time.monotonic() - started)
        await created.destroy()
        await engine.finish_cleaning()
    return times


def product(times: dict[str, list[float]]) -> None:
    """A workspace through the daemon, as a user has it: a machine waits in the pool."""
    os.environ["PYRO_ENGINE"] = "firecracker"
    for name in ("RUNTIME_DIR", "STATE_HOME"):
        os.environ[f"XDG_{name}"] = f"/root/product/{name}"
        Path(os.environ[f"XDG_{name}"]).mkdir(mode=0o700, parents=True)
    with Pyro() as pyro:
        for number in range(ROUNDS + 1):
            started = time.monotonic()
            workspace = pyro.create_workspace(DEFAULT, vcpu_count=1, mem_mib=MEM).id
            assert pyro.exec_workspace(workspace, "true").exit_code == 0
            name = "product, cold" if number == 0 else "product"
            times.setdefault(name, []).append(time.monotonic() - started)
            pyro.delete_workspace(workspace)
            time.sleep(SPARE_SECONDS)


async def main() -> int:
    lab = Lab()
    kernel = find_kernel(lab.cache)
    assert kernel is not None
    engine_times = await ours(lab)
    cache = lab.cache / "firecracker"
    files = {
        "vmlinux": kernel.vmlinux,
        "initrd": next(cache.glob("initrd-*")),
        "root.img": images.root_image(lab.root),
        "seed.img": cache / "no-seed.img",
        "disk.img": cache / "empty.ext4",
    }
    firecracker = next((lab.cache / "components").glob("firecracker-*"))
    bare_times = bare.measure(Path("/root/bare"), firecracker, files, MEM, ROUNDS)
    await asyncio.to_thread(product, engine_times)
    pairs = [(name, name) for name in ("boot", "restore", "snapshot", "fork", "round trip", "exec")]
    # Bare: Firecracker started, the snapshot loaded, the first reply over vsock.
    pairs += [(name, "restore") for name in ("create and exec", "product", "product, cold")]
    for name, against in pairs:
        mine, theirs = statistics.median(engine_times[name]), statistics.median(bare_times[against])
        tell(what=name, engine_seconds=round(mine, 4), bare_seconds=round(theirs, 4), ratio=round(mine / theirs, 2))
    os.sync()
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
