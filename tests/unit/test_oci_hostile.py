"""Images made by somebody who means harm: each is refused in words, or harmless; nothing outside is touched.

The pull itself runs here, in this process, on real layouts.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard

from pyro_mcp.environments.cache import EnvironmentCache, Manifest
from pyro_mcp.environments.oci import layer as reading
from pyro_mcp.environments.oci.pull import pull
from pyro_mcp.environments.oci.reference import parse
from pyro_mcp.errors import InvalidInput, PyroError
from tests.images import digest, hard_link, layer, layout, member, symlink

DEVICE, FIFO = tarfile.CHRTYPE, tarfile.FIFOTYPE


@pytest.fixture
def cache(tmp_path: Path) -> EnvironmentCache:
    found = EnvironmentCache(tmp_path / "cache")
    found.prepare()
    return found


@pytest.fixture
def bystander(tmp_path: Path) -> Iterator[Path]:
    """What a layer would like to reach: files next to where it is unpacked, which stay as they are."""
    (tmp_path / "outside").mkdir()
    victim = tmp_path / "outside" / "victim"
    victim.write_text("untouched")
    before = victim.stat()
    yield victim
    assert victim.read_text() == "untouched"
    assert (victim.stat().st_nlink, victim.stat().st_mode) == (before.st_nlink, before.st_mode)
    assert os.listdir(victim.parent) == ["victim"]


def pulled(cache: EnvironmentCache, place: Path, tag: str = "") -> Manifest:
    return pull(parse(f"oci:{place}" + (f":{tag}" if tag else "")), cache, "", lambda text, fraction: None)


def raw_header(name: bytes, size: bytes = b"00000000000\0", kind: bytes = b"0", link: bytes = b"") -> bytes:
    """A tar header that tarfile would not write."""
    head = bytearray(
        name.ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2 + size + b"00000000000\0" + b" " * 8 + kind
    )
    head += link.ljust(100, b"\0") + b"ustar\x0000" + bytes(247)
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head)


def pax(name: str, **records: str) -> bytes:
    info, _ = member(name, b"")
    info.pax_headers = {key.replace("_", "."): value for key, value in records.items()}
    return info.tobuf(tarfile.PAX_FORMAT)


END = bytes(1024)
Made = bytes | list[bytes]
REFUSED: dict[str, Callable[[str], Made]] = {
    # `outside` is the path of a directory that is none of the layer's business.
    "dots": lambda outside: layer(member("../outside/x", b"x")),
    "dots in the middle": lambda outside: layer(member("a/../../outside/x", b"x")),
    "dots that come back": lambda outside: layer(member("a/../b", b"x")),
    "dots as a directory": lambda outside: layer(member("..")),
    "dots behind a slash": lambda outside: layer(member("/../outside/victim", b"x")),
    "a link, then a file through it": lambda outside: layer(symlink("d", outside), member("d/x", b"x")),
    "a link, then a directory through it": lambda outside: layer(symlink("d", outside), member("d/x/")),
    "a link, then a link through it": lambda outside: layer(symlink("d", outside), symlink("d/x", "y")),
    "a link up, then a file through it": lambda outside: layer(symlink("d", "../../.."), member("d/x", b"x")),
    "a link, then a deep file through it": lambda outside: layer(symlink("d", outside), member("d/e/f", b"x")),
    "a link, then a whiteout through it": lambda outside: layer(symlink("d", outside), member("d/.wh.victim", b"")),
    "a link, then an opaque mark through it": lambda outside: layer(
        symlink("d", outside), member("d/.wh..wh..opq", b"")
    ),
    "a link, then a directory in its place": lambda outside: layer(symlink("d", outside), member("d")),
    "a file, then a file below it": lambda outside: layer(member("f", b"x"), member("f/x", b"x")),
    "a file, then a directory in its place": lambda outside: layer(member("f", b"x"), member("f")),
    "a directory, then a file in its place": lambda outside: layer(member("d"), member("d", b"x")),
    "a file, then a link in its place": lambda outside: layer(member("f", b"x"), symlink("f", outside)),
    "a link, then a file in its place": lambda outside: layer(symlink("f", f"{outside}/victim"), member("f", b"x")),
    "a hard link to outside": lambda outside: layer(hard_link("h", "../../outside/victim")),
    "a hard link to an absolute path": lambda outside: layer(hard_link("h", f"{outside}/victim")),
    "a hard link through a link": lambda outside: layer(symlink("d", outside), hard_link("h", "d/victim")),
    "a hard link to a lower layer's link": lambda outside: [
        layer(symlink("l", f"{outside}/victim")),
        layer(hard_link("h", "l")),
    ],
    "a hard link through a lower layer's link": lambda outside: [
        layer(symlink("l", outside)),
        layer(hard_link("h", "l/victim")),
    ],
    "a hard link to a directory": lambda outside: layer(member("d"), hard_link("h", "d")),
    "a hard link to nothing": lambda outside: layer(hard_link("h", "nowhere")),
    "a hard link to the root": lambda outside: layer(hard_link("h", "/")),
    "a whiteout of the parent": lambda outside: layer(member("a/.wh...", b"")),
    "a whiteout of nothing": lambda outside: layer(member(".wh.", b"")),
    "a name with NUL": lambda outside: pax("x", path="a\0b") + END,
    "a link with NUL": lambda outside: layer(symlink("l", "a")).replace(b"a\0", b"a\0", 1)[:0] + _nul_link() + END,
    "a link to nothing": lambda outside: layer(symlink("l", "")),
    "a name of 300 bytes": lambda outside: layer(member("n" * 300, b"")),
    "a path of 4000 bytes": lambda outside: layer(member("/".join(["d" * 99] * 40), b"")),
    "directories 500 deep": lambda outside: layer(member("/".join(["d"] * 500), b"")),
    "a file of no name": lambda outside: layer(member("./", b"x", type=tarfile.REGTYPE)),
    "a size that is not there": lambda outside: raw_header(b"f", b"77777777777\0") + b"x" * 512,
    "a negative size": lambda outside: raw_header(b"f", b"\xff" * 12) + END,
    "a size beyond any disk": lambda outside: raw_header(b"f", b"\x80" + b"\x00" * 3 + b"\x7f" * 8) + END,
    "a header of gigabytes": lambda outside: raw_header(b"././@LongLink", b"17777777777\0", b"L") + b"x" * 1024,
    "headers without end": lambda outside: (
        (raw_header(b"././@LongLink", b"00000000002\0", b"L") + b"a\0".ljust(512, b"\0")) * 5000
    ),
    "a sparse map that is none": lambda outside: pax("x", GNU_sparse_map="0,a", GNU_sparse_size="99") + END,
    "a damaged header": lambda outside: (
        layer(member("a", b"x"))[:512].replace(b"a", b"b", 1) + layer(member("c", b"x"))
    ),
    "no archive at all": lambda outside: b"#!/bin/sh\necho hello\n" * 100,
    "cut off in the middle": lambda outside: layer(member("f", b"x" * 9000))[:4096],
}


def _nul_link() -> bytes:
    info, _ = symlink("l", "target")
    info.pax_headers = {"linkpath": "a\0b"}
    return info.tobuf(tarfile.PAX_FORMAT)


@pytest.mark.parametrize("name", REFUSED)
def test_a_hostile_layer_is_refused(name: str, cache: EnvironmentCache, tmp_path: Path, bystander: Path) -> None:
    made = REFUSED[name](str(bystander.parent))
    with pytest.raises(InvalidInput) as refused:
        pulled(cache, layout(tmp_path / "image", made if isinstance(made, list) else [made]))
    assert refused.value.code == "bad_image", refused.value
    assert cache.builds() == [] and cache.names() == {}
    assert list((cache.root / "staging").iterdir()) == []
    assert not [p for p in cache.layers.iterdir() if p.name.startswith(".staging")]
    assert not list(cache.layers.rglob("victim"))


def _tamper(place: Path, what: str) -> None:
    """Make a layout lie about itself."""
    index = json.loads((place / "index.json").read_text())
    blobs = place / "blobs" / "sha256"

    def put(record: object) -> dict[str, object]:
        data = json.dumps(record).encode()
        (blobs / digest(data)[7:]).write_bytes(data)
        return {"digest": digest(data), "size": len(data)}

    entry = index["manifests"][0]
    manifest = json.loads((blobs / entry["digest"][7:]).read_text())
    config = json.loads((blobs / manifest["config"]["digest"][7:]).read_text())
    first = manifest["layers"][0]
    blob = blobs / first["digest"][7:]
    match what:
        case "a layer's bytes":
            blob.write_bytes(gzip.compress(layer(member("other", b"x"))))
        case "a layer's size":
            first["size"] += 1
        case "a layer that is missing":
            blob.unlink()
        case "a layer that is a directory":
            blob.unlink()
            blob.mkdir()
        case "a layer's contents":
            config["rootfs"]["diff_ids"][0] = digest(b"something else")
        case "too few contents":
            config["rootfs"]["diff_ids"] = []
        case "contents by md5":
            config["rootfs"]["diff_ids"][0] = "md5:d41d8cd98f00b204e9800998ecf8427e"
        case "a digest that is a path":
            first["digest"] = "sha256:../../../../etc/passwd"
        case "a negative size":
            first["size"] = -1
        case "a size that is a word":
            first["size"] = "12"
        case "ten thousand layers":
            manifest["layers"] = [first] * 10_000
        case "another architecture":
            config["architecture"] = "s390x"
        case "another system":
            config["os"] = "windows"
        case "a layer elsewhere":
            first["urls"] = ["http://169.254.169.254/latest/meta-data/"]
        case "no image":
            manifest["config"]["mediaType"] = "application/vnd.cncf.helm.v1+json"
        case "version 1":
            manifest = {"schemaVersion": 1, "fsLayers": [], "name": "x"}
        case "a configuration of deep lists":
            config = {"a": 1}
            data = b"[" * 100_000
            (blobs / digest(data)[7:]).write_bytes(data)
            manifest["config"] |= {"digest": digest(data), "size": len(data)}
            index["manifests"][0] |= put(manifest)
            (place / "index.json").write_text(json.dumps(index))
            return
        case "an index of itself":
            entry["mediaType"] = "application/vnd.oci.image.index.v1+json"
            (blobs / entry["digest"][7:]).write_text(json.dumps(index))
            (place / "index.json").write_text(json.dumps(index))
            return
        case "the configuration's bytes":
            (blobs / manifest["config"]["digest"][7:]).write_text("{}")
            return
        case "the manifest's bytes":
            (blobs / entry["digest"][7:]).write_text(json.dumps({**manifest, "x": 1}))
            return
        case "an index that is not a record":
            (place / "index.json").write_text("[1, 2]")
            return
    if "config" in manifest:
        manifest["config"] |= put(config)
    entry |= put(manifest)
    (place / "index.json").write_text(json.dumps(index))


LIES = (
    "a layer's bytes", "a layer's size", "a layer that is missing", "a layer that is a directory", "a layer's contents",
    "too few contents", "contents by md5", "a digest that is a path", "a negative size", "a size that is a word",
    "ten thousand layers", "another architecture", "another system", "a layer elsewhere", "no image", "version 1",
    "a configuration of deep lists", "an index of itself", "the configuration's bytes", "the manifest's bytes",
    "an index that is not a record",
)  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_an_image_that_lies_about_itself_is_refused(lie: str, cache: EnvironmentCache, tmp_path: Path) -> None:
    place = layout(tmp_path / "image", [layer(member("f", b"x"))])
    _tamper(place, lie)
    with pytest.raises(PyroError) as refused:
        pulled(cache, place)
    assert refused.value.code in ("bad_image", "wrong_platform", "foreign_layer", "no_container_image", "old_manifest")
    assert cache.builds() == []


def test_what_is_harmless_is_taken(cache: EnvironmentCache, tmp_path: Path, bystander: Path) -> None:
    """Absolute and upward links are what Debian is full of: they are kept as they are, and followed by nobody here."""
    outside = bystander.parent
    found = pulled(
        cache,
        layout(
            tmp_path / "image",
            [
                layer(
                    member("/absolute/name", b"inside"),
                    symlink("etc", str(outside)),  # pyro's own files go to /etc
                    symlink("workspace", str(outside)),
                    symlink("pyro", str(outside)),
                    symlink("up", "../../../.."),
                    symlink("loop", "loop"),
                    member("null", type=DEVICE, devmajor=1, devminor=3),
                    member("pipe", type=FIFO),
                    member("twice", b"one"),
                    member("twice", b"two"),
                    member("odd \n\udcff\t'\"$(x)", b"odd"),
                    member("suid", b"", mode=0o4755),
                    member("a", b"same"),
                    hard_link("b", "a"),
                    member("giant", b"", uid=2**31 - 1, gid=2**31 - 1),
                    symlink("var/lib/dpkg/status", f"{bystander}"),
                    symlink("usr/lib/os-release", f"{bystander}"),
                )
            ],
        ),
    )
    root = cache.tree(found.digest)
    assert (root / "absolute/name").read_text() == "inside"
    for name in ("etc", "workspace", "pyro"):
        assert (root / name).is_dir() and not (root / name).is_symlink()
    assert (root / "etc/hosts").read_text().startswith("127.0.0.1")
    assert os.readlink(root / "up") == "../../../.."
    assert not os.path.lexists(root / "null") and not os.path.lexists(root / "pipe")
    assert (root / "twice").read_text() == "two"
    assert (root / "odd \n\udcff\t'\"$(x)").read_text() == "odd"
    assert (root / "suid").stat().st_mode & 0o7777 == 0o4755
    assert (root / "a").stat().st_ino == (root / "b").stat().st_ino
    assert found.contents == {} and found.description == "", "a link of the image's was followed on this computer"
    assert any("2 devices" in note for note in found.notes)


def test_a_link_of_a_lower_layer_is_followed_inside_of_the_image_only(
    cache: EnvironmentCache, tmp_path: Path, bystander: Path
) -> None:
    """As after the merge of /lib into /usr/lib: a layer's `lib/x` belongs to `usr/lib/x`."""
    lower = layer(member("usr/lib"), symlink("lib", "usr/lib"), symlink("out", str(bystander.parent)))
    upper = layer(member("lib/x", b"x"), member("out/victim", b"mine"), member("usr/lib/old", b""))
    top = layer(member("lib/.wh.old", b""), member("out/.wh.victim", b""))
    root = cache.tree(pulled(cache, layout(tmp_path / "image", [lower, upper, top])).digest)
    assert os.readlink(root / "lib") == "usr/lib"
    assert (root / "usr/lib/x").read_text() == "x"
    assert not (root / "usr/lib/old").exists()


