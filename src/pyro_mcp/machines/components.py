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
from pyro_mcp.machines.debian_package import NoPackage, fetch_file
from pyro_mcp.models import Component

RUNSC_VERSION = "20240729"
RUNSC_SHA256 = {"x86_64": "ce52e04038baa76d6069afae5fc1bee60c153bbf0276f2c3c25506553526f38f"}
"""The binary in Debian 13's package runsc 0.0~20240729.0-4+b7; measured in shared/DESIGN.md."""
RUNSC_PACKAGE = "pool/main/g/golang-gvisor-gvisor/runsc_0.0~20240729.0-4%2Bb7_amd64.deb"
"""That package, below a Debian mirror."""
OLDEST_RUNSC = 20240101
"""Older ones lack systrap as it is needed here, or the disk-backed tmpfs that /workspace uses."""


def said_version(path: Path) -> str:
    """What a program says to --version; empty when it does not run."""
    try:
        return subprocess.run(
            [str(path), "--version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


def find_program(
    name: str,
    variable: str,
    fetched: Path,
    version_of: Callable[[Path], str | None],
    problem_of: Callable[[str], str | None],
) -> Component:
    """Where a program is: what `variable` names, PATH, or what pyro fetched.

    `problem_of` says of a version why it will not do; a sentence's end, such as "is too old".
    """
    named = os.environ.get(variable)
    candidates: list[tuple[str, Path]] = []
    if named:
        candidates = [(variable, Path(named))]
    else:
        on_path = shutil.which(name)
        if on_path:
            candidates.append(("PATH", Path(on_path)))
        candidates.append(("fetched", fetched))
    problems = []
    for source, path in candidates:
        if not path.exists():
            if source == variable:
                problems.append(f"{variable} names {path}, which is not there")
            continue
        version = version_of(path)
        problem = "does not run, or reports no version" if version is None else problem_of(version)
        if problem is None:
            return Component(name=name, ok=True, path=str(path), version=version, source=source)
        problems.append(f"{path} {problem}")
    return Component(name=name, ok=False, remedy="; ".join([*problems, "run `pyro doctor --fix`"]))


def mmdebstrap() -> str | None:
    """Where mmdebstrap is."""
    return shutil.which("mmdebstrap", path=os.environ.get("PATH", "") + ":/usr/bin")


def extract_package(tool: str, archive: Path, suite: str, *options: str) -> str | None:
    """Write packages of Debian's signed archive, unpacked, to a tar. Runs inside the enclosure, and blocks.

    Gives the last of what was said when that failed, else None. Temporary files are made beside the tar.
    """
    argv = ["unshare", "--mount", "--propagation=private", tool, "--mode=root", "--variant=extract"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "LD_"))}
    done = subprocess.run(
        [*argv, *options, suite, str(archive)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        cwd="/",
        timeout=300,
        env=environment | {"TMPDIR": str(archive.parent)},
    )
    return " | ".join(done.stderr.splitlines()[-3:]) if done.returncode != 0 else None


def runsc_version(path: Path) -> str | None:
    """The release of a runsc, such as 20240729.0; None when it does not run."""
    found = re.search(r"version (?:release-|0\.0~)?(\S+)", said_version(path))
    return found.group(1).removeprefix("0.0~") if found else None


def find_runsc(cache: Path) -> Component:
    """Where runsc is: PYRO_RUNSC, PATH, or what pyro fetched."""

    def problem(version: str) -> str | None:
        release = re.match(r"\d{8}", version)
        if release is None:
            return "does not run, or reports no version"
        old = int(release.group()) < OLDEST_RUNSC
        return f"is {version}; pyro needs {OLDEST_RUNSC} or newer" if old else None

    return find_program("runsc", "PYRO_RUNSC", fetched_runsc(cache), runsc_version, problem)


def fetched_runsc(cache: Path) -> Path:
    return cache / "components" / f"runsc-{RUNSC_VERSION}"


def fetch_runsc(cache: Path, progress: Callable[[str, float | None], None]) -> Path:
    """Take runsc from Debian 13's signed archive, pinned by its hash. Runs inside the enclosure.

    Raises:
        ComponentMissing: none for this architecture, no way to the archive, or not the pinned binary.
    """
    target = fetched_runsc(cache)
    if target.exists():
        return target
    expected = RUNSC_SHA256.get(os.uname().machine)
    tool = mmdebstrap()
    if expected is None:
        raise ComponentMissing(
            f"runsc cannot be fetched: no runsc is pinned for {os.uname().machine}.",
            hint="Set PYRO_RUNSC to your own runsc.",
            code="runsc_missing",
        )
    progress("fetching runsc from Debian's archive", None)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="runsc-", dir=target.parent) as work:
        content, problem = _runsc_of_debian(tool, Path(work))
        if problem:
            raise ComponentMissing(
                f"runsc could not be fetched from Debian's archive: {problem}",
                hint="Check that this computer can reach a Debian mirror, or set PYRO_RUNSC to your own runsc.",
                code="runsc_fetch_failed",
            )
        found = hashlib.sha256(content).hexdigest()
        if found != expected:
            raise ComponentMissing(
                f"The runsc in Debian's archive has sha256 {found}, not the pinned {expected}; it was not installed.",
                hint="Upgrade pyro, or set PYRO_RUNSC to a runsc you trust.",
                code="runsc_not_the_pinned",
            )
        partial = Path(work) / "runsc"
        partial.write_bytes(content)
        partial.chmod(0o755)
        os.replace(partial, target)
    return target


def _runsc_of_debian(tool: str | None, work: Path) -> tuple[bytes, str]:
    """The program, or why it cannot be had; where there is no mmdebstrap, out of the package itself."""
    if tool is None:
        try:
            return fetch_file(RUNSC_PACKAGE, "usr/bin/runsc"), ""
        except NoPackage as error:
            return b"", str(error)
    archive = work / "runsc.tar"
    problem = extract_package(tool, archive, "trixie", "--include=runsc")
    if problem is not None:
        return b"", problem
    with tarfile.open(archive) as tar:
        member = tar.extractfile("./usr/bin/runsc")
        return member.read() if member is not None else b"", ""
