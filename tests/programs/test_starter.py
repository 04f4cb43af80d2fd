"""What starts gVisor: behind its filter the kernel names no attribute of a file, but for a program's capabilities."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

import pytest

from pyro_mcp.machines.gvisor.starter import CAPABILITY_BYTES, Starter

ASK = f"""
import ctypes, errno, os, sys
libc = ctypes.CDLL(None, use_errno=True)
descriptor, link = os.open(sys.argv[1], os.O_RDONLY), os.open(sys.argv[2], os.O_PATH | os.O_NOFOLLOW)
for asked in (descriptor, link):
    for size in (0, 3, 255, {CAPABILITY_BYTES}):
        got = libc.fgetxattr(asked, b"user.pyro", ctypes.create_string_buffer(300), ctypes.c_size_t(size))
        print(got if got >= 0 else errno.errorcode[ctypes.get_errno()])
print(os.getxattr(sys.argv[1], "user.pyro"))
"""


def run(starter: Starter, argv: list[str], output: Path, seconds: float = 60) -> int:
    return asyncio.run(starter.run(argv, output, seconds))


def test_the_filter_answers_for_the_children_of_its_thread_only(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    try:
        os.setxattr(tmp_path / "file", "user.pyro", b"abc")
    except OSError:
        pytest.skip("the disk of this computer takes no attributes")
    argv = [sys.executable, "-c", ASK, str(tmp_path / "file"), str(tmp_path / "link")]
    assert run(Starter(), argv, tmp_path / "said") == 0
    none = ["ENODATA"] * 3
    said = (tmp_path / "said").read_text().split()
    if "3" in said[:3] and os.geteuid() != 0:
        pytest.skip("this user may set no filter outside the daemon's namespaces")
    assert said == [*none, "3", *none, "EBADF", "b'abc'"]
    with (tmp_path / "file").open() as opened:
        assert os.getxattr(opened.fileno(), "user.pyro") == b"abc"  # here nothing has changed


def test_status_output_and_time_limit(tmp_path: Path) -> None:
    starter, said = Starter(), tmp_path / "said"
    assert run(starter, ["/bin/sh", "-c", "echo one; echo two >&2; exit 7"], said) == 7
    assert run(starter, ["/bin/true"], said) == 0
    assert said.read_text() == "one\ntwo\n"
    with pytest.raises(FileNotFoundError):
        run(starter, ["/nowhere"], said)
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        run(starter, ["/bin/sh", "-c", "echo $$; exec sleep 600"], said, seconds=0.2)
    assert time.monotonic() - began < 60
    assert not Path(f"/proc/{said.read_text().split()[-1]}").exists()


def test_who_gives_up_leaves_nothing_running(tmp_path: Path) -> None:
    said = tmp_path / "said"

    async def give_up() -> None:
        starter = Starter()
        running = asyncio.create_task(starter.run(["/bin/sh", "-c", "echo $$; exec sleep 600"], said, 60))
        async with asyncio.timeout(60):
            while not (said.exists() and said.read_text()):
                await asyncio.sleep(0.01)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(give_up())
    assert not Path(f"/proc/{said.read_text().strip()}").exists()
