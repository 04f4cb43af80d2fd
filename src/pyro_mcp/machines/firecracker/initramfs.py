"""The initramfs of a machine: the agent as /init and the modules that it loads. Pure, but for reading files.

The format is cpio's «newc» (Documentation/driver-api/early-userspace/buffer-format.rst), not compressed: the
kernel unpacks it once per template.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Member:
    name: str
    mode: int
    content: bytes = b""
    device: tuple[int, int] = (0, 0)


def cpio(members: Iterable[Member]) -> bytes:
    """The archive, all owned by root, at time 0: the same members give the same bytes."""
    parts = []
    for number, member in enumerate([*members, Member("TRAILER!!!", 0)]):
        name = member.name.encode() + b"\0"
        fields = (number + 1, member.mode, 0, 0, 1, 0, len(member.content), 0, 0, *member.device, len(name), 0)
        head = b"070701" + b"".join(b"%08X" % value for value in fields) + name
        parts += [_padded(head), _padded(member.content)]
    return b"".join(parts)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)


def initramfs(agent: Path, modules: Iterable[Path]) -> bytes:
    """What the kernel starts with. /dev/console and /dev/null are what a Go program needs to begin at all."""
    return cpio(
        [
            Member("dev", stat.S_IFDIR | 0o755),
            Member("dev/console", stat.S_IFCHR | 0o600, device=(5, 1)),
            Member("dev/null", stat.S_IFCHR | 0o666, device=(1, 3)),
            Member("modules", stat.S_IFDIR | 0o755),
            *(Member(f"modules/{path.name}", stat.S_IFREG | 0o644, path.read_bytes()) for path in modules),
            Member("init", stat.S_IFREG | 0o755, agent.read_bytes()),
        ]
    )
