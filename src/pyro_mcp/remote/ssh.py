"""The system's own ssh to one computer: one connection, which all that crosses shares.

Keys, agent, configuration and known hosts are the user's; nothing is asked, because nobody sits at the relay. The
connection is ours: its socket stands in the relay's private directory, and it ends with the relay, however that ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from pyro_mcp.client.place import Address
from pyro_mcp.errors import ComponentMissing, DaemonUnavailable, NotPermitted, PyroError
from pyro_mcp.locations import SOCKET_PATH_LIMIT

log = logging.getLogger(__name__)
CONNECT_SECONDS = 20
ALIVE_SECONDS = 5
"""Between two signs of life; after three without an answer the connection counts as broken."""
FORWARD_SECONDS = 20
"""It asks a process of this computer; that one may ask nobody but itself."""
RUN_SECONDS = 120
NO_PROGRAM = 127
"""The status of a shell that found no such program (POSIX, 2.8.2)."""
MAX_SAID = 1024 * 1024
"""Bytes that pyro over there may answer to a question."""
CONTROL = "ctl"
_SUFFIX = 16
"""Characters, after a dot, of the name under which ssh makes its socket first (muxserver_listen)."""
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)
_BOX = 'p=$(command -v pyro || echo "$HOME/.local/bin/pyro"); exec "$p" __box "$@"'


class Ssh:
    """The connection to one computer. `directory` is private to this user, and short: sockets stand in it."""

    def __init__(self, address: Address, directory: Path) -> None:
        self.address = address
        self._control = directory / CONTROL
        self._master: asyncio.subprocess.Process | None = None
        self._draining: asyncio.Task[None] | None = None

    @property
    def connected(self) -> bool:
        return self._master is not None and self._master.returncode is None

    async def connect(self) -> None:
        """Log in.

        Raises:
            ComponentMissing: this computer has no ssh.
            DaemonUnavailable: it could not; the words are ssh's own.
        """
        await self.close()
        self._control.unlink(missing_ok=True)
        # The local command is run when the login is done and other sessions may share it: its word is the sign.
        options = ["PermitLocalCommand=yes", "LocalCommand=echo ready", "StreamLocalBindUnlink=yes"]
        command = self._command("-M", "-N", "-T", *(word for option in options for word in ("-o", option)))
        pipe = asyncio.subprocess.PIPE
        try:
            self._master = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=pipe,
                stderr=pipe,
                start_new_session=True,
                preexec_fn=_ends_with(os.getpid()),
            )
        except FileNotFoundError:
            raise _no_ssh() from None
        master = self._master
        assert master.stdout is not None and master.stderr is not None
        said, why = b"", ""
        try:
            async with asyncio.timeout(CONNECT_SECONDS + 5):
                said = await master.stdout.readline()
                if not said:
                    why = (await master.stderr.read(4096)).decode("utf-8", "replace")
        except TimeoutError:
            why = f"it did not answer within {CONNECT_SECONDS} s"
        except ValueError:
            why = "what answers is not ssh"
        except BaseException:  # a cancelled call, too, leaves no half-made connection
            await self.close()
            raise
        if said.strip() != b"ready":
            await self.close()
            raise self._refused(why)
        self._draining = asyncio.create_task(_drain(master.stderr))

    async def close(self) -> None:
        master, self._master = self._master, None
        draining, self._draining = self._draining, None
        if draining is not None:
            draining.cancel()
        if master is not None:
            with contextlib.suppress(ProcessLookupError):
                master.terminate()
            try:
                async with asyncio.timeout(5):
                    await master.wait()
            except TimeoutError:
                master.kill()
                await master.wait()

    async def ended(self) -> None:
        """Wait until the connection is broken."""
        if self._master is not None:
            await self._master.wait()

    async def run(self, *words: str) -> bytes:
        """What pyro's own command prints on that computer.

        Raises:
            DaemonUnavailable: the connection broke, or there is no pyro.
        """
        process = await asyncio.create_subprocess_exec(
            *self.box(*words), stdin=asyncio.subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert process.stdout is not None and process.stderr is not None
        try:
            async with asyncio.timeout(RUN_SECONDS):
                out, err = await asyncio.gather(_bounded(process, process.stdout), _bounded(process, process.stderr))
                await process.wait()
        except TimeoutError:
            raise self._refused(f"pyro there did not answer within {RUN_SECONDS} s") from None
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                # asyncio knows of the end only when the pipes are empty.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(5):
                        await asyncio.gather(_emptied(process.stdout), _emptied(process.stderr))
                        await process.wait()
        if max(len(out), len(err)) > MAX_SAID:
            raise self._refused("pyro there says more than it was asked for")
        if process.returncode == NO_PROGRAM or b"__box" in err:
            raise self._no_pyro()
        if process.returncode and not out:
            raise self._refused(err.decode("utf-8", "replace"))
        return out

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """pyro's own command on that computer, to speak with."""
        pipe, nothing = subprocess.PIPE, subprocess.DEVNULL  # one that nobody reads would fill up
        return subprocess.Popen(self.box(*words), stdin=pipe, stdout=pipe, stderr=nothing)

    def box(self, *words: str) -> list[str]:
        """A command line that runs pyro's side of things on that computer."""
        if self.address.program:
            return self.shell('exec "$0" __box "$@"', self.address.program, *words)
        return self.shell(_BOX, "pyro", *words)

    def shell(self, script: str, *words: str) -> list[str]:
        """A command line that runs a script of sh there, its `$0` and `$@` the words; whatever shell the user has."""
        return [*self._command("-T"), "--", shlex.join(["sh", "-c", script, *words])]

    async def forward(self, what: str, *, cancel: bool = False) -> bool:
        """Have the connection listen here and connect there, as -L of ssh(1) says it; whether it does."""
        verb = "cancel" if cancel else "forward"
        process = await asyncio.create_subprocess_exec(
            *self._command("-O", verb, "-L", what),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(FORWARD_SECONDS):
                return await process.wait() == 0
        except TimeoutError:
            return False  # the connection's process is stopped, or stuck
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    def _command(self, *more: str) -> list[str]:
        ssh = shutil.which("ssh")
        if ssh is None:
            raise _no_ssh()
        config = os.environ.get("PYRO_SSH_CONFIG")
        given = ["-F", config] if config else []
        options = [
            "BatchMode=yes",
            f"ControlPath={str(self._control).replace('%', '%%')}",
            "ControlPersist=no",
            *(("ClearAllForwardings=yes",) if "-M" in more else ("ControlMaster=no",)),
            "ForwardAgent=no",
            "ForwardX11=no",
            "RequestTTY=no",
            "RemoteCommand=none",
            f"ConnectTimeout={CONNECT_SECONDS}",
            f"ServerAliveInterval={ALIVE_SECONDS}",
            "ServerAliveCountMax=3",
        ]
        words = [ssh, *given, *more, *(word for option in options for word in ("-o", option))]
        if self.address.port:
            words += ["-p", str(self.address.port)]
        return [*words, self.address.target]

    def _refused(self, said: str) -> PyroError:
        lines = [line.strip() for line in said.strip().splitlines() if line.strip()]
        why = "; ".join(lines[-2:]).rstrip(".") or "it ended without a word"
        return DaemonUnavailable(
            f"{self.address} cannot be reached: {why}.",
            hint=f"Try `{self.by_hand}` yourself: it must log in without a question (a key in your ssh agent, and the "
            "host's key known).",
            code="remote_unreachable",
        )

    def _no_pyro(self) -> PyroError:
        return DaemonUnavailable(
            f"There is no pyro on {self.address}, or one that is too old to be reached over ssh.",
            hint=f"Install it there: `{self.by_hand} uv tool install pyro-mcp`, or `pyro context add --install`.",
            code="remote_without_pyro",
        )

    @property
    def by_hand(self) -> str:
        port = f"-p {self.address.port} " if self.address.port else ""
        return f"ssh {port}{self.address.target}"


def _no_ssh() -> ComponentMissing:
    return ComponentMissing(
        "There is no ssh on this computer.", hint="Install OpenSSH's client (openssh-client).", code="ssh_missing"
    )


def _ends_with(parent: int) -> Callable[[], None]:
    """For a child that is being started: it ends when this process does (prctl(2)), also by SIGKILL."""

    def tie() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)

    return tie


async def _drain(stream: asyncio.StreamReader) -> None:
    """Read what ssh says of single channels: its pipe would fill up, and the connection stand still."""
    while data := await stream.read(4096):
        log.info("ssh: %s", data.decode("utf-8", "replace").strip()[:500])


async def _emptied(stream: asyncio.StreamReader) -> None:
    while await stream.read(65536):
        pass


async def _bounded(process: asyncio.subprocess.Process, stream: asyncio.StreamReader) -> bytes:
    """All that it says; where that is more than any answer, it ends."""
    said = b""
    while data := await stream.read(65536):
        if len(said) <= MAX_SAID:
            said += data
        else:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
    return said


def private_directory(place: Path) -> Path:
    """Made, for this user alone.

    Raises:
        NotPermitted: its path is too long for the sockets in it.
    """
    if len(os.fsencode(place / CONTROL)) + len(".") + _SUFFIX > SOCKET_PATH_LIMIT:
        raise NotPermitted(
            f"{place} is too long a path for ssh's socket: the kernel allows {SOCKET_PATH_LIMIT} bytes.",
            hint="Set PYRO_HOME or XDG_RUNTIME_DIR to a shorter path.",
            code="socket_path_too_long",
        )
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.chmod(place, 0o700)
    return place
