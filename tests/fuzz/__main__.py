"""`python -m tests.fuzz --seconds 60 [--seed N] [--target NAME] [--keep] [--go]`: exit status 1 for any finding.

Each parser runs in a process of its own, with its limits. A finding is written whole, to be put into the corpus.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import secrets
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz.engine import Session, Target, bound_this_process

ROOT = Path(__file__).resolve().parents[2]


def targets() -> dict[str, Target]:
    from tests.fuzz import pure, sockets

    return {target.name: target for target in (*pure.TARGETS, *sockets.TARGETS)}


def fuzz_one(name: str, seconds: float, seed: int, keep: bool) -> int:
    bound_this_process()
    session = Session(targets()[name], seed)
    outcome = session.run(seconds)
    print(
        f"{name:16} {outcome.inputs:>8} inputs  {outcome.kept:>5} kept  {outcome.lines:>5} lines  "
        f"slowest {outcome.slowest * 1000:.0f} ms  {len(outcome.findings)} findings",
        flush=True,
    )
    for data, text in outcome.findings:
        place = Path(tempfile.gettempdir()) / f"pyro-fuzz-{name}-{hashlib.sha256(data).hexdigest()[:16]}"
        place.write_bytes(data)
        print(f"{text}\nthe input: {place} ({len(data)} bytes; {data[:120]!r})", flush=True)
    if keep and not outcome.findings:
        session.keep()
    return bool(outcome.findings)


def go_targets() -> list[str]:
    text = "".join(path.read_text() for path in sorted((ROOT / "agent").glob("*_test.go")))
    return re.findall(r"^func (Fuzz\w+)\(", text, re.M)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=600, help="in all")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--target", choices=sorted(targets()))
    parser.add_argument("--keep", action="store_true", help="put small inputs that reached new lines into the corpus")
    parser.add_argument("--go", action="store_true", help="the agent's, too")
    given = parser.parse_args()
    seed = secrets.randbelow(2**32) if given.seed is None else given.seed
    if given.target:
        return fuzz_one(given.target, given.seconds, seed, given.keep)
    print(f"seed {seed}", flush=True)
    agents = go_targets() if given.go else []
    each = given.seconds / (len(targets()) + len(agents))
    bad = 0
    for name in targets():
        argv = [sys.executable, "-m", "tests.fuzz", "--target", name, "--seconds", str(each), "--seed", str(seed)]
        bad |= subprocess.run([*argv, *(["--keep"] if given.keep else [])], cwd=ROOT).returncode
    for name in agents:
        argv = [str(ROOT / "scripts" / "go"), "test", "-run=^$", f"-fuzz=^{name}$", f"-fuzztime={int(each) or 1}s", "."]
        said = subprocess.run(
            argv, cwd=ROOT / "agent", capture_output=True, text=True, env={**os.environ, "GOFLAGS": ""}
        )
        lines = said.stdout.strip().splitlines()
        counted = [line for line in lines if "execs:" in line]
        print(f"{name:16} {counted[-1] if counted else ''}", flush=True)
        if said.returncode:
            print(said.stdout + said.stderr, flush=True)
            bad = 1
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
