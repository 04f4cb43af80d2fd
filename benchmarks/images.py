"""From an image in a registry to its first command, against what skopeo and umoci take to have its files.

    python -m benchmarks.images          # needs skopeo, umoci, docker-registry and the environment debian:12

One image of some 600 MB (debian:12 itself, exported) from Debian's docker-registry on loopback, in the same run and by
turns. Cold: nothing of it is here. Warm: it is. The figure that counts is the ratio.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.images import push, registry

from pyro_mcp.sdk import Pyro

ROUNDS = 3


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    figures: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="bench-images-") as text, Pyro() as pyro:
        place = Path(text)
        pyro.pull_environment("debian:12")
        exported = pyro.export_environment("debian:12", output=str(place / "image"))
        print(f"the image: {exported.bytes >> 20} MiB compressed")
        with registry(place / "registry") as host:
            push(exported.image, f"{host}/bench:1")

            def tools() -> None:
                source = ["docker://" + f"{host}/bench:1", f"oci:{place}/copy:1"]
                skopeo = ["skopeo", "--insecure-policy", "copy", "-q", "--src-tls-verify=false", *source]
                subprocess.run(skopeo, check=True)
                umoci = ["umoci", "unpack", "--image", f"{place}/copy:1", str(place / "bundle")]
                subprocess.run(umoci + (["--rootless"] if os.geteuid() else []), check=True, capture_output=True)

            def first_command() -> None:
                assert pyro.run_in_vm(f"{host}/bench:1", "git --version").exit_code == 0

            for _ in range(ROUNDS):
                figures.setdefault("skopeo copy + umoci unpack", []).append(_seconds(tools))
                shutil.rmtree(place / "copy")
                shutil.rmtree(place / "bundle")
                figures.setdefault("pyro env pull, cold", []).append(
                    _seconds(lambda: pyro.pull_environment(f"{host}/bench:1"))
                )
                figures.setdefault("first command after the pull", []).append(_seconds(first_command))
                figures.setdefault("first command, warm", []).append(_seconds(first_command))
                figures.setdefault("pyro env pull, warm", []).append(
                    _seconds(lambda: pyro.pull_environment(f"{host}/bench:1"))
                )
                pyro.remove_environment(f"{host}/bench:1")
    base = statistics.median(figures["skopeo copy + umoci unpack"])
    for name, values in figures.items():
        median = statistics.median(values)
        print(f"{name:32} {median:7.2f} s   {median / base:5.2f}x")


if __name__ == "__main__":
    main()
