"""The user's own instructions and skills for a program, as one archive that is unpacked inside.

Instructions are text that the program would read at home as well. Settings, hooks, servers and logins stay here: they
name programs of this computer, and may hold credentials.
"""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from pyro_mcp import trees
from pyro_mcp.errors import InvalidInput
from pyro_mcp.masking.redaction import Redactor

MAX_FILE = 256 * 1024
MAX_ALL = 600 * 1024
"""Bytes, compressed: base64 of it fits into a command's standard input of 1 MiB."""
MAX_FILES = 1000


def archive(home: Path, told: Mapping[str, str], masker: Redactor) -> bytes:
    """A .tar.gz of those files, read-only; empty when there are none.

    Args:
        told: below the home here, and below the home inside.
        masker: knows what must not go in; a file with that in it, however it is spelled, stays here.
    Raises:
        InvalidInput: they are too many, or too much.
    """
    found = 0
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as tar:
        for here, inside in told.items():
            for file in _files(home / here):
                below = file.relative_to(home / here)
                data = _content(file)
                if data is None or masker.data(data) != data:
                    continue
                name = inside if below == Path() else f"{inside}/{below.as_posix()}"
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode = len(data), 0o555 if os.access(file, os.X_OK) else 0o444
                tar.addfile(entry, io.BytesIO(data))
                found += 1
                if found > MAX_FILES or out.tell() > MAX_ALL:
                    raise _too_much(home / here)
    data = out.getvalue()
    if len(data) > MAX_ALL:
        raise _too_much(home)
    return data if found else b""


def _too_much(place: Path) -> InvalidInput:
    return InvalidInput(
        f"The instructions and skills are too many to be copied in, at {place}: at most {MAX_FILES} files and "
        f"{MAX_ALL // 1024} KiB compressed.",
        hint="Leave them here with --no-instructions.",
        code="too_large",
    )


def _files(place: Path) -> Iterator[Path]:
    """The files at and below a place; links lead to what they mean, and nowhere twice."""
    if place.is_file():
        yield place
        return
    seen: set[str] = set()
    for folder, folders, names in os.walk(place, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if name not in (".git", "node_modules"))
        for name in sorted(names):
            yield Path(folder, name)


def _content(file: Path) -> bytes | None:
    """The bytes of a plain file that is not too large; None of anything else."""
    try:
        with trees.opened(os.path.realpath(file)) as opened:
            data = opened.read(MAX_FILE + 1)
    except OSError:
        return None
    return data if len(data) <= MAX_FILE else None
