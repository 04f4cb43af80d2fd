"""`pyro demo`: the main job on a real third-party project, scene by scene, with what each took.

Every scene checks what it claims, and the demo fails with exit status 1 where one does not hold. Its workspaces
are deleted at the end, whether it came to its end, failed, or was stopped by SIGINT, SIGTERM or SIGHUP; should it
be killed, the daemon deletes them once they have been unused for `TTL_SECONDS`.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from pyro_mcp.cli.options import Parser
from pyro_mcp.errors import NotFound, PyroError
from pyro_mcp.git import environment
from pyro_mcp.handles import Workspace
from pyro_mcp.locations import Locations
from pyro_mcp.models import ExecResult
from pyro_mcp.sdk import Progress, Pyro
from pyro_mcp.seeds.archives import extract

SUMMARY = "Run the whole workflow on a real project."
ENVIRONMENT = "debian:12"
PROJECT, VERSION = "toolz", "1.0.0"
SHA256 = "2c86e3d9a04798ac556793bced838816296a2f085017664e4995cb40a1047a02"
"""Of the source distribution in the Python index; it carries its own tests and needs nothing else."""
VENV = "/opt/venv"
"""Outside /workspace, so that the diff holds the change alone, and a reset must undo more than files of it."""
TEST = f"{VENV}/bin/python -B -m pytest -q -p no:cacheprovider toolz/tests"
BROKEN_FILE = "toolz/itertoolz.py"
RIGHT, WRONG = "return itertools.islice(seq, n, None)", "return itertools.islice(seq, n + 1, None)"
REGRESSION_FILE = "toolz/tests/test_drop_regression.py"
REGRESSION_TEST = """\
from toolz import drop


def test_drop_leaves_what_follows():
    assert list(drop(1, "abc")) == ["b", "c"]
"""
COUNTER = """\
from http.server import BaseHTTPRequestHandler, HTTPServer

visitors = 0


class Count(BaseHTTPRequestHandler):
    def do_GET(self):
        global visitors
        visitors += 1
        self.send_response(200)
        self.end_headers()
        self.wfile.write(str(visitors).encode())


HTTPServer(("127.0.0.1", 8000), Count).serve_forever()
"""
LABEL = "pyro-demo"
TTL_SECONDS = 600
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
Say = Callable[[str], None]


class SceneFailed(Exception):
    """A scene did not do what it claims."""


class Stopped(BaseException):
    """A signal asked the demo to leave; derived as KeyboardInterrupt is, so that nothing takes it for an error."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def require(holds: bool, what: str) -> None:
    if not holds:
        raise SceneFailed(what)


class Stage:
    """Prints numbered scenes with their durations."""

    def __init__(self) -> None:
        self.number = 0
        self._begun = time.monotonic()

    @contextlib.contextmanager
    def scene(self, title: str) -> Iterator[Say]:
        self.number += 1
        print(f"\n{self.number}. {title}", flush=True)
        begun = time.monotonic()
        yield lambda text: print("   " + text.rstrip("\n").replace("\n", "\n   "), flush=True)
        print(f"   ({time.monotonic() - begun:.2f} s)", flush=True)

    def end(self) -> None:
        print(f"\nDone in {time.monotonic() - self._begun:.1f} s. No machine is left behind.")


class Machines:
    """Workspaces of one playing of the demo, found again by a label: also one whose id never arrived."""

    def __init__(self, pyro: Pyro) -> None:
        self._pyro = pyro
        self._labels = {LABEL: secrets.token_hex(8)}

    def create(self, seed_path: str | None = None) -> Workspace:
        return self._pyro.create_workspace(
            ENVIRONMENT,
            seed_path=seed_path,
            labels=self._labels,
            network_policy="egress+published-ports",
            ttl_seconds=TTL_SECONDS,
        )

    def left(self) -> list[Workspace]:
        return self._pyro.list_workspaces(labels=self._labels).workspaces

    def delete_all(self) -> None:
        """Delete what is left; where that cannot be done, say so, and who will do it."""
        try:
            for workspace in self.left():
                with contextlib.suppress(NotFound):
                    self._pyro.delete_workspace(workspace.id)
        except PyroError as error:
            print(
                f"The demo's workspaces could not be deleted: {error} "
                f"The daemon deletes them after {TTL_SECONDS} s without use.",
                file=sys.stderr,
            )


