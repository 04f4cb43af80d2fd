"""The engine's own test, without a daemon: every verb of the protocol, and how long it took."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import secrets
import subprocess
import sys
import time
import traceback
from collections.abc import Awaitable, Callable
from importlib import resources
from pathlib import Path
from typing import Any

from pyro_mcp import enclosure
from pyro_mcp.environments.cache import EnvironmentCache
from pyro_mcp.environments.catalog import DEFAULT, definition
from pyro_mcp.guest import frames
from pyro_mcp.guest.client import Guest
from pyro_mcp.machines import processes
from pyro_mcp.machines.firecracker import cell as cells
from pyro_mcp.machines.firecracker import jail
from pyro_mcp.machines.firecracker.components import find_firecracker
from pyro_mcp.machines.firecracker.engine import FirecrackerEngine
from pyro_mcp.machines.firecracker.machine import FirecrackerMachine
from pyro_mcp.machines.limits import Limits
from pyro_mcp.machines.protocol import Machine, MachineSpec, RootTree

MEM = 256


def tell(**record: Any) -> None:
    print("LAB-RESULT " + json.dumps(record), flush=True)


def say(text: str) -> None:
    print(f"[{time.monotonic():.1f}] {text}", flush=True)


async def timed(name: str, work: Awaitable[Any], times: dict[str, list[float]]) -> Any:
    started = time.monotonic()
    result = await work
    times.setdefault(name, []).append(round(time.monotonic() - started, 4))
    say(f"{name}: {times[name][-1]:.3f} s")
    return result


async def run(guest: Guest, command: str) -> str:
    request = {"argv": ["/bin/sh", "-c", command], "stdin": "none"}
    stream = await guest.start_process(request)
    output = b""
    try:
        async for frame in stream.frames():
            if frame.type in (1, 2):
                output += frame.payload
            if frame.type == frames.EXIT:
                return output.decode(errors="replace")
    finally:
        await stream.close()
    raise AssertionError(f"no exit frame: {output!r}")


async def setup(machine: Machine, path: str, name: str, seeded: bool) -> None:
    body: dict[str, Any] = {
        "hostname": name,
        "machine_id": secrets.token_hex(16),
        "entropy": base64.b64encode(os.urandom(256)).decode(),
        "time_unix_ns": time.time_ns(),
        "env": {},
        "files": {},
    }
    if path == "/v1/setup":
        body["lower"] = "/pyro/seed/tree" if seeded else None
    await machine.guest.call("POST", path, json_body=body)


WAITING = "while [ ! -e /workspace/go ]; do sleep 0.1; done; echo over"
IDENTITY = "cat /etc/machine-id; head -c 16 /dev/urandom | od -An -tx1; hostname"


class Lab:
    def __init__(self) -> None:
        self.times: dict[str, list[float]] = {}
        self.cache = Path(os.environ["XDG_CACHE_HOME"]) / "pyro"
        self.machines = Path("/root/state/machines")
        self.snapshots = Path("/root/state/snapshots")
        for directory in (self.machines, self.snapshots):
            directory.mkdir(mode=0o700, parents=True)
        self.privileged = os.geteuid() == 0
        enclosure.enter()
        enclosure.make_shared(self.machines)
        environments = EnvironmentCache(self.cache / "environments")
        manifest = environments.installed(definition(DEFAULT))
        assert manifest is not None
        self.root = RootTree(DEFAULT, manifest.digest, environments.tree(manifest.digest))
        component = find_firecracker(self.cache)
        assert component.path, component.remedy
        agent = Path(str(resources.files("pyro_mcp") / "_bin" / "pyro-agent"))
        self.engine = FirecrackerEngine(
            firecracker=Path(component.path), agent=agent, machines=self.machines, cache=self.cache, limits=Limits()
        )
        self.count = 0

    def spec(self) -> MachineSpec:
        self.count += 1
        return MachineSpec(f"m{self.count}", self.root, 1, MEM)

    async def restore(self, name: str, snapshot: Path, seed: Path | None = None) -> FirecrackerMachine:
        machine = await timed(name, self.engine.restore(self.spec(), snapshot, seed), self.times)
        assert isinstance(machine, FirecrackerMachine)
        return machine

    async def probe(self) -> None:
        cell = await timed("finding out the cell", self.engine.cell(), self.times)
        tell(cell=cell.description)
        assert isinstance(cell, jail.Jail if self.privileged else cells.Cell), cell
        assert cell.description.endswith("no capabilities"), cell.description
        probe = await timed("probe", self.engine.probe(self.root), self.times)
        assert probe.ok, probe

    async def between_cell_and_jail(self, machine: FirecrackerMachine, seed: Path) -> FirecrackerMachine:
        """A snapshot fits into either, and a machine that an unjailed daemon left can still be snapshotted."""
        self.engine._cell = cells.possible()
        other = await self.restore("restore in a cell", self.snapshots / "two", seed)
        assert not jail.jailed(other.directory)
        self.engine.look_again()
        assert isinstance(await self.engine.cell(), jail.Jail)
        adopted = await self.engine.adopt(other.id)
        assert isinstance(adopted, FirecrackerMachine)
        await adopted.snapshot(self.snapshots / "three")
        again = await self.restore("restore of a cell's snapshot", self.snapshots / "three", seed)
        assert jail.jailed(again.directory)
        await again.show_seed(None)
        await again.show_seed(seed)
        assert await run(again.guest, "cat /workspace/later") == "later\n"
        await again.snapshot(self.snapshots / "four")
        modes = {
            path.name: (path.stat().st_uid, path.stat().st_gid, oct(path.stat().st_mode))
            for path in (self.snapshots / "four", *(self.snapshots / "four").iterdir())
        }
        tell(jailed_snapshot=modes)
        assert {owner for owner, _, _ in modes.values()} == {0}, modes
        assert not any(int(mode, 8) & 0o007 for name, (_, _, mode) in modes.items() if name != "snapshot.json"), modes
        self.engine._cell = cells.possible()
        last = await self.restore("restore of a jail's snapshot", self.snapshots / "four", seed)
        self.engine.look_again()
        assert await run(last.guest, "cat /workspace/later") == "later\n"
        return again

    async def confined(self, machine: FirecrackerMachine) -> None:
        """What the kernel says of the machine's Firecracker is what the cell promises."""
        process = Path(f"/proc/{machine.record.vmm.pid}")
        status = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines() if ":\t" in line)
        held = {name: status[name].strip() for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")}
        assert set(held.values()) == {"0" * 16}, held
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2"), status
        for name in ("mnt", "pid", "net", "ipc", "uts"):
            assert os.readlink(process / "ns" / name) != os.readlink(f"/proc/self/ns/{name}"), name
        root, cell = os.stat(process / "root/."), os.stat(machine.directory / "cell")
        assert (root.st_dev, root.st_ino) == (cell.st_dev, cell.st_ino), os.listdir(process / "root")
        assert status["NSpid"].split()[1:] == ["1"], status["NSpid"]
        uids, gids = set(status["Uid"].split()), set(status["Gid"].split())
        if self.privileged:
            assert uids == {str(jail.uid_of(machine.directory))}, uids
            assert gids == {str(jail.GID)}, gids
            assert status["Groups"].strip() == "", status["Groups"]
            self.confines_files(machine)
        tell(confined=machine.id, uids=sorted(uids), gids=sorted(gids), **held)

    def confines_files(self, machine: FirecrackerMachine) -> None:
        """The jail's user gets at its own disk and nothing that is shared, root's or another's."""
        root = Path(f"/proc/{machine.record.vmm.pid}/root")
        attempts = {
            "read what is shared": (f"head -c1 {root}/root.img {root}/seed.img {root}/image/memory >/dev/null", True),
            "write its disk": (f"test -w {root}/disk.img", True),
            "write a shared image": (f"test -w {root}/root.img", False),
            "write a snapshot": (f"test -w {root}/image/memory", False),
            "replace the way to its seed": (f"mv {root}/out {root}/in", False),
            "look into pyro's state": (f"ls {self.machines}", False),
            "see another's disk": (f"cat {self.machines}/*/cell/disk.img", False),
        }
        for name, (script, allowed) in attempts.items():
            become = ["setpriv", f"--reuid={jail.uid_of(machine.directory)}", f"--regid={jail.GID}", "--clear-groups"]
            done = subprocess.run([*become, "sh", "-c", script], capture_output=True, text=True)
            assert (done.returncode == 0) == allowed, (name, done)

    async def everything(self) -> None:
        seed = Path("/root/seed")
        (seed / "dir").mkdir(parents=True)
        (seed / "dir" / "file.txt").write_text("seeded\n")
        (seed / "link").symlink_to("dir/file.txt")
        (seed / "tool").write_text("#!/bin/sh\necho ran\n")
        (seed / "tool").chmod(0o750)
        os.utime(seed / "tool", ns=(1_600_000_000_123456789, 1_600_000_000_123456789))

        template = await self.engine.template(self.root, 1)
        first = await self.restore("template+restore", template)
        await first.destroy()
        for _ in range(3):
            machine = await self.restore("restore", template)
        await timed("show_seed", machine.show_seed(seed), self.times)
        await timed("setup", setup(machine, "/v1/setup", "one", True), self.times)
        for _ in range(5):
            await timed("health", machine.guest.call("GET", "/v1/health"), self.times)
        for _ in range(5):
            assert await timed("exec", run(machine.guest, "echo hello"), self.times) == "hello\n"
        listing = await run(
            machine.guest, "cd /workspace && cat link && ./tool && stat -c '%a %y' tool && id -u && nproc"
        )
        assert listing.startswith("seeded\nran\n750 2020-09-13 12:26:40.123456789"), listing
        say((await run(machine.guest, "mount; df -h / /workspace; uname -a; free -m; cat /proc/modules")).strip())
        await run(machine.guest, "echo changed > /workspace/new; rm /workspace/link; sleep 1000 >/dev/null 2>&1 & echo")
        changes = (await machine.guest.call("GET", "/v1/changes")).json()["changes"]
        assert {(c["path"], c["change"]) for c in changes} == {("new", "added"), ("link", "deleted")}, changes

        # A command that runs over a snapshot: its stream breaks, the process goes on.
        stream = await machine.guest.start_process({"argv": ["sh", "-c", WAITING], "stdin": "none"})
        reader = asyncio.ensure_future(collect(stream))
        await asyncio.sleep(0.1)
        await timed("snapshot", machine.snapshot(self.snapshots / "one"), self.times)
        broken = await asyncio.wait_for(reader, 5)
        assert not any(frame.type == frames.EXIT for frame in broken), "the stream outlived the snapshot"
        running = (await machine.guest.call("GET", "/v1/processes")).json()["processes"]
        await run(machine.guest, "touch /workspace/go")
        again = await machine.guest.follow_process(running[-1]["id"], 0)
        kept = await asyncio.wait_for(collect(again), 20)
        assert b"over\n" in b"".join(frame.payload for frame in kept if frame.type == 1)
        await run(machine.guest, "echo later > /workspace/later")
        await timed("snapshot again", machine.snapshot(self.snapshots / "two"), self.times)
        for name in ("one", "two"):
            sizes = {
                p.name: (p.stat().st_size >> 20, p.stat().st_blocks * 512 >> 10)
                for p in (self.snapshots / name).iterdir()
            }
            tell(snapshot=name, mib_and_kib_on_disk=sizes)

        # Forks: siblings of one moment, each with an identity of its own.
        forks = [await self.restore("fork", self.snapshots / "one", seed) for _ in range(3)]
        identities = []
        for number, fork in enumerate(forks):
            await timed("identify", setup(fork, "/v1/identify", f"fork-{number}", True), self.times)
            identities.append((await run(fork.guest, IDENTITY)).split("\n"))
            assert (
                await run(fork.guest, "cat /workspace/new; ls /workspace; pgrep -x sleep >/dev/null && echo z")
                == "changed\ndir\nnew\ntool\nz\n"
            )
        for column in range(3):
            assert len({identity[column] for identity in identities}) == 3, identities
        await run(forks[0].guest, "echo mine > /workspace/mine")
        assert "mine" not in await run(forks[1].guest, "ls /workspace")
        later = await self.restore("restore later", self.snapshots / "two", seed)
        assert await run(later.guest, "cat /workspace/later") == "later\n"
        grown = later.memory_bytes()
        tell(memory_bytes=grown, limit=later.memory_limit_bytes)
        await self.confined(machine)
        await self.confined(forks[0])
        if self.privileged:
            later = await self.between_cell_and_jail(later, seed)

        # Adoption, death and leaving.
        adopted = await self.engine.adopt(later.id)
        assert adopted is not None
        assert await run(adopted.guest, "echo adopted") == "adopted\n"
        await adopted.guest.call("POST", "/v1/shutdown", json_body={})
        say(await asyncio.wait_for(adopted.wait_gone(), 20))
        assert await self.engine.adopt(later.id) is None
        swept = await self.engine.sweep({machine.id})
        assert await run(machine.guest, "cat /workspace/later") == "later\n"
        say(f"swept {swept}")
        await machine.destroy()
        await self.engine.finish_cleaning()
        assert list(self.machines.iterdir()) == []
        mounts = Path("/proc/self/mountinfo").read_text()
        assert f"{self.machines}/" not in mounts, mounts
        assert processes.with_word_in_command_line(os.fsencode(f"{self.machines}/")) == []
        if self.privileged:
            left = [
                status.parent.name
                for status in Path("/proc").glob("[0-9]*/status")
                if f"\nGid:\t{jail.GID}\t" in status.read_text()
            ]
            assert left == [], left
            assert list(Path("/sys/fs/cgroup").glob("**/*firecracker*")) == []
            assert list(Path("/sys/fs/cgroup").glob("**/pyro-m*")) == []


async def collect(stream: Any) -> list[Any]:
    return [frame async for frame in stream.frames()]


async def main(tests: list[str]) -> int:
    lab = Lab()
    work: list[Callable[[], Awaitable[None]]] = [lab.probe, lab.everything]
    try:
        for test in work:
            if not tests or test.__name__ in tests:
                await test()
    except BaseException:
        traceback.print_exc()
        for directory in lab.machines.glob("*/console"):
            descriptor = os.open(directory, os.O_RDWR | os.O_NONBLOCK)
            try:
                print(directory, os.read(descriptor, 65536).decode(errors="replace"))
            except OSError:
                pass
        return 1
    finally:
        tell(seconds=lab.times)
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
