# ruff: noqa: E501
"""The parsers that take bytes and need no socket."""

from __future__ import annotations

import errno
import io
import json
import os
import struct
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import zstandard

from pyro_mcp.environments.oci import layer
from pyro_mcp.environments.oci import manifest as manifests
from pyro_mcp.environments.oci.reference import parse
from pyro_mcp.errors import GuestError, InvalidInput, Unsupported
from pyro_mcp.guest import frames
from pyro_mcp.guest.said import Said, parsed, whole_header
from pyro_mcp.machines.firecracker.kernel import dependencies, extract_vmlinux, load_order
from pyro_mcp.machines.firecracker.lz4 import MAGIC, decompress_legacy
from pyro_mcp.mcp import gate
from pyro_mcp.patches.parse import parse_patch
from pyro_mcp.seeds.archives import extract
from tests.fuzz.engine import Target

# -- the guest's agent


def _frames(data: bytes) -> None:
    """However a stream is cut, the same frames come out of it."""
    step = data[0] % 31 + 1 if data else 1
    decoder, cut = frames.Decoder(), []
    try:
        for start in range(0, len(data), step):
            cut += list(decoder.feed(data[start : start + step]))
    except GuestError:
        cut.append(frames.Frame(0, 0, b"refused"))
    whole: list[frames.Frame] = []
    try:
        for frame in frames.Decoder().feed(data):
            whole.append(frame)
    except GuestError:
        whole.append(frames.Frame(0, 0, b"refused"))
    # A refusal in the middle of a piece loses the frames before it in that piece; no frame is ever another one.
    assert whole[: len(cut) - 1] == cut[:-1] and (not cut or cut[-1] in whole), (cut, whole)


def _frame_seeds() -> Iterator[bytes]:
    yield frames.encode(frames.STDOUT, b"hello", 7) + frames.encode(frames.EXIT, b"{}")
    yield struct.pack(">BIQ", 1, 2**32 - 1, 0)


def _answers(data: bytes) -> None:
    said = Said.of(parsed(data))
    for name in list(said.fields)[:8] or ["a"]:
        for take in (said.text, said.name, said.handle, said.whole, said.flag, said.data, said.record, said.records):
            try:
                value = take(name)
            except GuestError:
                continue
            if isinstance(value, Said):
                _answers(json.dumps(value.fields).encode())
        try:
            whole_header({"x": str(said.fields.get(name))}, "x")
        except GuestError:
            continue


def _answer_seeds() -> Iterator[bytes]:
    yield b'{"entries":[{"path":{"b64":"/w=="},"size":3,"kind":"file"}],"end":null}'
    yield b'{"exit_code":0,"output_end":12,"dropped":0,"data":"aGk=","running":true}'
    yield b'{"a":"\\ud800","b":{"b64":"AAA"},"c":1e999,"d":-1,"e":NaN}'
    yield b"[" * 3000


# -- archives of the user's, from anywhere

_KINDS = (".tar", ".tar.gz", ".tar.zst")


def _archive(data: bytes) -> None:
    with tempfile.TemporaryDirectory(prefix="fuzz-") as place:
        into, archive = Path(place, "into"), Path(place, "a" + _KINDS[data[0] % 3 if data else 0])
        into.mkdir()
        archive.write_bytes(data[1:])
        try:
            extract(archive, into)
        except OSError as error:
            if error.errno != errno.EFBIG:  # our own limit on the size of a file
                raise
        assert sorted(p.name for p in Path(place).iterdir()) == sorted([archive.name, "into"])
        for found in into.rglob("*"):
            assert found.is_symlink() or found.is_file() or found.is_dir(), found


def _tar(*members: tarfile.TarInfo, pax: bool = True) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT if pax else tarfile.GNU_FORMAT) as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(b"x" * member.size))
    return out.getvalue().rstrip(b"\0") + b"\0" * 1024


