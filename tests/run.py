"""`make test-python`: the whole suite as the caller. For root it is divided: what has to do with machines runs as an
unprivileged user, as pyro's users are, and as root only what may go otherwise there (the mark `as_root`); `--twice`
runs all as both. Both runs go side by side; what needs the computer for itself (`ALONE`) follows, and then what failed,
once more.

The unprivileged run uses the built wheel in an environment of its own, far from this checkout: what the wheel
lacks fails there. The user `pyro-test` is made when it is missing, with subordinate ids; its caches stay, so
that the second time is quicker.
"""

from __future__ import annotations

import argparse
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tests.engines import CHOICES

ROOT = Path(__file__).resolve().parent.parent
USER = "pyro-test"
TESTS_FAILED = 1  # pytest.ExitCode
UV = str(ROOT / "scripts" / "uv")
ALL = ["tests"]
ALONE = ("test_crowds.py", "test_limits.py")
"""Of tests/engine, what fills memory or the table of processes: beside others it disturbs them, and they it."""
FROM_THE_WHEEL = [
    *(
        "tests/engine",
        "tests/isolation",
        "tests/faces/test_cli.py",
        "tests/faces/test_mcp.py",
        "tests/faces/test_attach.py",
    ),
    # What says nothing more as another user, and takes long: building environments, the demo on a real project.
    *("--ignore=tests/engine/test_environment_cache.py", "--ignore=tests/engine/test_demo.py"),
]
"""What the unprivileged run does: all that has to do with machines."""


def say(text: str) -> None:
    print(f"== {text}", file=sys.stderr, flush=True)


def run(*argv: str, **more: object) -> None:
    subprocess.run(argv, check=True, **more)  # type: ignore[call-overload]


def make_user() -> pwd.struct_passwd:
    """The unprivileged user, with ranges in /etc/subuid and /etc/subgid."""
    try:
        entry = pwd.getpwnam(USER)
    except KeyError:
        say(f"making the unprivileged user {USER}")
        run("useradd", "--create-home", "--shell", "/bin/bash", USER)
        entry = pwd.getpwnam(USER)
    for path in ("/etc/subuid", "/etc/subgid"):
        lines = Path(path).read_text().splitlines() if Path(path).exists() else []
        if not any(line.startswith(f"{USER}:") for line in lines):
            taken = [int(line.split(":")[1]) + int(line.split(":")[2]) for line in lines if line.count(":") == 2]
            with open(path, "a") as file:
                file.write(f"{USER}:{max([100000, *taken])}:65536\n")
    return entry


def remove_user() -> int:
    """Undo `make_user`: the user, its home with its caches, and its ranges of subordinate ids."""
    if os.geteuid() != 0:
        say("only root made anything, and only root can take it away")
        return 1
    try:
        pwd.getpwnam(USER)
    except KeyError:
        say(f"there is no user {USER}")
    else:
        run("userdel", "--remove", USER)
        say(f"removed the user {USER} and its home")
    for path in (Path("/etc/subuid"), Path("/etc/subgid")):
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        kept = [line for line in lines if not line.startswith(f"{USER}:")]
        if kept != lines:
            path.write_text("".join(kept))
            say(f"took the line of {USER} out of {path}")
    return 0


def as_user(entry: pwd.struct_passwd, argv: list[str], cwd: Path, output: IO[bytes] | None) -> subprocess.Popen[bytes]:
    """Start a program as the unprivileged user, with an environment as after a login."""
    environment = {
        "HOME": entry.pw_dir,
        "USER": USER,
        "LOGNAME": USER,
        "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        "LANG": "C.UTF-8",
    }
    for name, value in os.environ.items():
        if name.lower().endswith("_proxy") or name in ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CI"):
            environment[name] = value
    return subprocess.Popen(
        argv,
        cwd=cwd,
        env=environment,
        user=entry.pw_uid,
        group=entry.pw_gid,
        extra_groups=[],
        umask=0o022,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output and subprocess.STDOUT,
    )


