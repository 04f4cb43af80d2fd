"""What of a public registry's answers may be kept, and for how long. Pure: a request in, what it means out.

A guest's request gives a host, a path, and which of two forms of an index is wanted; nothing else of it reaches the
registry or the name under which an answer is kept. A path that is not plainly one of these passes as it always did.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

FRESH_SECONDS = 300.0
"""How long an index is given out again without asking. The registries' own caches keep theirs for 300 to 600 s."""
MAX_PATH = 512
_CREDENTIALS = frozenset(
    (b"authorization", b"cookie", b"x-jfrog-art-api", b"private-token", b"npm-otp", b"x-api-key", b"job-token")
)
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_NPM = r"(?:@[a-z0-9~-][a-z0-9._~-]*(?:/|%2[fF]))?[A-Za-z0-9~-][A-Za-z0-9._~-]*"
_GO = r"[a-z0-9][a-z0-9.-]*(?:/[A-Za-z0-9!._~-]+)*"
_GO_VERSION = r"v[0-9]+\.[0-9]+\.[0-9]+(?:[-+][A-Za-z0-9!.+~-]+)?"
"""Whole, as Go writes it: `v2` or `v2-dev` in its place may be a branch, whose answer changes."""
_DEBIAN = r"/(?:debian|debian-security)"
_FILE = r"[A-Za-z0-9][A-Za-z0-9._+~:-]*"


@dataclass(frozen=True)
class Form:
    """One kind of answer of a registry."""

    path: re.Pattern[str]
    """The whole of a path. A group `blake2b` or `sha256` is the digest of the content, in hexadecimal."""
    lasting: bool
    """Whether the answer can never change."""
    accepts: tuple[str, ...] = ("*/*",)
    """What the daemon says that it accepts: the first form, unless a guest's request names another one."""


def _form(path: str, *, lasting: bool, accepts: tuple[str, ...] = ("*/*",)) -> Form:
    return Form(re.compile(path), lasting, accepts)


_PYPI = (
    _form(
        rf"/simple/(?:{_NAME}/)?",
        lasting=False,
        accepts=("text/html", "application/vnd.pypi.simple.v1+json", "application/vnd.pypi.simple.v1+html"),
    ),
)
_PYPI_FILES = (
    _form(
        rf"/packages/(?P<blake2b>[0-9a-f]{{2}}/[0-9a-f]{{2}}/[0-9a-f]{{60}})/{_NAME}(?:\+{_NAME})?(?<!\.metadata)(?<!\.asc)",
        lasting=True,
    ),
    _form(rf"/packages/[0-9a-f]{{2}}/[0-9a-f]{{2}}/[0-9a-f]{{60}}/{_FILE}\.metadata", lasting=True),
)
_NPMJS = (
    _form(rf"/{_NPM}/-/{_FILE}\.tgz", lasting=True),
    _form(rf"/{_NPM}", lasting=False, accepts=("application/json", "application/vnd.npm.install-v1+json")),
)
_CRATES_INDEX = (
    _form(
        r"/(?:config\.json|[1-3]/[a-z0-9_-]+(?:/[a-z0-9_-]+)?|[a-z0-9_-]{2}/[a-z0-9_-]{2}/[a-z0-9_-]+)", lasting=False
    ),
)
_CRATES = (_form(rf"/crates/{_NAME}/(?:{_FILE}/download|{_FILE}\.crate)", lasting=True),)
_GO_PROXY = (
    _form(rf"/{_GO}/@v/{_GO_VERSION}\.(?:info|mod|zip)", lasting=True),
    _form(rf"/{_GO}/@(?:v/list|latest)", lasting=False),
)
_GO_SUMS = (
    _form(r"/tile/8/(?:data/|[0-9]+/)(?:x[0-9]{3}/)*[0-9]{3}(?:\.p/[0-9]+)?", lasting=True),
    _form(rf"/lookup/{_GO}@v{_FILE}|/latest|/supported", lasting=False),
)
_DEBIAN_FORMS = (
    _form(rf"{_DEBIAN}/pool/(?:{_FILE}/)+{_FILE}\.(?:u?deb|dsc|diff\.gz|tar\.[a-z0-9]+)", lasting=True),
    _form(rf"{_DEBIAN}/dists/(?:{_FILE}/)+by-hash/SHA256/(?P<sha256>[0-9a-f]{{64}})", lasting=True),
    _form(rf"{_DEBIAN}/dists/(?:{_FILE}/)*{_FILE}", lasting=False),
)
REGISTRIES: dict[str, tuple[Form, ...]] = {
    "pypi.org": _PYPI,
    "files.pythonhosted.org": _PYPI_FILES,
    "registry.npmjs.org": _NPMJS,
    "registry.yarnpkg.com": _NPMJS,
    "index.crates.io": _CRATES_INDEX,
    "static.crates.io": _CRATES,
    "proxy.golang.org": _GO_PROXY,
    "sum.golang.org": _GO_SUMS,
    "deb.debian.org": _DEBIAN_FORMS,
    "security.debian.org": _DEBIAN_FORMS,
}
"""By host. All speak HTTPS, and are the same for everybody."""


@dataclass(frozen=True)
class Wanted:
    """An answer that may be kept."""

    host: str
    path: str
    accept: str
    lasting: bool
    digest: tuple[str, str] | None = None
    """Algorithm and hexadecimal digest, where the path names them."""
    anew: bool = False
    """Whether the registry must be asked, because the guest said so."""

    @property
    def key(self) -> str:
        """The name under which it is kept."""
        return hashlib.sha256(f"{self.host}\n{self.path}\n{self.accept}".encode()).hexdigest()


def wanted(host: str, method: bytes, target: bytes, headers: Iterable[tuple[bytes, bytes]]) -> Wanted | None:
    """What a request to a registry asks for; None where its answer must not be kept, or given out of what is.

    `target` is a path. `headers` have their names in lower case.
    """
    forms = REGISTRIES.get(host)
    if forms is None or method != b"GET" or len(target) > MAX_PATH:
        return None
    accept, anew = "", False
    for name, value in headers:
        if name in _CREDENTIALS or name in (b"content-length", b"transfer-encoding", b"range", b"upgrade"):
            return None
        if name == b"accept":
            accept += value.decode("latin-1").lower() + ","
        if name in (b"cache-control", b"pragma") and b"no-cache" in value.lower():
            anew = True
    path = target.decode("latin-1")
    if "/../" in path or "/./" in path:
        return None
    for form in forms:
        if match := form.path.fullmatch(path):
            named = {algorithm: text.replace("/", "") for algorithm, text in match.groupdict().items() if text}
            digest = next(iter(named.items()), None)
            return Wanted(host, path, _accepted(form.accepts, accept), form.lasting, digest, anew)
    return None


def _accepted(forms: tuple[str, ...], said: str) -> str:
    """Which form of an answer fits what the guest accepts: the one that it names first, else the plain one."""
    named = [(said.find(form), form) for form in forms if form in said]
    return min(named)[1] if named else forms[0]