def run(prog: str, words: Sequence[str], after: Sequence[str] | None = None) -> int:
    """Play the demo; 0 when every scene held, 1 when one did not, 128 + N when signal N stopped it."""
    parser = Parser(prog=prog, description="Run the whole workflow on a real project, end to end.")
    parser.add_argument("--keep-patch", metavar="FILE", help="Also save the exported patch here.")
    options = parser.none_left(words, after)
    keep_patch = Path(options.keep_patch).absolute() if options.keep_patch else None
    stage = Stage()
    try:
        with (
            _stoppable() as deaf,
            Pyro(on_event=_on_event, face="cli") as pyro,
            tempfile.TemporaryDirectory(prefix="pyro-demo-") as work,
        ):
            machines = Machines(pyro)
            try:
                play(stage, pyro, machines, Path(work), keep_patch)
            finally:
                deaf()
                machines.delete_all()
    except Stopped as stopped:
        print(f"\nStopped by {signal.Signals(stopped.number).name}.", file=sys.stderr)
        return 128 + stopped.number
    except (SceneFailed, PyroError) as failure:
        print(f"\nThe demo failed at step {stage.number}: {failure}", file=sys.stderr)
        return 1
    return 0


@contextlib.contextmanager
def _stoppable() -> Iterator[Callable[[], None]]:
    """Signals raise `Stopped`, until what is given is called: from then on they wait for the cleaning up."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None  # only the main thread may set handlers, and gets the signals
        return

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        raise Stopped(number)

    # What is ignored stays so: nohup relies on it.
    before: dict[signal.Signals, Any] = {
        number: found for number in STOPPING if (found := signal.getsignal(number)) is not signal.SIG_IGN
    }

    def deaf() -> None:
        for number in before:
            signal.signal(number, signal.SIG_IGN)

    try:
        for number in before:
            signal.signal(number, stop)
        yield deaf
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _on_event(event: object) -> None:
    if isinstance(event, Progress) and sys.stderr.isatty():
        done = f" {event.fraction:.0%}" if event.fraction is not None else ""
        print(f"   … {event.text}{done}", file=sys.stderr)


def play(stage: Stage, pyro: Pyro, machines: Machines, work: Path, keep_patch: Path | None) -> None:
    """The scenes."""
    with stage.scene(f"Get {PROJECT} {VERSION}, a real project with its own tests, from the Python index") as say:
        project = fetch_project(pyro, machines, work, say)
    with stage.scene("Seed a workspace: a fresh machine, its /workspace filled with the project") as say:
        created = machines.create(str(project))
        ws = created.id
        files = created.seed.files if created.seed else 0
        expected = sum(1 for path in project.rglob("*") if path.is_symlink() or not path.is_dir())
        require(files == expected, f"{files} of {expected} files came into the workspace")
        say(f"{ws}: {files} files; {created.isolation}")
    with stage.scene("Install its test dependencies through the egress proxy") as say:
        installed = run_in(pyro, ws, f"python3 -m venv {VENV} && {VENV}/bin/pip install -q pytest")
        require(installed.exit_code == 0, f"installing failed: {installed.stderr}")
        say(" ".join(run_in(pyro, ws, f"{VENV}/bin/pip freeze").stdout.split()))
    with stage.scene("Run its own tests") as say:
        before = run_in(pyro, ws, TEST)
        require(before.exit_code == 0, f"the project's tests fail before anything was changed: {before.stdout}")
        require(pyro.diff_workspace(ws).files == [], "the tests alone have changed the workspace")
        say(last_line(before))
    with stage.scene(f"Break {BROKEN_FILE}, and see the tests fail") as say:
        right = pyro.read_workspace_file(ws, BROKEN_FILE, max_bytes=1024 * 1024).content
        wrong = right.replace(RIGHT, WRONG)
        require(right.count(RIGHT) == 1, f"{BROKEN_FILE} is not the expected one")
        pyro.write_workspace_file(ws, BROKEN_FILE, wrong)
        broken = run_in(pyro, ws, TEST)
        require(broken.exit_code == 1, f"the tests do not notice the damage: {last_line(broken)}")
        diff = pyro.diff_workspace(ws)
        require([f.path for f in diff.files] == [BROKEN_FILE], "the diff does not show the damage alone")
        say(f"{diff.patch}{last_line(broken)}")
    with stage.scene("Apply a patch with the fix and a regression test, and see the tests pass") as say:
        fix = as_patch(BROKEN_FILE, wrong, right) + as_patch(REGRESSION_FILE, None, REGRESSION_TEST)
        applied = {f.path: f.status for f in pyro.apply_workspace_patch(ws, fix).files}
        require(applied == {BROKEN_FILE: "modified", REGRESSION_FILE: "added"}, f"the patch did {applied}")
        fixed = run_in(pyro, ws, TEST)
        require(fixed.exit_code == 0, f"the tests still fail: {fixed.stdout}")
        require(passed(fixed) == passed(before) + 1, f"the regression test did not run: {last_line(fixed)}")
        say(", ".join(f"{status} {path}" for path, status in applied.items()))
        say(last_line(fixed))
    with stage.scene("Show the diff, and export it as a patch to this computer") as say:
        diff = pyro.diff_workspace(ws)
        say(diff.patch)
        patch = work / "change.patch"
        exported = pyro.export_workspace(ws, output=str(patch), patch=True)
        require(patch.read_text() == diff.patch, "the exported patch is not the diff that was shown")
        say(f"{patch}: {exported.files} file, {exported.bytes} bytes")
        if shutil.which("git"):
            git_apply(patch, project)
            say("`git apply` takes it on the original")
        if keep_patch is not None:
            shutil.copy(patch, keep_patch)
    with stage.scene("Start a service that counts its visitors in memory, its port published on this computer") as say:
        service = pyro.start_service(ws, "counter", ["python3", "-c", COUNTER], ready_http="8000/", publish=["8000"])
        require(service.state == "running", f"the service is {service.state}: {service.failure} {service.log_tail}")
        port = service.published_ports[0].host_port
        first, second = visit(port), visit(port)
        require(second == first + 1, f"it counted {first}, then {second}")
        say(f"http://127.0.0.1:{port}/ answers: visitor {second}; ready after {service.ready_seconds} s")
    with stage.scene("Snapshot it while it runs, fork it twice, and put it back") as say:
        snapshot = pyro.create_snapshot(ws, "visited")
        forks = pyro.fork_workspace(ws, count=2).workspaces
        ports = [fork.published_ports[0].host_port for fork in forks]
        counted = [visit(ports[0]), visit(ports[0]), visit(ports[1]), visit(port)]
        require(
            counted == [second + 1, second + 2, second + 1, second + 1],
            f"siblings of one moment counted {counted} after {second}",
        )
        say(
            f"snapshot of {snapshot.size_bytes >> 20} MiB; each of {len(forks)} forks counts on from {second} by itself"
        )
        for fork in forks:
            pyro.delete_workspace(fork.id)
        pyro.reset_workspace(ws, snapshot="visited")
        require(visit(port) == second + 1, "the memory of the service is not back at the snapshot")
        say(f"reset to the snapshot: the same port answers, and the next visitor is {second + 1} again")
    with stage.scene("Reset: the whole machine is back where it began") as say:
        pyro.reset_workspace(ws)
        require(pyro.diff_workspace(ws).files == [], "something in /workspace is left after the reset")
        require(run_in(pyro, ws, f"test -e {VENV}").exit_code == 1, f"{VENV} is still there after the reset")
        say(f"the diff is empty, and {VENV} is gone")
    with stage.scene("Delete: the machine is gone") as say:
        pyro.delete_workspace(ws)
        with contextlib.suppress(NotFound):
            pyro.status_workspace(ws)
            raise SceneFailed(f"{ws} still answers")
        require(machines.left() == [], "there are still workspaces of this demo")
        say(f"{ws} is gone")
    stage.end()


def visit(port: int) -> int:
    """The number that the counting service gives to its next visitor."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(f"http://127.0.0.1:{port}/", timeout=20) as answer:
        return int(answer.read())


