"""The programs that pyro uses and does not carry: where they are, and how runsc is fetched."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

from pyro_mcp.errors import ComponentMissing
from pyro_mcp.models import Component

RUNSC_VERSION = "20240729"
RUNSC_SHA256 = {"x86_64": "ce52e04038baa76d6069afae5fc1bee60c153bbf0276f2c3c25506553526f38f"}
"""The binary in Debian 13's package runsc 0.0~20240729.0-4+b7; measured in shared/DESIGN.md."""
OLDEST_RUNSC = 20240101
"""Older ones lack systrap as it is needed here, or the disk-backed tmpfs that /workspace uses."""


def runsc_version(path: Path) -> str | None:
    """The release of a runsc, such as 20240729.0; None when it does not run."""
    try:
        said = subprocess.run(
            [str(path), "--version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"version (?:release-|0\.0~)?(\S+)", said)
    return found.group(1).removeprefix("0.0~") if found else None


def find_runsc(cache: Path) -> Component:
    """Where runsc is: PYRO_RUNSC, PATH, or what pyro fetched."""
    named = os.environ.get("PYRO_RUNSC")
    candidates: list[tuple[str, Path]] = []
    if named:
        candidates = [("PYRO_RUNSC", Path(named))]
    else:
        on_path = shutil.which("runsc")
        if on_path:
            candidates.append(("PATH", Path(on_path)))
        candidates.append(("fetched", fetched_runsc(cache)))
    problems = []
    for source, path in candidates:
        if not path.exists():
            if source == "PYRO_RUNSC":
                problems.append(f"PYRO_RUNSC names {path}, which is not there")
            continue
        version = runsc_version(path)
        release = re.match(r"\d{8}", (version or "").replace("0.0~", ""))
        if version is None or release is None:
            problems.append(f"{path} does not run or says no version")
        elif int(release.group()) < OLDEST_RUNSC:
            problems.append(f"{path} is {version}; {OLDEST_RUNSC} is the oldest that works")
        else:
            return Component(name="runsc", ok=True, path=str(path), version=version, source=source)
    return Component(name="runsc", ok=False, remedy="; ".join([*problems, "run `pyro doctor --fix`"]))


def fetched_runsc(cache: Path) -> Path:
    return cache / "components" / f"runsc-{RUNSC_VERSION}"


def fetch_runsc(cache: Path, progress: Callable[[str, float | None], None]) -> Path:
    """Take runsc from Debian 13's signed archive, pinned by its hash. Runs inside the enclosure.

    Raises:
        ComponentMissing: no mmdebstrap, no way to the archive, or not the pinned binary.
    """
    target = fetched_runsc(cache)
    if target.exists():
        return target
    expected = RUNSC_SHA256.get(os.uname().machine)
    tool = shutil.which("mmdebstrap", path=os.environ.get("PATH", "") + ":/usr/bin")
    if expected is None or tool is None:
        what = f"no runsc is pinned for {os.uname().machine}" if tool else "mmdebstrap is missing"
        raise ComponentMissing(
            f"runsc cannot be fetched: {what}.",
            hint="Install mmdebstrap (sudo apt-get install mmdebstrap), or set PYRO_RUNSC to a runsc of yours.",
            code="runsc_missing",
        )
    progress("fetching runsc from Debian's archive", None)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="runsc-", dir=target.parent) as work:
        archive = Path(work) / "runsc.tar"
        argv = ["unshare", "--mount", "--propagation=private", tool, "--mode=root", "--variant=extract"]
        argv += ["--include=runsc", "trixie", str(archive)]
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "LD_"))}
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            cwd="/",
            timeout=300,
            env=environment | {"TMPDIR": work},
        )
        if done.returncode != 0:
            raise ComponentMissing(
                "runsc could not be fetched from Debian's archive: " + " | ".join(done.stderr.splitlines()[-3:]),
                hint="Check this machine's way to a Debian mirror, or set PYRO_RUNSC to a runsc of yours.",
                code="runsc_fetch_failed",
            )
        with tarfile.open(archive) as tar:
            member = tar.extractfile("./usr/bin/runsc")
            content = member.read() if member is not None else b""
        found = hashlib.sha256(content).hexdigest()
        if found != expected:
            raise ComponentMissing(
                f"The runsc in Debian's archive has sha256 {found}, not the pinned {expected}; it was not installed.",
                hint="Upgrade pyro, or set PYRO_RUNSC to a runsc that you trust.",
                code="runsc_not_the_pinned",
            )
        partial = Path(work) / "runsc"
        partial.write_bytes(content)
        partial.chmod(0o755)
        os.replace(partial, target)
    return target
