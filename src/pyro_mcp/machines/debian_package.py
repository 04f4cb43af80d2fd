"""One file out of one package of Debian's archive, without Debian's tools. Standard library only; blocks.

What comes is not signed in here: whoever calls knows the file's hash and looks at it.
"""

from __future__ import annotations

import io
import lzma
import tarfile
import urllib.error
import urllib.request

MIRROR = "http://deb.debian.org/debian/"
MAX_BYTES = 256 * 1024 * 1024
"""Of a package, and of what is in it."""
SECONDS = 60.0


class NoPackage(Exception):
    """It cannot be had, or is not a package; the text says why."""


def fetch_file(path: str, name: str) -> bytes:
    """The contents of the file `name` in the package at `path` below the mirror.

    Raises:
        NoPackage: as it says.
    """
    try:
        with urllib.request.urlopen(MIRROR + path, timeout=SECONDS) as answer:
            data = answer.read(MAX_BYTES + 1)
    except (OSError, urllib.error.URLError, ValueError) as error:
        raise NoPackage(f"{MIRROR}{path}: {error}") from error
    if len(data) > MAX_BYTES:
        raise NoPackage(f"{MIRROR}{path} is larger than {MAX_BYTES} bytes")
    return file_of(data, name)


def file_of(package: bytes, name: str) -> bytes:
    """The contents of a file in a package, which is an ar archive (deb(5)).

    Raises:
        NoPackage: it is none, or has no such file.
    """
    at = 8
    if package[:8] != b"!<arch>\n":
        raise NoPackage("it is not a Debian package")
    while at + 60 <= len(package):
        member, said = package[at : at + 16].strip(), package[at + 48 : at + 58].strip()
        size = int(said) if said.isdigit() else len(package)
        content = package[at + 60 : at + 60 + size]
        if member.rstrip(b"/") == b"data.tar.xz":
            return _unpacked(content, name)
        at += 60 + size + size % 2
    raise NoPackage("it has no data.tar.xz")


def _unpacked(data: bytes, name: str) -> bytes:
    try:
        tree = lzma.LZMADecompressor(memlimit=MAX_BYTES).decompress(data, MAX_BYTES)
        with tarfile.open(fileobj=io.BytesIO(tree)) as tar:
            file = tar.extractfile(f"./{name}")
            if file is not None:
                return file.read(MAX_BYTES)
    except (lzma.LZMAError, tarfile.TarError, EOFError, KeyError, ValueError) as error:
        raise NoPackage(f"it is damaged, or lacks {name}: {error}") from error
    raise NoPackage(f"it has no file {name}")
