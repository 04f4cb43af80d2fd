"""`pyro demo`: the main job on a real third-party project, scene by scene, with what each took.

Every scene checks what it claims, and the demo fails where one does not hold. Whatever happens, its workspaces
are deleted.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pyro_mcp.errors import PyroError
from pyro_mcp.locations import Locations
from pyro_mcp.models import ExecResult
from pyro_mcp.sdk import Progress, Pyro
from pyro_mcp.workspaces.archives import extract

ENVIRONMENT = "debian:12"
PROJECT, VERSION = "toolz", "1.0.0"
SHA256 = "2c86e3d9a04798ac556793bced838816296a2f085017664e4995cb40a1047a02"
"""Of the source distribution in the Python index; it carries its own tests and needs nothing else."""
TEST = ".venv/bin/python -B -m pytest -q -p no:cacheprovider toolz/tests"
BROKEN_FILE = "toolz/itertoolz.py"
RIGHT, WRONG = "return itertools.islice(seq, n, None)", "return itertools.islice(seq, n + 1, None)"
FIX = f"""\
--- a/{BROKEN_FILE}
+++ b/{BROKEN_FILE}
@@ -1,1 +1,1 @@
-    {WRONG}
+    {RIGHT}
"""
REGRESSION_TEST = """\
from toolz import drop


def test_drop_leaves_what_follows():
    assert list(drop(1, "abc")) == ["b", "c"]
