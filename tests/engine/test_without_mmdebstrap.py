"""A machine on which nothing of Debian's is installed: the engine and an environment come all the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.images import busybox_layer, layer, layout, member, needs, push, registry
from tests.support import SLOWNESS, Installation

pytestmark = pytest.mark.as_root


@pytest.mark.skipif(os.geteuid() != 0, reason="only root hides a program of this computer from another process")
def test_without_mmdebstrap_an_image_stands_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs("skopeo", "docker-registry", "unshare")
    status = b"Package: git\nVersion: 1\n\nPackage: curl\nVersion: 2\n"
    layout(tmp_path / "image", [busybox_layer(), layer(member("var/lib/dpkg/status", status))])
    hidden = "for p in /usr/bin/mmdebstrap /bin/mmdebstrap; do [ ! -e $p ] || mount --bind /dev/null $p; done"
    with registry(tmp_path / "registry") as host, Installation("gvisor") as installation:
        push(f"oci:{tmp_path}/image:latest", f"{host}/library/python:3.11-bookworm")
        cache = installation.root / "cache"
        environment = {
            **os.environ,
            **installation.environment,
            "XDG_CACHE_HOME": str(cache),
            "PYRO_REGISTRY_MIRROR": host,
            "PYRO_DAEMON_IDLE_SECONDS": "600",
        }
        environment.pop("PYRO_RUNSC", None)

        def pyro(*words: str) -> str:
            argv = ["unshare", "--mount", "sh", "-c", f'{hidden}; exec "$@"', "sh", sys.executable, "-m", "pyro_mcp"]
            done = subprocess.run(
                [*argv, *words], env=environment, capture_output=True, text=True, timeout=300 * SLOWNESS
            )
            assert done.returncode == 0, done.stderr
            return done.stdout

        try:
            ran = json.loads(pyro("run", "debian:12", "--json", "--", "cat /etc/os-release; echo here"))
            assert ran["stdout"].endswith("here\n") and ran["environment"] == "debian:12"
            assert list((cache / "pyro" / "components").glob("runsc-*")), "the engine did not come by itself"
            said = json.loads(pyro("env", "inspect", "debian:12", "--json"))
            assert said["source"].startswith("image sha256:")
            stands_in = said["notes"][0]
            assert "python:3.11-bookworm is used instead" in stands_in and "ripgrep" in stands_in
            assert "git," not in stands_in, "git is in the image"
            found = json.loads(pyro("doctor", "--json"))
            tool = next(each for each in found["components"] if each["name"] == "mmdebstrap")
            assert not tool["ok"] and "images" in tool["remedy"] and "apt-get install mmdebstrap" in tool["remedy"]
            assert found["ok"]
        finally:
            pyro("daemon", "stop")
