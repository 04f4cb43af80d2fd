"""Starts runsc behind a filter of one system call of this computer's, by which `ls -l` inside needs no excuse.

gVisor 20240729 asks the attributes of a file of the image or the seed by fgetxattr(2) on a descriptor that it holds
(fsimpl/gofer/directfs_dentry.go). That of a symbolic link is opened with O_PATH, for which the kernel says EBADF, and
`ls -l` inside passes that on. gVisor has no list of these attributes, so nobody knows one to ask for: the filter says
ENODATA, there is none. It lets one question through: file capabilities, which gVisor asks of each program that is
started, with the size of their structure.

A filter holds for the thread that set it and for what that thread starts. So one thread of its own starts all.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import logging
import os
import platform
import struct
import subprocess
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from pyro_mcp.machines import processes

log = logging.getLogger(__name__)

# include/uapi/linux/audit.h; arch/*/include/generated/uapi/asm/unistd*.h: fgetxattr, seccomp
_ARCHITECTURES = {"x86_64": (0xC000003E, 193, 317), "aarch64": (0xC00000B7, 10, 277)}
_SET_MODE_FILTER = 1  # include/uapi/linux/seccomp.h
_FLAG_SPEC_ALLOW = 1 << 2  # no slower speculation for it on kernels before 5.16
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
CAPABILITY_BYTES = 24
"""XATTR_CAPS_SZ_3 of include/uapi/linux/capability.h."""


def _filter(architecture: int, number: int) -> bytes:
    """A program of classic BPF over struct seccomp_data: nr at 0, arch at 4, the fourth argument's low half at 40."""
    load, equal, give = 0x20, 0x15, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_RET|K
    program = [
        (load, 0, 0, 4),
        (equal, 0, 5, architecture),
        (load, 0, 0, 0),
        (equal, 0, 3, number),
        (load, 0, 0, 40),
        (equal, 1, 0, CAPABILITY_BYTES),
        (give, 0, 0, _ERRNO | errno.ENODATA),
        (give, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p)]


def filter_attributes() -> None:
    """Set the filter for this thread, for good, and for what it starts. Without the right to, all stays as it is."""
    known = _ARCHITECTURES.get(platform.machine())
    if known is None:
        return
    architecture, number, seccomp = known
    instructions = _filter(architecture, number)
    program = _Program(len(instructions) // 8, instructions)
    libc = ctypes.CDLL(None, use_errno=True)
    arguments = map(ctypes.c_long, (seccomp, _SET_MODE_FILTER, _FLAG_SPEC_ALLOW))
    if libc.syscall(*arguments, ctypes.byref(program)) != 0:
        log.warning("ls -l inside will complain of links: seccomp: %s", os.strerror(ctypes.get_errno()))


class Starter:
    """Starts processes in the one thread that has the filter."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="runsc", initializer=filter_attributes)

    async def run(self, argv: Sequence[str], output: Path, seconds: float) -> int:
        """Run a command to its end, in a session of its own, and give its status. `output` is appended to.

        Raises:
            TimeoutError: it took longer than so many seconds, and was ended.
        """
        starting = self._thread.submit(_start, argv, output)
        try:
            process = await asyncio.shield(asyncio.wrap_future(starting))
        except asyncio.CancelledError:
            # It has begun, or is about to: whoever gave up wants none of it.
            starting.add_done_callback(_end)
            raise
        try:
            async with asyncio.timeout(seconds):
                started = processes.identify(process.pid)
                if started is not None:
                    await processes.wait_gone(started)
        finally:
            if process.poll() is None:
                await asyncio.to_thread(_end, starting)
        return process.wait()


def _start(argv: Sequence[str], output: Path) -> subprocess.Popen[bytes]:
    # Files, never pipes: a sandbox inherits them and would hold a pipe open for its lifetime.
    log = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/")
    finally:
        os.close(log)


def _end(starting: Future[subprocess.Popen[bytes]]) -> None:
    if starting.cancelled() or starting.exception() is not None:
        return
    process = starting.result()
    if process.poll() is None:
        process.kill()
        process.wait()
