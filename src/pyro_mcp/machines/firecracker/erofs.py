"""Writes a tree as an EROFS image: read-only, uncompressed, with nanoseconds, owners and modes as they are.

mke2fs would do, but it cuts times to seconds. The format: Documentation/filesystems/erofs.rst and
fs/erofs/erofs_fs.h. Layout here: superblock, table of inodes (64 bytes each), then directories, links and
files, each from a block of its own on. Extended attributes are left out; hard links stay links.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
from dataclasses import dataclass, field
from pathlib import Path

BLOCK = 4096
MAGIC = 0xE0F5E1E2
_INODE = 64
_SLOT = 32
_META_BLOCK = 1
_EXTENDED_PLAIN = 1
"""i_format: extended inode (bit 0), data layout «flat, plain» (0)."""
_KINDS = {
    stat.S_IFREG: 1,
    stat.S_IFDIR: 2,
    stat.S_IFCHR: 3,
    stat.S_IFBLK: 4,
    stat.S_IFIFO: 5,
    stat.S_IFSOCK: 6,
    stat.S_IFLNK: 7,
}


@dataclass
class _Node:
    path: bytes
    info: os.stat_result
    number: int
    parent: int
    links: int = 1
    data: bytes | None = None
    """A directory's blocks or a link's target; a file's content stays where it is."""
    children: list[tuple[bytes, _Node]] = field(default_factory=list)

    @property
    def nid(self) -> int:
        return self.number * (_INODE // _SLOT)

    @property
    def size(self) -> int:
        if self.data is not None:
            return len(self.data)
        return self.info.st_size if stat.S_ISREG(self.info.st_mode) else 0

    @property
    def blocks(self) -> int:
        return -(-self.size // BLOCK)


def directory_blocks(entries: list[tuple[bytes, int, int]]) -> bytes:
    """The content of a directory: `entries` are name, nid and kind. Names stand sorted, over all blocks."""
    blocks: list[bytes] = []
    waiting: list[tuple[bytes, int, int]] = []
    used = 0

    def flush() -> None:
        place = 12 * len(waiting)
        heads, names = b"", b""
        for name, nid, kind in waiting:
            heads += struct.pack("<QHBB", nid, place + len(names), kind, 0)
            names += name
        blocks.append(heads + names)
        waiting.clear()

    for entry in sorted(entries):
        cost = 12 + len(entry[0])
        if used + cost > BLOCK:
            flush()
            used = 0
        waiting.append(entry)
        used += cost
    flush()
    return b"".join(block.ljust(BLOCK, b"\0") for block in blocks[:-1]) + blocks[-1]


def _scan(tree: Path) -> list[_Node]:
    """All nodes, the root first, with numbers and directory contents."""
    root = _Node(os.fsencode(tree), os.lstat(tree), number=1, parent=1, links=2)
    nodes = [root]
    known: dict[tuple[int, int], _Node] = {}
    waiting = [root]
    while waiting:
        directory = waiting.pop()
        for entry in os.scandir(directory.path):
            info = entry.stat(follow_symlinks=False)
            identity = (info.st_dev, info.st_ino)
            node = known.get(identity)
            if node is None:
                node = _Node(entry.path, info, len(nodes) + 1, directory.number)
                nodes.append(node)
                if stat.S_ISDIR(info.st_mode):
                    node.links = 2
                    directory.links += 1
                    waiting.append(node)
                elif stat.S_ISLNK(info.st_mode):
                    node.data = os.readlink(entry.path)
                if info.st_nlink > 1 and not stat.S_ISDIR(info.st_mode):
                    known[identity] = node
            else:
                node.links += 1
            directory.children.append((entry.name, node))
    for node in nodes:
        if stat.S_ISDIR(node.info.st_mode):
            entries = [(name, child.nid, _KINDS[stat.S_IFMT(child.info.st_mode)]) for name, child in node.children]
            up = node.parent * (_INODE // _SLOT)
            node.data = directory_blocks([(b".", node.nid, 2), (b"..", up, 2), *entries])
            node.children = []
    return nodes


def _inode(node: _Node, block: int) -> bytes:
    info = node.info
    special = stat.S_ISCHR(info.st_mode) or stat.S_ISBLK(info.st_mode)
    return struct.pack(
        "<HHHHQIIIIQII16x",
        _EXTENDED_PLAIN,
        0,
        info.st_mode,
        0,
        node.size,
        info.st_rdev if special else block,
        node.number,
        info.st_uid,
        info.st_gid,
        info.st_mtime_ns // 1_000_000_000,
        info.st_mtime_ns % 1_000_000_000,
        node.links,
    )


def _superblock(inodes: int, blocks: int) -> bytes:
    return struct.pack(
        "<IIIBBHQQIIII16s16sIHHH38x",
        MAGIC,
        0,
        0,
        BLOCK.bit_length() - 1,
        0,
        _INODE // _SLOT,  # the root's nid
        inodes,
        0,
        0,
        blocks,
        _META_BLOCK,
        0,
        b"",
        b"pyro-seed",
        0,
        0,
        0,
        0,
    )


def write_image(tree: Path, target: Path) -> None:
    """Write `tree` to the new file `target`."""
    nodes = _scan(tree)
    table = -(-(len(nodes) + 1) * _INODE // BLOCK) * BLOCK
    block = _META_BLOCK + table // BLOCK
    inodes = bytearray(_INODE)
    places = []
    for node in nodes:
        places.append(block)
        inodes += _inode(node, block if node.blocks else 0)
        block += node.blocks
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.ftruncate(handle, block * BLOCK)
        os.pwrite(handle, _superblock(len(nodes), block), 1024)
        os.pwrite(handle, bytes(inodes), _META_BLOCK * BLOCK)
        for node, place in zip(nodes, places, strict=True):
            if node.data is not None:
                os.pwrite(handle, node.data, place * BLOCK)
            elif node.size:
                _copy(node, handle, place * BLOCK)
    finally:
        os.close(handle)


def _copy(node: _Node, handle: int, place: int) -> None:
    source = os.open(node.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        copy_range(source, handle, node.size, 0, place)  # what became shorter reads as zeros
    finally:
        os.close(source)


def copy_range(source: int, target: int, length: int, start: int, place: int) -> int:
    """Copy `length` bytes from `start` of one file to `place` of another; gives how many there were."""
    copied = 0
    while copied < length:
        try:
            done = os.copy_file_range(source, target, length - copied, start + copied, place + copied)
        except OSError as error:
            # Between file systems, or in one that does not offer it (copy_file_range(2)).
            if error.errno not in (errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
                raise
            done = os.pwrite(target, os.pread(source, min(length - copied, 1 << 20), start + copied), place + copied)
        if done == 0:
            break
        copied += done
    return copied
