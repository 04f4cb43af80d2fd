"""The process that pulls an image, and how it is started and followed.

A process of its own: it reads the bytes of strangers, keeps a processor busy, and must be able to end at any moment.
Its standard input is the order, as one line, and the life line: when that closes, it ends. On its standard output it
says how far it is, a JSON record a line, and at last what became of it.
"""

from __future__ import annotations

import base64
import json
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pyro_mcp.environments.cache import EnvironmentCache, Manifest
from pyro_mcp.environments.oci.reference import parse
from pyro_mcp.environments.prepared import Wanted
from pyro_mcp.errors import Cancelled, EngineError, HostError, PyroError, from_record
from pyro_mcp.host_errors import of_this_machine

MEMORY_BYTES = 4 * 1024**3
"""Of address space: what a small image with large lists may make of this process at most."""
MIRROR = "PYRO_REGISTRY_MIRROR"
NICE = 5


def pull(
    name: str, cache: EnvironmentCache, progress: Callable[[str, float | None], None], cancel: threading.Event
) -> Manifest:
    """Pull an image in a process of its own, and wait for it. For a worker thread.

    Raises:
        Cancelled: `cancel` was set; downloads are kept.
        PyroError: what the pull came to.
    """
    order = {"name": name, "cache": str(cache.root), "mirror": os.environ.get(MIRROR, "")}
    return _work(order, progress, cancel)


def save(
    name: str,
    base: Manifest,
    archive: Path,
    workspace: str,
    values: list[bytes],
    cache: EnvironmentCache,
    cancel: threading.Event,
    user: str = "",
) -> Manifest:
    """`saving.save`, in a process of its own. For a worker thread."""
    order: dict[str, Any] = {
        "name": name,
        "cache": str(cache.root),
        "base": asdict(base),
        "archive": str(archive),
        "workspace": workspace,
        "user": user,
        # On its standard input, which nobody else can read.
        "values": [base64.b64encode(value).decode() for value in values],
    }
    return _work(order, lambda text, fraction: None, cancel)


def prepare(
    wanted: Wanted,
    base: Manifest,
    archive: Path,
    seed: Path,
    values: list[bytes],
    cache: EnvironmentCache,
    cancel: threading.Event,
    *,
    anew: bool,
) -> Manifest:
    """`preparing.keep`, in a process of its own. For a worker thread."""
    order: dict[str, Any] = {
        "name": wanted.name,
        "cache": str(cache.root),
        "wanted": wanted.dump(),
        "base": asdict(base),
        "archive": str(archive),
        "seed": str(seed),
        "values": [base64.b64encode(value).decode() for value in values],
        "anew": anew,
    }
    return _work(order, lambda text, fraction: None, cancel)


def export(
    manifest: Manifest, output: str, cache: EnvironmentCache, cancel: threading.Event, *, compress: bool = True
) -> int:
    """`image_writer.write`, in a process of its own: the bytes written. For a worker thread."""
    order: dict[str, Any] = {"name": manifest.name, "cache": str(cache.root), "base": asdict(manifest)}
    order |= {"output": output, "compress": compress}
    return _work(order, lambda text, fraction: None, cancel).size_bytes


def take(name: str, archive: Path, source: str, cache: EnvironmentCache, cancel: threading.Event) -> Manifest:
    """`pull.take`, in a process of its own: what a machine built. For a worker thread."""
    order = {"name": name, "cache": str(cache.root), "built": str(archive), "source": source}
    return _work(order, lambda text, fraction: None, cancel)


def fetch(name: str, into: Path, cache: EnvironmentCache, cancel: threading.Event) -> str:
    """`artifact.fetch`, in a process of its own: the digest of what is in `into` now. For a worker thread."""
    order = {"name": name, "cache": str(cache.root), "mirror": os.environ.get(MIRROR, ""), "into": str(into)}
    return _work(order, lambda text, fraction: None, cancel).digest


