"""`make lab-all`: all of tests/engine and tests/smokes on real Firecracker, one emulated computer for each file.

One that freezes (docs/engines.md) costs its own file only, which is run again. What each said is kept in files.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn

from lab import outer, qemu
from lab.run import say

FOLDERS = ("tests/engine", "tests/smokes")
AT_ONCE = min(2, os.cpu_count() or 1)
LOGS = outer.CACHE / "logs"


def files() -> list[str]:
    found = [path for folder in FOLDERS for path in (outer.ROOT / folder).glob("test_*.py")]
    return sorted(str(path.relative_to(outer.ROOT)) for path in found)


def run(prepared: outer.Outer, file: str, seconds: float) -> dict[str, Any]:
    """Run one file; gives its numbers."""
    started = time.monotonic()
    with (LOGS / f"{Path(file).stem}.log").open("w") as log:
        status, results = qemu.run(prepared, ["lab.inside.suite", file], seconds, log)
    record = {"file": file, "passed": 0, "failed": [], "skipped": [], **(results[-1] if results else {})}
    record |= {"ended": bool(results) and status in (0, 1), "seconds": round(time.monotonic() - started)}
    say(line(record))
    return record


def line(record: dict[str, Any]) -> str:
    ended = "" if record["ended"] else ", and did not end"
    numbers = f"{record['passed']} passed, {len(record['failed'])} failed, {len(record['skipped'])} skipped"
    return f"{record['file']}: {numbers}{ended}, {record['seconds']} s"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", nargs="*", help="default: all")
    parser.add_argument("--seconds", type=float, default=1200, help="the longest that a file may take")
    parser.add_argument("--at-once", type=int, default=AT_ONCE, help="emulated computers, 6 GB each")
    arguments = parser.parse_args()
    started = time.monotonic()
    LOGS.mkdir(parents=True, exist_ok=True)
    prepared = outer.prepare(say)

    def stop(number: int, frame: object) -> NoReturn:
        qemu.end_all()
        prepared.payload.unlink(missing_ok=True)
        os._exit(128 + number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    try:
        with ThreadPoolExecutor(arguments.at_once) as threads:
            wanted = arguments.file or files()
            records = list(threads.map(lambda file: run(prepared, file, arguments.seconds), wanted))
    finally:
        prepared.payload.unlink(missing_ok=True)
    print()
    for record in records:
        print(line(record))
        for kind in ("failed", "skipped"):
            for what in record[kind]:
                print(f"    {kind}: {what}")
    total = sum(record["passed"] for record in records)
    bad = [record["file"] for record in records if record["failed"] or not record["ended"]]
    print(f"{total} passed in {time.monotonic() - started:.0f} s; logs are in {LOGS}")
    if bad:
        print(f"not good: {', '.join(bad)}")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