def _bomb(size: int) -> bytes:
    head = raw_header(b"f", b"%011o\0" % size)
    return head + bytes(size)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_a_bomb_is_refused_before_it_has_gone_off(
    compression: str, cache: EnvironmentCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "FREE_BYTES", 1 << 20)
    monkeypatch.setattr(reading, "MAX_BYTES", 64 << 20)
    content = _bomb(128 << 20)
    packed = gzip.compress(content) if compression == "gzip" else zstandard.compress(content)
    (tmp_path / "into").mkdir()
    with pytest.raises(InvalidInput, match="unpacks to more than"):
        reading.unpack(io.BytesIO(packed), len(packed), str(tmp_path / "into"), digest(content))
    assert sum(p.stat().st_blocks * 512 for p in (tmp_path / "into").iterdir()) < 1 << 20


def test_a_file_of_zeros_takes_no_room(cache: EnvironmentCache, tmp_path: Path) -> None:
    root = cache.tree(pulled(cache, layout(tmp_path / "image", [layer(member("f", bytes(64 << 20)))])).digest)
    assert (root / "f").stat().st_size == 64 << 20
    assert (root / "f").stat().st_blocks * 512 < 1 << 20


def test_files_that_layers_share_are_not_written_for_one_of_them(cache: EnvironmentCache, tmp_path: Path) -> None:
    base = layer(member("etc/hosts", b"the layer's\n"), member("etc/x", b"x"))
    first = pulled(cache, layout(tmp_path / "one", [base]))
    second = pulled(cache, layout(tmp_path / "two", [base, layer(member("y", b"y"))]))
    one, two = cache.tree(first.digest), cache.tree(second.digest)
    assert (one / "etc/x").stat().st_ino == (two / "etc/x").stat().st_ino, "the content is on the disk twice"
    kept = next(cache.layers.glob("*/root/etc/hosts"))
    assert kept.read_text() == "the layer's\n"


