"""Real images and a real registry for tests: made by hand or with Debian's tools, served by docker-registry."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import socket
import subprocess
import tarfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pyro_mcp.environments.oci.manifest import architecture
from tests.support import wait_until

SECRET_BCRYPT = "$2y$04$wGx3BJSPgJGT9QPnCRvXMe7KlfPk9ffbU.vTxtiLVErMCyQpkgguu"
"""What `htpasswd -B` makes of `secret`."""


def needs(*programs: str) -> None:
    """Skip the test where a program is missing, saying which."""
    missing = [program for program in programs if shutil.which(program, path=_path()) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed (apt-get install skopeo umoci docker-registry busybox-static)")


def _path() -> str:
    return os.environ.get("PATH", "") + ":/usr/bin:/usr/sbin:/bin"


def member(name: str, content: bytes | None = None, **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    """One entry of a layer: a file, or what `type` says."""
    info = tarfile.TarInfo(name)
    info.mtime = 1_700_000_000
    info.mode = 0o644
    if content is None and "type" not in fields:
        info.type, info.mode = tarfile.DIRTYPE, 0o755
    info.size = len(content or b"")
    for key, value in fields.items():
        setattr(info, key, value)
    return info, content or b""


def symlink(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, type=tarfile.SYMTYPE, linkname=target, mode=0o777)


def hard_link(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, type=tarfile.LNKTYPE, linkname=target)


def layer(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def layout(place: Path, layers: Sequence[bytes], tag: str = "latest", **run: Any) -> Path:
    """An OCI layout with one image of these layers (uncompressed tars); `run` is its configuration's `config`."""
    blobs = place / "blobs" / "sha256"
    blobs.mkdir(parents=True, exist_ok=True)

    def put(data: bytes, kind: str, **more: Any) -> dict[str, Any]:
        (blobs / digest(data).removeprefix("sha256:")).write_bytes(data)
        return {"mediaType": kind, "digest": digest(data), "size": len(data), **more}

    config = {
        "architecture": architecture(),
        "os": "linux",
        "config": run,
        "rootfs": {"type": "layers", "diff_ids": [digest(each) for each in layers]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": put(json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json"),
        "layers": [
            put(gzip.compress(each, 6, mtime=0), "application/vnd.oci.image.layer.v1.tar+gzip") for each in layers
        ],
    }
    named = {"org.opencontainers.image.ref.name": tag}
    entry = put(json.dumps(manifest).encode(), "application/vnd.oci.image.manifest.v1+json", annotations=named)
    index = place / "index.json"
    others = json.loads(index.read_text())["manifests"] if index.exists() else []
    others = [each for each in others if each["annotations"] != named]
    index.write_text(json.dumps({"schemaVersion": 2, "manifests": [*others, entry]}))
    (place / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return place


def busybox_layer() -> bytes:
    """What Alpine is at its core: one static program under many names, no bash, git or CA certificates."""
    needs("busybox")
    program = Path(shutil.which("busybox", path=_path()) or "")
    names = subprocess.run([program, "--list"], capture_output=True, text=True, check=True).stdout.split()
    return layer(
        member("bin"),
        member("etc"),
        member("tmp", mode=0o1777, type=tarfile.DIRTYPE),
        member("bin/busybox", program.read_bytes(), mode=0o755),
        *(symlink(f"bin/{name}", "busybox") for name in names if name != "busybox"),
        member("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n"),
        member("etc/os-release", b'PRETTY_NAME="Handmade 1"\n'),
    )


@contextmanager
def registry(place: Path, *, password: bool = False, tokens: str = "") -> Iterator[str]:
    """Debian's docker-registry on a free port of loopback; gives HOST:PORT. With a password: user `me`, `secret`.

    With `tokens`, the address of a token server; its certificate is `tokens.pem` in `place`.
    """
    needs("docker-registry")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place.mkdir(parents=True, exist_ok=True)
    lines = [
        "version: 0.1",
        "log: {level: error}",
        f"storage: {{filesystem: {{rootdirectory: {place}/data}}, delete: {{enabled: true}}}}",
        f"http: {{addr: '127.0.0.1:{port}', secret: x}}",
    ]
    if password:
        (place / "htpasswd").write_text(f"me:{SECRET_BCRYPT}\n")
        lines.append(f"auth: {{htpasswd: {{realm: test, path: {place}/htpasswd}}}}")
    if tokens:
        said = f"realm: '{tokens}', service: test, issuer: tests, rootcertbundle: {place}/tokens.pem"
        lines.append(f"auth: {{token: {{{said}}}}}")
    (place / "config.yml").write_text("\n".join(lines) + "\n")
    with open(place / "log", "wb") as log:
        process = subprocess.Popen(
            [shutil.which("docker-registry", path=_path()) or "", "serve", str(place / "config.yml")],
            stdout=log,
            stderr=log,
        )
    try:

        def answers() -> bool:
            assert process.poll() is None, (place / "log").read_text()
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/", timeout=5).close()
            except urllib.error.HTTPError as error:
                return error.code == 401
            except OSError:
                return False
            return True

        wait_until(answers)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def push(source: str, target: str, *more: str) -> None:
    """Copy an image with skopeo, such as `oci:DIR:TAG` to HOST:PORT/NAME:TAG."""
    needs("skopeo")
    subprocess.run(
        ["skopeo", "--insecure-policy", "copy", "-q", "--dest-tls-verify=false", *more, source, f"docker://{target}"],
        check=True,
        capture_output=True,
    )
