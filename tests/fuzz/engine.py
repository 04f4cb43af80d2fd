"""Mutates a kept corpus, and keeps what reaches a new line of the code under test. Bounds each input's time and memory.

Time is this process's own on the CPU (ITIMER_PROF), so a busy machine makes no finding; memory is the address space.
"""

from __future__ import annotations

import hashlib
import os
import random
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

CORPUS = Path(__file__).parent / "corpus"
CPU_SECONDS = 5.0
"""Of one input, on the CPU and traced: some hundred times what the slowest takes."""
MEMORY = 1024**3
"""What the address space may grow by."""
LARGEST_FILE = 64 * 1024**2
MOST = 64 * 1024
"""Bytes of an input."""
_WORDS = (
    b"\0",
    b"\xff" * 4,
    b"\x7f\xff\xff\xff",
    b"\x80",
    b"\r\n",
    b"\n",
    b"..",
    b"/",
    b"\\ud800",
    b"{",
    b"[",
    b'"',
    b"-1",
)


@dataclass(frozen=True)
class Target:
    """One parser. `run` takes an input and raises only what is `declared`; it checks what holds of the outcome."""

    name: str
    run: Callable[[bytes], object]
    seeds: Callable[[], Iterable[bytes]]
    declared: tuple[type[BaseException], ...]
    watched: str = "pyro_mcp"
    """Lines of files with this in their path count as new ground."""


@dataclass
class Outcome:
    target: str
    inputs: int = 0
    kept: int = 0
    lines: int = 0
    slowest: float = 0.0
    findings: list[tuple[bytes, str]] = field(default_factory=list)


class TooSlow(BaseException):
    """Not an Exception: code that catches all of those must not hide it."""


def mutated(corpus: list[bytes], chance: random.Random) -> bytes:
    data = bytearray(chance.choice(corpus))
    for _ in range(1 << chance.randrange(5)):
        place = chance.randrange(len(data) + 1)
        kind = chance.randrange(8)
        if kind == 0 and data:
            data[place % len(data)] ^= 1 << chance.randrange(8)
        elif kind == 1 and data:
            data[place % len(data)] = chance.randrange(256)
        elif kind == 2:
            data[place:place] = chance.choice(_WORDS)
        elif kind == 3:
            del data[place : place + chance.randrange(1, 33)]
        elif kind == 4:
            length = chance.randrange(1, 65)
            data[place:place] = data[place : place + length] * chance.choice((1, 2, 8, 200))
        elif kind == 5:
            other = chance.choice(corpus)
            start = chance.randrange(len(other) + 1)
            data[place:] = other[start:]
        elif kind == 6:
            data[place:place] = chance.randbytes(chance.randrange(1, 17))
        else:
            digits = [i for i, byte in enumerate(data) if 48 <= byte < 58]
            if digits:
                data[chance.choice(digits)] = chance.choice(b"0123456789-")
    return bytes(data[:MOST])


class Session:
    """One target's run. The random choices come from `seed` alone."""

    def __init__(self, target: Target, seed: int) -> None:
        self.target = target
        self.chance = random.Random(f"{seed} {target.name}")
        self.seen: set[tuple[str, int]] = set()
        self.outcome = Outcome(target.name)
        self.new: list[bytes] = []

    def run(self, seconds: float, most_findings: int = 5) -> Outcome:
        corpus = list(self.target.seeds())
        place = CORPUS / self.target.name
        corpus += [path.read_bytes() for path in sorted(place.glob("*"))] if place.is_dir() else []
        corpus.append(b"")
        end = time.monotonic() + seconds
        for data in list(corpus):
            self.one(data)
        shapes: set[str] = set()
        while time.monotonic() < end and len(shapes) < most_findings:
            data = mutated(corpus, self.chance)
            if self.one(data):
                corpus.append(data)
                self.new.append(data)
            if self.outcome.findings:
                shapes = {text.strip().rpartition("\n")[2] for _, text in self.outcome.findings}
        self.outcome.kept, self.outcome.lines = len(corpus), len(self.seen)
        return self.outcome

    def one(self, data: bytes) -> bool:
        """Try an input; whether it reached new ground."""
        before, begun = len(self.seen), time.process_time()
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
        sys.settrace(self._trace)
        try:
            self.target.run(data)
        except self.target.declared:
            pass
        except (Exception, TooSlow):
            self.outcome.findings.append((data, traceback.format_exc()))
        finally:
            sys.settrace(None)
            signal.setitimer(signal.ITIMER_PROF, 0)
        self.outcome.inputs += 1
        self.outcome.slowest = max(self.outcome.slowest, time.process_time() - begun)
        return len(self.seen) > before

    def _trace(self, frame: FrameType, event: str, arg: Any) -> Any:
        name = frame.f_code.co_filename
        if self.target.watched not in name:
            return None

        def line(frame: FrameType, event: str, arg: Any) -> Any:
            self.seen.add((name, frame.f_lineno))
            return line

        return line

    def keep(self, most: int = 40, longest: int = 2048) -> None:
        """Put what is new and small into the corpus on disk."""
        place = CORPUS / self.target.name
        place.mkdir(parents=True, exist_ok=True)
        room = most - sum(1 for _ in place.iterdir())
        for data in sorted((d for d in self.new if len(d) <= longest), key=len)[: max(0, room)]:
            (place / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)


def bound_this_process() -> None:
    """The limits of a run, for this process and for good."""

    def too_slow(number: int, frame: FrameType | None) -> None:
        raise TooSlow(f"more than {CPU_SECONDS:g} s on the CPU")

    signal.signal(signal.SIGPROF, too_slow)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * os.sysconf("SC_PAGE_SIZE") + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE, LARGEST_FILE))
