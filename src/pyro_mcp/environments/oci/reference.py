"""Names of images, as people write them.

    node:22                                       docker.io/library/node:22
    docker.io/library/node:22-bookworm            a registry's, by tag
    ghcr.io/acme/app@sha256:…                     by digest, which cannot change
    127.0.0.1:5000/app:1                          a registry on this computer
    oci:DIR[:TAG]                                 an OCI layout (directory)
    docker-archive:FILE[:NAME:TAG], oci-archive:FILE[:TAG]
                                                  what `docker save` and `skopeo copy` write

The grammar is that of github.com/distribution/reference.
"""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass

from pyro_mcp.errors import InvalidInput, Unsupported
from pyro_mcp.paths import IMAGE_FILES

DOCKER = "docker.io"
MAX_LENGTH = 512
_HOST = re.compile(r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?")
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_PART}(?:/{_PART})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_HINT = "Such as docker.io/library/node:22-bookworm, ghcr.io/OWNER/NAME@sha256:…, oci:DIR or docker-archive:FILE."


@dataclass(frozen=True)
class Reference:
    """One image: of a registry, or in a file or directory of this computer."""

    transport: str
    """`registry`, `oci`, `oci-archive` or `docker-archive`."""
    place: str
    """The registry's host with its port, or an absolute path."""
    repository: str = ""
    tag: str = ""
    """For docker-archive, NAME:TAG; empty is the only image in there."""
    digest: str = ""

    @property
    def name(self) -> str:
        """The one spelling under which the image is kept."""
        if self.transport == "registry":
            shown = f"{self.place}/{self.repository}"
            shown += f":{self.tag}" if self.tag else ""
            return shown + (f"@{self.digest}" if self.digest else "")
        return f"{self.transport}:{self.place}" + (f":{self.tag}" if self.tag else "")

    @property
    def official(self) -> bool:
        """One of the images that Docker itself publishes."""
        return self.place == DOCKER and re.fullmatch("library/[^/]+", self.repository) is not None


def looks_like_one(text: str) -> bool:
    """Whether a name can only be an image's: it has a tag, a digest, a registry or a kind of source."""
    return ":" in text or "/" in text or "@" in text


def parse(text: str) -> Reference:
    """The image that a name means.

    Raises:
        InvalidInput: it is not a reference, or names a local place by a path that is not absolute.
        Unsupported: `docker-daemon:` and other sources that pyro does not read.
    """
    kind, colon, rest = text.partition(":")
    if len(text) > MAX_LENGTH or not text.isprintable():
        raise _bad(
            text[:80],
            "is too long" if len(text) > MAX_LENGTH else "contains characters that are not allowed in a reference",
        )
    if kind == "docker-daemon":
        raise Unsupported(
            "pyro does not use the Docker daemon, because access to its socket is as good as root.",
            hint=f"Save the image to a file (docker save {rest or 'NAME'} -o image.tar) and use "
            "docker-archive:image.tar.",
            code="docker_daemon",
        )
    if kind == "docker" and rest.startswith("//"):
        return _of_registry(rest[2:])
    if colon and kind in IMAGE_FILES:
        return _of_this_machine(kind, rest)
    if "://" in text:
        raise _bad(text, "is an address")
    return _of_registry(text)


def _of_this_machine(kind: str, rest: str) -> Reference:
    path, _, tag = rest.partition(":")
    if not os.path.isabs(path):
        raise _bad(f"{kind}:{rest}", "needs the absolute path of a file or directory of this computer")
    return Reference(kind, os.path.normpath(path), tag=tag)


def _of_registry(text: str) -> Reference:
    rest, at, digest = text.partition("@")
    if at and not DIGEST.fullmatch(digest):
        raise _bad(text, f"has the digest {digest[:80]!r}, which is not sha256: with 64 hexadecimal digits")
    first, slash, others = rest.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        host, path = first, others
    else:
        host, path = DOCKER, rest
    path, _, tag = path.partition(":")
    if host in ("index.docker.io", "registry-1.docker.io"):
        host = DOCKER
    if host == DOCKER and "/" not in path:
        path = f"library/{path}"
    if not _HOST.fullmatch(host):
        raise _bad(text, f"has the registry {host!r}, which is not a host name")
    if not _PATH.fullmatch(path):
        lower = " (names are lower case)" if _PATH.fullmatch(path.lower()) else ""
        raise _bad(text, f"has the name {path!r}, which is not a valid image name{lower}")
    if (tag or rest.endswith(":")) and not _TAG.fullmatch(tag):
        raise _bad(text, f"has the tag {tag!r}, which is not valid")
    return Reference("registry", host.lower(), path, "" if digest else tag or "latest", digest)


def is_loopback(host: str) -> bool:
    """Whether a registry's host, with or without a port, is this computer."""
    name = re.sub(r":[0-9]+$", "", host).strip("[]")
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _bad(text: str, what: str) -> InvalidInput:
    return InvalidInput(f"The reference {text!r} {what}.", hint=_HINT, code="bad_reference")