class Suite:
    """One user's run of pytest, in parts: what failed in any of them can be tried again at the end."""

    def __init__(self, user: str, start: Callable[[list[str], IO[bytes] | None], subprocess.Popen[bytes]]) -> None:
        self.user = user
        self._start = start
        self._statuses: set[int] = set()

    def run(self, arguments: list[str]) -> None:
        say(f"the suite as {self.user}")
        self._statuses.add(self._start(arguments, None).wait())

    @contextmanager
    def beside(self, arguments: list[str]) -> Iterator[None]:
        """Run while the caller does something else; what it says is shown when both are done."""
        with tempfile.TemporaryFile() as said:
            running = self._start(arguments, said)
            try:
                yield
                self._statuses.add(running.wait())
            finally:
                running.send_signal(signal.SIGINT)
                running.wait()
                said.seek(0)
                say(f"what the suite as {self.user} said meanwhile")
                shutil.copyfileobj(said, sys.stdout.buffer)
                sys.stdout.flush()

    def end(self) -> int:
        """The exit status of all. What failed is tried once more, and loudly: on a computer that others use, a test may
        meet a moment without a CPU.
        """
        unsound = self._statuses - {0, TESTS_FAILED}
        if unsound or not self._statuses:
            return unsound.pop() if unsound else 1
        if TESTS_FAILED not in self._statuses:
            return 0
        say(f"what failed as {self.user}, once more; a test that passes now is one to look at")
        return self._start(["--last-failed", "--last-failed-no-failures", "none"], None).wait()


def as_caller(engine: str) -> Suite:
    def start(arguments: list[str], output: IO[bytes] | None) -> subprocess.Popen[bytes]:
        argv = [sys.executable, "-m", "pytest", engine, *arguments]
        return subprocess.Popen(argv, cwd=ROOT, stdout=output, stderr=output and subprocess.STDOUT)

    return Suite(pwd.getpwuid(os.geteuid()).pw_name, start)


@contextmanager
def unprivileged(engine: str) -> Iterator[Suite]:
    entry = make_user()
    with tempfile.TemporaryDirectory(prefix="pyro-wheel-", dir="/var/tmp") as work:
        place = Path(work)
        place.chmod(0o755)
        say("building the wheel, and installing it where nothing else is")
        run(UV, "build", "--quiet", "--wheel", "--out-dir", str(place / "dist"), str(ROOT))
        (wheel,) = (place / "dist").glob("*.whl")
        python = "/usr/bin/python3" if os.access("/usr/bin/python3", os.X_OK) else sys.executable
        environment = {**os.environ, "UV_PROJECT_ENVIRONMENT": str(place / "venv"), "UV_LINK_MODE": "copy"}
        run(UV, "venv", "--quiet", "--python", python, str(place / "venv"), env=environment)
        requirements = place / "requirements.txt"
        with requirements.open("w") as file:
            run(UV, "export", "--quiet", "--frozen", "--no-emit-project", cwd=ROOT, stdout=file)
        # The user may not write there, so each of the many processes would compile all that it imports.
        install = [UV, "pip", "install", "--quiet", "--compile-bytecode"]
        install += ["--python", str(place / "venv" / "bin" / "python")]
        run(*install, "--requirement", str(requirements), env=environment)
        run(*install, "--no-deps", str(wheel), env=environment)
        for name in ("tests", "examples", "benchmarks", "lab", "docs", "pyproject.toml", "README.md", "CHANGELOG.md"):
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, place / name, ignore=shutil.ignore_patterns("__pycache__"))
            elif source.exists():
                shutil.copy(source, place / name)
        scratch = place / "scratch"
        scratch.mkdir()
        os.chown(scratch, entry.pw_uid, entry.pw_gid)
        argv = [str(place / "venv" / "bin" / "python"), "-m", "pytest", "-o", f"cache_dir={scratch / 'cache'}"]
        argv += [f"--basetemp={scratch / 't'}", engine]
        yield Suite(USER, lambda arguments, output: as_user(entry, [*argv, *arguments], place, output))


def both(engine: str, named: list[str], twice: bool) -> int:
    """The suite as root and as the unprivileged user."""
    alone = [f"tests/engine/{name}" for name in ALONE]
    without = [f"--ignore={path}" for path in alone]
    root = as_caller(engine)
    with unprivileged(engine) as user:
        if named:
            root.run(named)
            user.run(named)
        else:
            share = [] if twice else ["--share-of-root"]
            with user.beside([*FROM_THE_WHEEL, *without]):
                root.run([*ALL, *without, *share])
            root.run([*alone, *share])
            user.run(alone)
        return root.end() or user.end()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, epilog="Everything else is for pytest.")
    parser.add_argument("--engine", choices=CHOICES, default="here", help="what runs the machines (tests/engines.py)")
    parser.add_argument("--twice", action="store_true", help="as root, run all that has to do with machines as both")
    parser.add_argument("--clean-system", action="store_true", help=f"remove the user {USER} instead")
    options, named = parser.parse_known_args()
    if options.clean_system:
        return remove_user()
    engine = f"--engine={options.engine}"
    if os.geteuid() == 0:
        return both(engine, named, options.twice)
    suite = as_caller(engine)
    suite.run(named or ALL)
    return suite.end()


if __name__ == "__main__":
    sys.exit(main())