def fetch_project(pyro: Pyro, machines: Machines, work: Path, say: Say) -> Path:
    """The unpacked project: from the cache, or fetched by pip in a machine; verified either way."""
    name = f"{PROJECT}-{VERSION}.tar.gz"
    cached = Locations.of_this_user().cache / "demo" / name
    if cached.exists() and _sha256(cached) == SHA256:
        archive, origin = cached, "from pyro's cache"
    else:
        archive, origin = work / name, "downloaded by pip in a machine of its own"
        loader = machines.create().id
        # pip runs the project's build script to learn its metadata, which is a reason not to do it on this computer.
        command = f"pip download -q --no-deps --no-binary :all: --dest out {PROJECT}=={VERSION}"
        fetched = run_in(pyro, loader, command)
        require(fetched.exit_code == 0, f"pip could not download it: {fetched.stderr}")
        pyro.export_workspace(loader, f"out/{name}", output=str(archive))
        pyro.delete_workspace(loader)
        found = _sha256(archive)
        require(found == SHA256, f"{name} has sha256 {found}, not {SHA256}")
        _keep(archive, cached)
    say(f"{name}, {origin}, sha256 {SHA256[:16]}… as pinned")
    unpacked = work / "unpacked"
    unpacked.mkdir()
    extract(archive, unpacked)
    return unpacked / f"{PROJECT}-{VERSION}"