def _work(order: dict[str, Any], progress: Callable[[str, float | None], None], cancel: threading.Event) -> Manifest:
    name = order["name"]
    process = subprocess.Popen(
        [sys.executable, "-m", "pyro_mcp.environments.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        cwd="/",
    )
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    stopper = threading.Thread(target=_kill_on, args=(cancel, process), daemon=True)
    stopper.start()
    said: list[bytes] = []
    complaints = threading.Thread(target=lambda: said.append(process.stderr.read()[-4000:]), daemon=True)  # type: ignore[union-attr]
    complaints.start()
    try:
        process.stdin.write(json.dumps(order).encode() + b"\n")
        process.stdin.flush()
        for line in process.stdout:
            record = json.loads(line)
            if "done" in record:
                return Manifest(**record["done"])
            if "error" in record:
                raise from_record(record["error"])
            progress(str(record["text"]), record["fraction"])
    except BrokenPipeError:
        pass
    finally:
        process.stdin.close()
        process.kill()
        process.wait()
        process.stdout.close()
        complaints.join(5)
        process.stderr.close()
    if cancel.is_set():
        raise Cancelled("It was cancelled.", hint="The download so far is kept.")
    why = b"".join(said).decode(errors="replace").strip().splitlines()
    raise EngineError(
        f"Building {name} ended unexpectedly: {why[-1] if why else 'it was killed'}.",
        hint="Try again; the download so far is kept.",
        code="pull_ended",
    )


def _kill_on(cancel: threading.Event, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        if cancel.wait(1.0):
            process.kill()
            return


def main() -> int:
    """Be the process."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is not a record
    order = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.nice(NICE)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    last = ""

    def say(record: dict[str, object]) -> None:
        out.write(json.dumps(record) + "\n")
        out.flush()

    def report(text: str, fraction: float | None) -> None:
        nonlocal last
        if text != last:
            last = text
            say({"text": text, "fraction": fraction})

    # Here, and not above: what the order needs is some 200 ms of imports that the daemon can do without.
    from pyro_mcp.environments import image_writer, preparing, saving
    from pyro_mcp.environments.oci import artifact
    from pyro_mcp.environments.oci.pull import pull as pull_here
    from pyro_mcp.environments.oci.pull import take as take_here

    cache = EnvironmentCache(Path(order["cache"]))
    try:
        if "output" in order:
            manifest = Manifest(**order["base"])
            size = image_writer.write(manifest, cache, order["output"], compress=order["compress"])
            manifest = replace(manifest, size_bytes=size)
        elif "built" in order:
            manifest = take_here(order["name"], Path(order["built"]), order["source"], cache)
        elif "wanted" in order:
            values = [base64.b64decode(value) for value in order["values"]]
            base, archive, seed = Manifest(**order["base"]), Path(order["archive"]), Path(order["seed"])
            wanted = Wanted(**order["wanted"])
            manifest = preparing.keep(wanted, base, archive, seed, values, cache, anew=bool(order["anew"]))
        elif "archive" in order:
            values = [base64.b64decode(value) for value in order["values"]]
            base, archive = Manifest(**order["base"]), Path(order["archive"])
            manifest = saving.save(order["name"], base, archive, order["workspace"], values, cache, order["user"])
        elif "into" in order:
            digest = artifact.fetch(parse(order["name"]), order["mirror"], Path(order["into"]))
            manifest = Manifest(order["name"], digest, "artifact", "", 0, {})
        else:
            manifest = pull_here(parse(order["name"]), cache, order["mirror"], report)
        say({"done": asdict(manifest)})
    except PyroError as error:
        say({"error": error.to_record()})
    except MemoryError:
        say({"error": HostError("The image needs more memory to read than pyro allows.").to_record()})
    except OSError as problem:
        known = of_this_machine(problem, cache.root)
        if known is None:
            known = EngineError(f"The image could not be unpacked: {problem}.", code="pull_failed")
        say({"error": known.to_record()})
    return 0


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