def test_the_same_bytes_make_the_same_build_and_a_damaged_layer_is_made_anew(
    cache: EnvironmentCache, tmp_path: Path
) -> None:
    place = layout(tmp_path / "image", [layer(member("f", b"right"))])
    first = pulled(cache, place)
    assert pulled(cache, place).digest == first.digest
    for file in cache.layers.glob("*/root/f"):
        file.write_text("wrong")
    again = EnvironmentCache(cache.root)
    assert not again.sound(first.digest)
    assert (again.tree(pulled(again, place).digest) / "f").read_text() == "right"


def test_a_directory_that_becomes_a_link_gives_its_attributes_to_nobody(
    cache: EnvironmentCache, tmp_path: Path, bystander: Path
) -> None:
    """What a lower layer said of a directory is not said of this computer's, to which an upper layer's link leads."""
    inner = bystander.parent.parent / "target" / "inner"
    inner.mkdir(parents=True, mode=0o700)
    before = inner.stat()
    for number, way in enumerate(("a", "b/c")):
        lower = layer(member(way.split("/")[0]), member(way), member(f"{way}/inner", mode=0o777, uid=1, mtime=1))
        upper = layer(symlink(way, str(inner.parent)))
        tree = cache.tree(pulled(cache, layout(tmp_path / f"image{number}", [lower, upper])).digest)
        assert (tree / way).is_symlink()
        after = inner.stat()
        assert (after.st_mode, after.st_uid, after.st_mtime_ns) == (before.st_mode, before.st_uid, before.st_mtime_ns)