def _keep(archive: Path, cached: Path) -> None:
    """Put a verified archive into the cache in one step; other demos may do the same at the same time."""
    cached.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = cached.with_name(f".{cached.name}.{secrets.token_hex(4)}")
    try:
        shutil.copyfile(archive, beside)
        beside.replace(cached)
    finally:
        beside.unlink(missing_ok=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def run_in(pyro: Pyro, workspace: str, command: str) -> ExecResult:
    """A command's outcome, however long it takes."""
    return pyro.stream_exec_workspace(workspace, command, timeout_seconds=300).result


def as_patch(path: str, old: str | None, new: str) -> str:
    """A unified diff as `diff -u` prints it; no old text means a new file."""
    before = "/dev/null" if old is None else f"a/{path}"
    lines = difflib.unified_diff((old or "").splitlines(True), new.splitlines(True), before, f"b/{path}")
    return "".join(lines)


def git_apply(patch: Path, project: Path) -> None:
    """Apply a patch to a tree by git itself, as a repository that may lie above must not decide what it means."""
    alone = environment({"GIT_CEILING_DIRECTORIES": str(project.parent.resolve())})
    for command in (["git", "apply", "--check", str(patch)], ["git", "apply", str(patch)]):
        done = subprocess.run(command, cwd=project, env=alone, capture_output=True, text=True)
        require(done.returncode == 0, f"git would not apply it: {done.stderr}")
    there = project / REGRESSION_FILE
    require(there.is_file() and there.read_text() == REGRESSION_TEST, "git applied it, but to nothing")


def passed(result: ExecResult) -> int:
    """How many tests passed, from pytest's last line."""
    found = re.search(r"\b(\d+) passed\b", last_line(result))
    return int(found[1]) if found else 0


def last_line(result: ExecResult) -> str:
    lines = result.stdout.strip().splitlines()
    return lines[-1] if lines else "(no output)"
