"""The environments that pyro knows, each defined by its packages."""

from __future__ import annotations

import difflib
import hashlib
import json
from dataclasses import dataclass

from pyro_mcp.errors import NotFound

RECIPE_VERSION = 4
"""Raised whenever `debian.py` makes a different tree from the same packages."""
DEFAULT = "debian:12"

_BASE = ("ca-certificates",)
_AGENT = (
    *_BASE,
    "build-essential",
    "bzip2",
    "curl",
    "diffutils",
    "file",
    "git",
    "git-lfs",
    "iproute2",
    "jq",
    "less",
    "locales",
    "make",
    "nano",
    "netcat-openbsd",
    "openssh-client",
    "openssh-server",
    "patch",
    "pkg-config",
    "procps",
    "psmisc",
    "python3",
    "python3-dev",
    "python3-pip",
    "python3-venv",
    "ripgrep",
    "rsync",
    "sudo",
    "tree",
    "unzip",
    "wget",
    "xz-utils",
    "zip",
    "zstd",
)
_BUILD = (
    *_AGENT,
    "autoconf",
    "automake",
    "bison",
    "cmake",
    "flex",
    "gdb",
    "libffi-dev",
    "libsqlite3-dev",
    "libssl-dev",
    "libtool",
    "ninja-build",
    "strace",
    "zlib1g-dev",
)


@dataclass(frozen=True)
class Definition:
    """An environment as it is to be built."""

    name: str
    description: str
    suite: str
    packages: tuple[str, ...]
    image: str
    """The official image that stands in for it where there is no mmdebstrap: the nearest, without some packages."""

    @property
    def slug(self) -> str:
        """The name as part of a path: apt takes a colon in a path for a separator."""
        return self.name.replace(":", "-")

    @property
    def recipe(self) -> str:
        """Changes whenever a build of this definition would come out different by pyro's doing."""
        text = json.dumps([RECIPE_VERSION, self.suite, sorted(self.packages)])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


CATALOG = {
    definition.name: definition
    for definition in (
        Definition(
            "debian:12",
            "Debian 12 with what a coding agent expects: git, curl, Python with venv and pip, and a C toolchain.",
            "bookworm",
            _AGENT,
            "docker.io/library/python:3.11-bookworm",
        ),
        Definition(
            "debian:13",
            "The same as debian:12, on Debian 13.",
            "trixie",
            _AGENT,
            "docker.io/library/python:3.13-trixie",
        ),
        Definition(
            "debian:12-base",
            "Debian 12, minimal, with CA certificates.",
            "bookworm",
            _BASE,
            "docker.io/library/debian:bookworm",
        ),
        Definition(
            "debian:12-build",
            "debian:12 with CMake, Ninja, autotools, gdb and development headers.",
            "bookworm",
            _BUILD,
            "docker.io/library/python:3.11-bookworm",
        ),
    )
}


def definition(name: str) -> Definition:
    """The environment of this name.

    Raises:
        NotFound: there is none; the message names the nearest and lists all.
    """
    found = CATALOG.get(name)
    if found is None:
        near = difflib.get_close_matches(name, CATALOG, 1, 0.5)
        raise NotFound(
            f"There is no environment {name!r}. Known environments: {', '.join(CATALOG)}.",
            hint=f"Did you mean {near[0]!r}?" if near else f"The default is {DEFAULT}.",
            code="unknown_environment",
        )
    return found
