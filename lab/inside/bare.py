"""Firecracker with nothing around it: started by hand and driven by curl, as a yardstick in the same run."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

from pyro_mcp.machines.firecracker.boot import BOOT_ARGS


class Bare:
    """One Firecracker in a directory of its own; every path is relative to it, as the engine's are."""

    def __init__(self, directory: Path, firecracker: Path) -> None:
        self.directory = directory
        for name in ("api.sock", "v.sock"):
            (directory / name).unlink(missing_ok=True)
        self.process = subprocess.Popen(
            [str(firecracker), "--api-sock", "api.sock", "--level", "Error"],
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while not (directory / "api.sock").exists():
            time.sleep(0.001)

    def curl(self, method: str, path: str, body: dict[str, Any]) -> None:
        argv = ["curl", "-sS", "--fail", "--retry-connrefused", "--unix-socket", "api.sock", "-X", method]
        argv += ["-H", "Content-Type: application/json", "-d", json.dumps(body), f"http://localhost{path}"]
        subprocess.run(argv, cwd=self.directory, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def configure(self, mem_mib: int) -> None:
        self.curl("PUT", "/machine-config", {"vcpu_count": 1, "mem_size_mib": mem_mib})
        source = {"kernel_image_path": "vmlinux", "initrd_path": "initrd", "boot_args": BOOT_ARGS}
        self.curl("PUT", "/boot-source", source)
        for name, read_only in (("root", True), ("disk", False), ("seed", True)):
            drive = {"drive_id": name, "path_on_host": f"{name}.img", "is_root_device": False}
            self.curl("PUT", f"/drives/{name}", {**drive, "is_read_only": read_only})
        self.curl("PUT", "/vsock", {"guest_cid": 3, "uds_path": "v.sock"})
        self.curl("PUT", "/entropy", {})
        self.curl("PUT", "/actions", {"action_type": "InstanceStart"})

    def connect(self) -> socket.socket:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            stream = socket.socket(socket.AF_UNIX)
            stream.settimeout(0.2)
            try:
                stream.connect(str(self.directory / "v.sock"))
                stream.sendall(b"CONNECT 1024\n")
                said = b""
                while not said.endswith(b"\n"):
                    byte = stream.recv(1)
                    if not byte:
                        raise OSError("closed")
                    said += byte
                stream.settimeout(20)
                return stream
            except OSError:
                stream.close()
                time.sleep(0.005)
        raise TimeoutError("the bare guest did not answer")

    def health(self) -> None:
        with self.connect() as stream:
            stream.sendall(b"GET /v1/health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            while stream.recv(65536):
                pass

    def execute(self) -> None:
        """One command with its frames, as short as the protocol allows."""
        body = b'{"argv": ["/bin/true"], "stdin": "none", "cwd": "/"}'
        head = b"POST /v1/processes HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: pyro-stream\r\n"
        with self.connect() as stream:
            stream.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            while stream.recv(65536):
                pass

    def snapshot(self) -> None:
        self.curl("PATCH", "/vm", {"state": "Paused"})
        files = {"snapshot_type": "Full", "snapshot_path": "state", "mem_file_path": "memory"}
        self.curl("PUT", "/snapshot/create", files)
        self.curl("PATCH", "/vm", {"state": "Resumed"})

    def load(self) -> None:
        backend = {"backend_type": "File", "backend_path": "memory"}
        self.curl("PUT", "/snapshot/load", {"snapshot_path": "state", "mem_backend": backend, "resume_vm": True})

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


def measure(
    place: Path, firecracker: Path, files: dict[str, Path], mem_mib: int, rounds: int
) -> dict[str, list[float]]:
    """The times of each step in seconds. `files`: vmlinux, initrd, root.img, seed.img, disk.img."""
    times: dict[str, list[float]] = {}

    def note(name: str, started: float) -> None:
        times.setdefault(name, []).append(time.monotonic() - started)

    place.mkdir()
    for name, source in files.items():
        if name == "disk.img":
            subprocess.run(["cp", "--sparse=always", str(source), str(place / name)], check=True)
        else:
            os.symlink(source, place / name)
    started = time.monotonic()
    bare = Bare(place, firecracker)
    bare.configure(mem_mib)
    bare.health()
    note("boot", started)
    for _ in range(rounds):
        started = time.monotonic()
        bare.snapshot()
        note("snapshot", started)
        bare.end()
        started = time.monotonic()
        bare = Bare(place, firecracker)
        bare.load()
        bare.health()
        note("restore", started)
        for _ in range(3):
            started = time.monotonic()
            bare.health()
            note("round trip", started)
        bare.execute()
        for _ in range(3):
            started = time.monotonic()
            bare.execute()
            note("exec", started)
        bare.snapshot()
        bare.end()
        sibling = place / "sibling"
        shutil.rmtree(sibling, ignore_errors=True)
        sibling.mkdir()
        started = time.monotonic()
        for name in ("root.img", "seed.img", "memory", "state"):
            os.symlink(os.path.realpath(place / name), sibling / name)
        subprocess.run(["cp", "--sparse=always", str(place / "disk.img"), str(sibling / "disk.img")], check=True)
        bare = Bare(sibling, firecracker)
        bare.load()
        bare.health()
        note("fork", started)
        bare.end()
        bare = Bare(place, firecracker)
        bare.load()
        bare.health()
    bare.end()
    return times