def _member(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0, link: str = "", **pax: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, size, link
    info.pax_headers = {key.replace("_", "."): value for key, value in pax.items()}
    return info


def _long_names(count: int) -> bytes:
    """Headers that each announce a longer name, one after the other."""
    info = _member("././@LongLink", tarfile.GNUTYPE_LONGNAME, 2)
    return (info.tobuf(tarfile.GNU_FORMAT) + b"a\0".ljust(512, b"\0")) * count


def _archive_seeds() -> Iterator[bytes]:
    import gzip

    plain = [
        _tar(
            _member("d", tarfile.DIRTYPE),
            _member("d/f", size=3),
            _member("l", tarfile.SYMTYPE, link="../x"),
            _member("h", tarfile.LNKTYPE, link="d/f"),
        ),
        _tar(_member("../x", size=1), _member("/etc/x", size=1)),
        _tar(_member("n" * 300, size=1), pax=False),
        _tar(_member("s", size=8, GNU_sparse_major="1", GNU_sparse_minor="0", GNU_sparse_realsize="99")),
        _tar(_member("s", size=8, GNU_sparse_map="0,8", GNU_sparse_size="99", mtime="1.5")),
        _tar(_member("s", size=512, GNU_sparse_major="1", GNU_sparse_minor="0", GNU_sparse_realsize="9")),
        _long_names(60),
        _long_names(600),
        _tar(_member("dev", tarfile.CHRTYPE)),
    ]
    for data in plain:
        yield b"\0" + data
    yield b"\1" + gzip.compress(plain[0], mtime=0)
    yield b"\2" + zstandard.compress(plain[0])


# -- images from a registry


def _layer(data: bytes) -> None:
    """Whatever a layer holds, it makes files, directories and links in its own place, and nothing anywhere else."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as place:
        into = Path(place, "into")
        into.mkdir()
        Path(place, "victim").write_text("untouched")
        try:
            notes = layer.unpack(io.BytesIO(data), len(data), str(into), "sha256:" + "0" * 64)
        except InvalidInput:
            notes = None  # it never is what that digest says, so the checks below are those of what was unpacked
        except OSError as error:
            if error.errno != errno.EFBIG:  # our own limit on the size of a file
                raise
        assert notes is None
        assert sorted(os.listdir(place)) == ["into", "victim"]
        assert Path(place, "victim").read_text() == "untouched" and Path(place, "victim").stat().st_nlink == 1
        for found in into.rglob("*"):
            assert found.is_symlink() or found.is_file() or found.is_dir(), found


def _layer_seeds() -> Iterator[bytes]:
    import gzip

    plain = [data[1:] for data in _archive_seeds() if data[:1] == b"\0"]
    plain += [
        _tar(_member("d/.wh.x"), _member("d/.wh..wh..opq"), _member("e/.wh..wh.aufs"), _member(".wh.")),
        _tar(
            _member("l", tarfile.SYMTYPE, link="/"), _member("l/x", size=3), _member("h", tarfile.LNKTYPE, link="/l/y")
        ),
        _tar(_member("x", size=3, SCHILY_xattr_user_a="b", SCHILY_xattr_security_capability="c")),
    ]
    yield from plain
    yield gzip.compress(plain[0], mtime=0) + gzip.compress(plain[1], mtime=0) + b"\0" * 9
    yield zstandard.compress(plain[0])


def _image_record(data: bytes) -> None:
    """An index, a manifest or a configuration; each is tried as each."""
    for read in (manifests.choose, manifests.read_manifest, lambda d: manifests.read_config(d, 1)):
        try:
            read(data)
        except (InvalidInput, Unsupported):
            continue
    try:
        found = parse(data.decode("utf-8", "surrogateescape"))
    except (InvalidInput, Unsupported):
        return
    assert parse(found.name) == found and "\n" not in found.name and ".." not in found.repository.split("/")


def _image_record_seeds() -> Iterator[bytes]:
    blob = {"digest": "sha256:" + "0" * 64, "size": 3, "mediaType": "application/vnd.oci.image.manifest.v1+json"}
    yield json.dumps({"manifests": [{**blob, "platform": {"os": "linux", "architecture": "amd64"}}]}).encode()
    yield json.dumps({"schemaVersion": 2, "config": blob, "layers": [blob, {**blob, "urls": ["x"]}]}).encode()
    yield json.dumps(
        {"os": "linux", "config": {"Env": ["A=b", "="], "Cmd": ["x"]}, "rootfs": {"diff_ids": ["0"]}}
    ).encode()
    yield b"ghcr.io/a/b:c@sha256:" + b"0" * 64
    yield b"docker-archive:/a/b.tar:c:d"


# -- patches from a model


def _patch(data: bytes) -> None:
    for part in parse_patch(data):
        assert part is not None


def _patch_seeds() -> Iterator[bytes]:
    yield b"--- a/f\n+++ b/f\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n\\ No newline at end of file\n"
    yield b"diff --git a/x b/y\nsimilarity index 90%\nrename from x\nrename to y\n"
    yield b"diff --git a/n b/n\nnew file mode 100755\nindex 000..111\n--- /dev/null\n+++ b/n\n@@ -0,0 +1 @@\n+hi\n"
    yield b'diff --git "a/\\303\\274" "b/\\303\\274"\ndeleted file mode 120000\n--- "a/\\303\\274"\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n'
    yield b"diff --git a/b b/b\nindex 1..2 100644\nGIT binary patch\nliteral 3\nKcmZQzU|?ikU|;|M00aO5\n\nliteral 0\nHcmV?d00001\n\n"
    yield b"*** Begin Patch\n*** Update File: a.py\n*** Move to: b.py\n@@ def f\n-x\n+y\n*** Add File: c\n+z\n*** Delete File: d\n*** End Patch\n"


# -- what a chat host says


def _line(data: bytes) -> None:
    found = gate.judged(data)
    if isinstance(found, gate.Refusal):
        json.loads(json.dumps(found.answer(), ensure_ascii=False).encode())
    elif found is not None:
        json.dumps(found, ensure_ascii=False, allow_nan=False).encode()
        if "method" in found and "id" in found:
            assert gate.is_id(found["id"])


def _line_seeds() -> Iterator[bytes]:
    yield b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"exec","arguments":{"command":"a\\ud83d\\ude00"}}}'
    yield b'{"jsonrpc":"2.0","id":"x","result":{}}'
    yield b'{"jsonrpc":"2.0","method":"notifications/initialized"}'
    yield b'[{"jsonrpc":"2.0","id":1.5,"method":"a"}]'
    yield b'{"id":3,"a":' + b"[" * 200 + b"1e999"
    yield b'{"id":4,"a":' + b"[" * 140 + b'"' + b'\\"' * 30000
    yield b'\xef\xbb\xbf{"id":null}'


# -- a kernel's package


def _lz4(data: bytes) -> None:
    assert len(decompress_legacy(data, 1 << 20)) <= 1 << 20


def _lz4_seeds() -> Iterator[bytes]:
    block = bytes([0x50]) + b"\x7fELFx"
    yield MAGIC + len(block).to_bytes(4, "little") + block
    block = bytes([0x1F]) + b"a" + b"\x01\x00" + b"\xff" * 40 + b"\x00" + bytes([0x50]) + b"hello"
    yield MAGIC + len(block).to_bytes(4, "little") + block


def _image(data: bytes) -> None:
    assert extract_vmlinux(data).startswith(b"\x7fELF")


def _image_seeds() -> Iterator[bytes]:
    payload = next(_lz4_seeds()) + b"\0" * 4
    head = bytearray(1024)
    head[0x1F1], head[0x202:0x206] = 1, b"HdrS"
    head[0x24C:0x250] = len(payload).to_bytes(4, "little")
    yield bytes(head) + payload


def _modules(data: bytes) -> None:
    parts = data.split(b"|")
    modules = {chr(97 + number % 26): part for number, part in enumerate(parts)}
    order = load_order(("a", "b", "c"), modules)
    assert len(order) == len(set(order))
    for part in parts:
        dependencies(part)


def _module_seeds() -> Iterator[bytes]:
    yield b"\0depends=b,c\0|\0depends=c\0|\0depends=\0"
    yield b"\0depends=b\0|\0depends=a\0"


TARGETS = (
    Target("guest-frames", _frames, _frame_seeds, ()),
    Target("guest-answers", _answers, _answer_seeds, (GuestError,)),
    Target("archives", _archive, _archive_seeds, (InvalidInput,)),
    Target("image-layers", _layer, _layer_seeds, ()),
    Target("image-records", _image_record, _image_record_seeds, ()),
    Target("patches", _patch, _patch_seeds, (InvalidInput,)),
    Target("mcp-lines", _line, _line_seeds, ()),
    Target("kernel-lz4", _lz4, _lz4_seeds, (ValueError,)),
    Target("kernel-image", _image, _image_seeds, (ValueError,)),
    Target("kernel-modules", _modules, _module_seeds, (ValueError,)),
)