"""


class SceneFailed(Exception):
    """A scene did not do what it claims."""


def require(holds: bool, what: str) -> None:
    if not holds:
        raise SceneFailed(what)


class Stage:
    """Prints numbered scenes with their durations."""

    def __init__(self) -> None:
        self._number = 0
        self._begun = time.monotonic()

    @contextlib.contextmanager
    def scene(self, title: str) -> Iterator[Callable[[str], None]]:
        self._number += 1
        print(f"\n{self._number}. {title}", flush=True)
        begun = time.monotonic()
        yield lambda text: print("   " + text.rstrip("\n").replace("\n", "\n   "), flush=True)
        print(f"   ({time.monotonic() - begun:.2f} s)", flush=True)

    def end(self) -> None:
        print(f"\nAll of it in {time.monotonic() - self._begun:.1f} s. Nothing is left of the machines.")


def _on_event(event: object) -> None:
    if isinstance(event, Progress) and sys.stderr.isatty():
        done = f" {event.fraction:.0%}" if event.fraction is not None else ""
        print(f"   … {event.text}{done}", file=sys.stderr)


def run(prog: str, words: Sequence[str], after: Sequence[str] | None = None) -> int:
    """Play the demo; 0 when every scene held."""
    parser = argparse.ArgumentParser(prog=prog, description="The main job on a real project, end to end.")
    parser.add_argument("--keep-patch", metavar="FILE", help="also leave the exported patch here")
    options = parser.parse_args(list(words))
    with Pyro(on_event=_on_event, face="cli") as pyro, tempfile.TemporaryDirectory(prefix="pyro-demo-") as work:
        made: list[str] = []
        try:
            play(pyro, Path(work), made, Path(options.keep_patch).absolute() if options.keep_patch else None)
        except SceneFailed as failure:
            print(f"\nThe demo failed: {failure}", file=sys.stderr)
            return 1
        finally:
            for workspace in made:
                with contextlib.suppress(PyroError):
                    pyro.delete_workspace(workspace)
    return 0


def play(pyro: Pyro, work: Path, made: list[str], keep_patch: Path | None) -> None:
    """The scenes. Ids of workspaces are put into `made` as soon as they are there."""
    stage = Stage()
    with stage.scene(f"Get {PROJECT} {VERSION} from the Python index, inside a machine that may go out") as say:
        project = fetch_project(pyro, work, made, say)
    with stage.scene("Seed a workspace: a fresh machine, its /workspace filled with the project") as say:
        created = pyro.create_workspace(ENVIRONMENT, seed_path=str(project), network_policy="egress")
        made.append(created.id)
        ws = created.id
        require(created.seed is not None, "the workspace has no seed")
        files = created.seed.files if created.seed else 0
        say(f"{ws}: {files} files; {created.isolation}")
    with stage.scene("Install its test dependencies through the egress proxy") as say:
        command = "python3 -m venv .venv && .venv/bin/pip install -q pytest && .venv/bin/pip freeze"
        installed = finish(pyro, pyro.exec_workspace(ws, command, wait_seconds=50))
        require(installed.exit_code == 0, f"installing failed: {installed.stderr}")
        say(installed.stdout)
    with stage.scene("Run its own tests") as say:
        before = finish(pyro, pyro.exec_workspace(ws, TEST, wait_seconds=50))
        require(before.exit_code == 0, f"the project's tests fail before anything was changed: {before.stdout}")
        say(last_line(before))
    with stage.scene(f"Break {BROKEN_FILE}, and see the tests fail") as say:
        source = pyro.read_workspace_file(ws, BROKEN_FILE).content
        require(RIGHT in source, f"{BROKEN_FILE} is not the expected one")
        pyro.write_workspace_file(ws, BROKEN_FILE, source.replace(RIGHT, WRONG))
        broken = finish(pyro, pyro.exec_workspace(ws, TEST, wait_seconds=50))
        require(broken.exit_code == 1, f"the tests do not notice the damage: {last_line(broken)}")
        diff = pyro.diff_workspace(ws, path="toolz")
        require([f.path for f in diff.files] == [BROKEN_FILE], "the diff does not show the damage alone")
        say(diff.patch)
        say(last_line(broken))
    with stage.scene("Add a regression test, apply a patch, and see the tests pass") as say:
        pyro.write_workspace_file(ws, "toolz/tests/test_drop_regression.py", REGRESSION_TEST)
        applied = pyro.apply_workspace_patch(ws, FIX)
        require([f.path for f in applied.files] == [BROKEN_FILE], "the patch went elsewhere")
        fixed = finish(pyro, pyro.exec_workspace(ws, TEST, wait_seconds=50))
        require(fixed.exit_code == 0, f"the tests still fail: {last_line(fixed)}")
        say(last_line(fixed))
    with stage.scene("Show the diff, and export the patch to this machine") as say:
        diff = pyro.diff_workspace(ws, path="toolz")
        say(diff.patch)
        pyro.exec_workspace(ws, "rm -rf .venv")
        patch = work / "change.patch"
        exported = pyro.export_workspace(ws, output=str(patch), patch=True)
        require(exported.files == 1, f"the patch has {exported.files} files")
        say(f"{patch}: {exported.bytes} bytes")
        if shutil.which("git"):
            checked = subprocess.run(
                ["git", "apply", "--check", str(patch)], cwd=project, capture_output=True, text=True
            )
            require(checked.returncode == 0, f"git would not apply it: {checked.stderr}")
            say("`git apply --check` takes it on the original")
        if keep_patch is not None:
            shutil.copy(patch, keep_patch)
    with stage.scene("Reset: the whole machine is back where it began") as say:
        pyro.reset_workspace(ws)
        require(pyro.diff_workspace(ws).files == [], "something is left after the reset")
        say("the diff is empty")
    with stage.scene("Delete: the machine is gone") as say:
        pyro.delete_workspace(ws)
        made.remove(ws)
        require(ws not in {w.id for w in pyro.list_workspaces().workspaces}, "it is still listed")
        say(f"{ws} is gone")
    stage.end()


def fetch_project(pyro: Pyro, work: Path, made: list[str], say: Callable[[str], None]) -> Path:
    """The unpacked project: from the cache, or fetched by pip in a machine; verified either way."""
    archive = Locations.of_this_user().cache / "demo" / f"{PROJECT}-{VERSION}.tar.gz"
    if not (archive.exists() and _sha256(archive) == SHA256):
        created = pyro.create_workspace(ENVIRONMENT, network_policy="egress")
        made.append(created.id)
        command = f"pip download -q --no-deps --no-binary :all: --dest out {PROJECT}=={VERSION} && ls out"
        fetched = finish(pyro, pyro.exec_workspace(created.id, command, wait_seconds=50))
        require(fetched.exit_code == 0, f"pip could not download it: {fetched.stderr}")
        archive.parent.mkdir(parents=True, exist_ok=True)
        pyro.export_workspace(created.id, f"out/{archive.name}", output=str(archive), overwrite=True)
        pyro.delete_workspace(created.id)
        made.remove(created.id)
    found = _sha256(archive)
    require(found == SHA256, f"{archive.name} has sha256 {found}, not {SHA256}")
    say(f"{archive.name}, sha256 {SHA256[:16]}… as pinned")
    unpacked = work / "unpacked"
    unpacked.mkdir()
    extract(archive, unpacked)
    return unpacked / f"{PROJECT}-{VERSION}"


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def finish(pyro: Pyro, result: ExecResult) -> ExecResult:
    """Wait for a command that outlived its call, as an agent does."""
    while result.status == "running":
        logs = pyro.logs_workspace(result.workspace, handle=result.handle, offset=0, wait_seconds=50)
        update = {"status": logs.status, "exit_code": logs.exit_code, "stdout": logs.output}
        result = result.model_copy(update=update)
    return result


def last_line(result: ExecResult) -> str:
    lines = result.stdout.strip().splitlines()
    return lines[-1] if lines else "(no output)"
