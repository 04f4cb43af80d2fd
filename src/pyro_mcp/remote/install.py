"""Putting this version of pyro on another computer, by `uv tool install` there."""

from __future__ import annotations

import asyncio
import subprocess

from pyro_mcp.errors import EngineError
from pyro_mcp.remote.ssh import Ssh
from pyro_mcp.version import VERSION

INSTALL_SECONDS = 300
_SCRIPT = (
    'uv=$(command -v uv || echo "$HOME/.local/bin/uv"); '
    '[ -x "$uv" ] || { echo "there is no uv on that computer" >&2; exit 9; }; '
    '"$uv" tool install --force "pyro-mcp==$0"'
)


async def install_there(ssh: Ssh) -> None:
    """Install it.

    Raises:
        EngineError: it did not go; the words are uv's.
    """
    process = await asyncio.create_subprocess_exec(
        *ssh.shell(_SCRIPT, VERSION), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        async with asyncio.timeout(INSTALL_SECONDS):
            _, err = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        err = f"it took more than {INSTALL_SECONDS} s".encode()
    if process.returncode:
        said = err.decode("utf-8", "replace").strip().splitlines()
        raise EngineError(
            f"pyro {VERSION} could not be installed on {ssh.address}: {'; '.join(said[-2:]) or 'uv failed'}.",
            hint=f"Install it there yourself: {ssh.by_hand}, then `uv tool install pyro-mcp=={VERSION}` or `pip "
            "install`; where `pyro` is not on the PATH, its path belongs at the end of the address.",
            code="remote_install",
        )
