"""`make lab`: boots the nested lab and runs pyro's engine tests in it, on real Firecracker."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time

from lab import outer, qemu


def say(text: str) -> None:
    print(f"lab: {text}", file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", nargs="*", default=["lab.inside.core"], help="module and arguments to run in there")
    parser.add_argument("--seconds", type=float, default=2000, help="the longest it may take")
    arguments = parser.parse_args()
    # Ended by timeout(1), say: QEMU and the disk with this checkout are to go, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    started = time.monotonic()
    prepared = outer.prepare(say)
    say(f"images ready after {time.monotonic() - started:.1f} s")
    try:
        status, results = qemu.run(prepared, arguments.task, arguments.seconds)
    finally:
        prepared.payload.unlink(missing_ok=True)
    for result in results:
        print(json.dumps(result))
    say(f"status {status} after {time.monotonic() - started:.1f} s")
    return status


if __name__ == "__main__":
    sys.exit(main())
