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
from pyro_mcp.machines.firecracker import images
from pyro_mcp.machines.firecracker.kernel import find_kernel
from pyro_mcp.machines.protocol import MachineSpec

ROUNDS = 5


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
    return times


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
    for name in ("boot", "restore", "snapshot", "fork", "round trip", "exec"):
        mine, theirs = statistics.median(engine_times[name]), statistics.median(bare_times[name])
        tell(what=name, engine_seconds=round(mine, 4), bare_seconds=round(theirs, 4), ratio=round(mine / theirs, 2))
    os.sync()
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
