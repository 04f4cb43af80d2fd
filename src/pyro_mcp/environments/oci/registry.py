"""A registry's pull side, as the OCI distribution specification has it (github.com/opencontainers/distribution-spec).

TLS everywhere but on loopback. A blob comes in pieces that can be continued, and counts only once its hash was looked
at. Blocks; used in the pulling process only.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
import time
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2

from pyro_mcp.environments.oci import credentials
from pyro_mcp.environments.oci.manifest import ACCEPT, MAX_MANIFEST, Descriptor, bad
from pyro_mcp.environments.oci.reference import DOCKER, Reference, is_loopback
from pyro_mcp.errors import EngineError, NotFound, NotPermitted, PyroError

CONNECT_SECONDS, READ_SECONDS = 15.0, 60.0
ATTEMPTS = 5
PAUSE_SECONDS = 0.5
"""Before the second attempt; twice as long before each further one."""
MAX_REDIRECTS = 6
MAX_TOKEN = 256 * 1024
_CHUNK = 256 * 1024
_TRANSIENT = (408, 429, 500, 502, 503, 504)


class Registry:
    """The pull side of one repository."""

    def __init__(self, reference: Reference, mirror: str = "") -> None:
        self.repository = reference.repository
        self.place = reference.place
        self._host = "registry-1.docker.io" if reference.place == DOCKER else reference.place
        if mirror:
            host, _, prefix = re.sub(r"^https?://", "", mirror).strip("/").partition("/")
            self._host = host
            self.repository = f"{prefix}/{self.repository}" if prefix else self.repository
        self._login_of = self._host if mirror else reference.place
        self.loopback = is_loopback(self._host)
        self._base = f"{'http' if self.loopback else 'https'}://{self._host}/v2/{self.repository}"
        self._authorization = ""
        # On loopback no proxy of the user's stands between.
        self._client = httpx2.Client(
            timeout=httpx2.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
            follow_redirects=False,
            trust_env=not self.loopback,
            headers={"User-Agent": "pyro"},
        )

    def close(self) -> None:
        self._client.close()

    # -- what is asked for

    def manifest(self, reference: str) -> tuple[bytes, str]:
        """A manifest or index by tag or digest, with its media type; the bytes are those that a digest names.

        Raises:
            NotFound: there is none.
            NotPermitted: one must be logged in.
            EngineError: the registry cannot be reached, or fails.
        """
        data = bytearray()
        with self._get(f"{self._base}/manifests/{reference}", {"Accept": ACCEPT}) as response:
            for chunk in response.iter_bytes(_CHUNK):
                data += chunk
                if len(data) > MAX_MANIFEST:
                    raise bad(f"has a manifest of more than {MAX_MANIFEST} bytes")
            kind = response.headers.get("Content-Type", "").partition(";")[0].strip()
        if reference.startswith("sha256:") and reference != digest_of(bytes(data)):
            raise bad(f"has another manifest than its digest says ({digest_of(bytes(data))})")
        return bytes(data), kind

    def small_blob(self, wanted: Descriptor) -> bytes:
        """A blob that fits in memory, checked."""
        data = bytearray()
        with self._get(f"{self._base}/blobs/{wanted.digest}", {}) as response:
            for chunk in response.iter_bytes(_CHUNK):
                data += chunk
                if len(data) > wanted.size:
                    raise bad("has a configuration that is larger than it says")
        if digest_of(bytes(data)) != wanted.digest or len(data) != wanted.size:
            raise bad("has another configuration than its digest says")
        return bytes(data)

    def blob(self, wanted: Descriptor, into: Path, progress: Callable[[int], None]) -> None:
        """Bring a blob into a file, going on with what is there. `progress` hears of the bytes so far.

        Raises:
            InvalidInput: it is not what its digest says; the file is gone.
            EngineError: it cannot be had just now; what came is kept.
        """
        attempt = 0
        while True:
            before = into.stat().st_size if into.exists() else 0
            try:
                self._continue(wanted, into, progress)
                break
            except (httpx2.TransportError, _Busy) as error:
                # An attempt that brought something on is not a failure.
                attempt = 1 if into.exists() and into.stat().st_size > before else attempt + 1
                if attempt >= ATTEMPTS:
                    raise self._unreachable(error) from error
                time.sleep(PAUSE_SECONDS * 2**attempt)
        with open(into, "rb") as file:
            found = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
        if found != wanted.digest:
            into.unlink()
            raise bad(f"has a layer with other bytes than its digest says ({found}, not {wanted.digest})")

    def _continue(self, wanted: Descriptor, into: Path, progress: Callable[[int], None]) -> None:
        there = into.stat().st_size if into.exists() else 0
        if there > wanted.size:
            into.unlink()
            there = 0
        if there == wanted.size and into.exists():
            return
        headers = {"Range": f"bytes={there}-"} if there else {}
        with self._get(f"{self._base}/blobs/{wanted.digest}", headers) as response:
            if response.status_code != 206:
                there = 0
            elif not response.headers.get("Content-Range", "").startswith(f"bytes {there}-"):
                raise _Busy("the registry continued elsewhere than it was asked to")
            with open(into, "ab" if there else "wb") as file:
                for chunk in response.iter_raw(_CHUNK):
                    there += len(chunk)
                    if there > wanted.size:
                        file.truncate(0)
                        raise bad("has a layer that is larger than it says")
                    file.write(chunk)
                    progress(there)
        if there < wanted.size:
            raise _Busy(f"the registry ended after {there} of {wanted.size} bytes")

    # -- how it is asked

    @contextlib.contextmanager
    def _get(self, url: str, headers: dict[str, str]) -> Iterator[httpx2.Response]:
        """A GET that succeeded: logged in where that is asked for, redirected where that is safe."""
        asked, first = False, urllib.parse.urlsplit(url)
        hops = tries = 0
        while True:
            own = urllib.parse.urlsplit(url).netloc == first.netloc
            extra = {"Authorization": self._authorization} if own and self._authorization else {}
            try:
                response = self._client.send(
                    self._client.build_request("GET", url, headers={**headers, **extra}), stream=True
                )
            except httpx2.TransportError as error:
                tries += 1
                if tries >= ATTEMPTS or isinstance(error, httpx2.ConnectError):
                    raise self._unreachable(error) from error
                time.sleep(PAUSE_SECONDS * 2**tries)
                continue
            try:
                status = response.status_code
                if status in (301, 302, 303, 307, 308):
                    hops += 1
                    url = self._redirected(url, response.headers.get("Location", ""), hops)
                    continue
                if status == 401 and own and not asked:
                    asked = True
                    self._log_in(response.headers.get("WWW-Authenticate", ""))
                    continue
                if status in _TRANSIENT and tries < ATTEMPTS - 1:
                    tries += 1
                    time.sleep(_pause(response, tries))
                    continue
                if status not in (200, 206):
                    raise self._refusal(status, response)
                yield response
                return
            finally:
                response.close()

    def _redirected(self, url: str, location: str, hops: int) -> str:
        try:
            target = urllib.parse.urljoin(url, location)
            parts = urllib.parse.urlsplit(target)
            followed = bool(parts.hostname) and parts.port != 0
        except ValueError:  # half an IPv6 address, or a port that is none
            target, followed = location, False
        plain = followed and parts.scheme == "http" and self.loopback and is_loopback(parts.netloc)
        if hops > MAX_REDIRECTS or not followed or not (parts.scheme == "https" or plain):
            raise EngineError(
                f"The registry {self._host} redirects to {target[:200]!r}, which pyro does not follow.",
                code="registry_failed",
            )
        return target

    def _log_in(self, challenge: str) -> None:
        """Get what the registry asks for, with the user's login if there is one (RFC 7235, distribution's token spec).

        Raises:
            NotPermitted: it asks for something else, or does not take the login.
        """
        challenges = _challenges(challenge)
        login = credentials.find(self._login_of, self.repository)
        fields = challenges.get("bearer")
        if fields is None and "basic" in challenges and login is not None:
            self._authorization = _basic(login)
            return
        try:
            parts = urllib.parse.urlsplit((fields or {}).get("realm", ""))
            more = urllib.parse.parse_qsl(parts.query)
        except ValueError:
            raise self._refusal(401, None) from None
        plain = parts.scheme == "http" and self.loopback and is_loopback(parts.netloc)
        if fields is None or not (parts.scheme == "https" or plain):
            raise self._refusal(401, None)
        realm = parts._replace(query="").geturl()
        query = dict(more) | {"service": fields.get("service", ""), "scope": f"repository:{self.repository}:pull"}
        try:
            if login is not None and not login.user:
                form = {"grant_type": "refresh_token", "refresh_token": login.secret, "client_id": "pyro", **query}
                response = self._client.post(realm, data=form)
            else:
                headers = {"Authorization": _basic(login)} if login is not None else {}
                response = self._client.get(realm, params=query, headers=headers)
        except httpx2.TransportError as error:
            raise self._unreachable(error) from error
        token: Any = None
        if response.status_code == 200 and len(response.content) <= MAX_TOKEN:
            with contextlib.suppress(ValueError, AttributeError):
                said = response.json()
                token = said.get("token") or said.get("access_token")
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise self._refusal(response.status_code if response.status_code != 200 else 401, None)
        self._authorization = f"Bearer {token}"

    def _refusal(self, status: int, response: httpx2.Response | None) -> PyroError:
        where = f"{self.place}/{self.repository}"
        if status == 404:
            return NotFound(
                f"The registry {self._host} has no such image in {where}.",
                hint="Check its name and tag.",
                code="image_not_found",
            )
        if status in (401, 403):
            return NotPermitted(
                f"The registry {self._host} refuses {where}: it does not exist, or you must log in.",
                hint=f"Check its name, or log in with `docker login {self._login_of}` or `podman login` and try again.",
                code="registry_login",
            )
        if status == 429:
            return EngineError(
                f"The registry {self._host} refuses for now: too many requests.",
                hint="Log in, wait, or use a mirror (PYRO_REGISTRY_MIRROR). The download so far is kept.",
                code="registry_busy",
            )
        return EngineError(
            f"The registry {self._host} answered {status} for {where}.",
            hint="Try again later; the download so far is kept.",
            code="registry_failed",
        )

    def _unreachable(self, error: Exception) -> EngineError:
        why = re.sub(r"\[Errno -?[0-9]+\] ", "", str(error)) or type(error).__name__
        return EngineError(
            f"The registry {self._host} cannot be reached: {why}.",
            hint="Check this computer's network and proxy variables, then pull again; the download so far is kept.",
            code="registry_unreachable",
        )


def _challenges(text: str) -> dict[str, dict[str, str]]:
    """What a registry offers, by scheme, with the fields of each: some offer two in one header (RFC 9110, 11.6.1)."""
    found: dict[str, dict[str, str]] = {}
    begins = list(re.finditer(r"(?i)(?:^|,)\s*(bearer|basic)(?=\s|$)", text[:8192]))
    for number, begin in enumerate(begins):
        end = begins[number + 1].start() if number + 1 < len(begins) else 8192
        fields = re.findall(r'([A-Za-z_]+)\s*=\s*(?:"([^"]*)"|([^\s,"]+))', text[begin.end() : end])
        found.setdefault(begin[1].lower(), {key.lower(): quoted or plain for key, quoted, plain in fields})
    return found


class _Busy(Exception):
    """It may go better the next time."""


def _pause(response: httpx2.Response, tries: int) -> float:
    asked = response.headers.get("Retry-After", "")
    return min(float(asked), 10.0) if asked.isascii() and asked.isdigit() else PAUSE_SECONDS * 2**tries


def _basic(login: credentials.Login) -> str:
    return "Basic " + base64.b64encode(f"{login.user}:{login.secret}".encode()).decode()


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
