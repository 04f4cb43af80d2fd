"""Builds an environment from Debian's signed archive with mmdebstrap.

Runs inside the enclosure, as its root. mmdebstrap gets a mount namespace of its own, so that what it mounts
in the tree (/proc, /dev) is never seen from here and cannot be hit by a removal. The mirror is mmdebstrap's
own choice; apt checks the archive's signature.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from pyro_mcp.environments.cache import EnvironmentCache, Manifest, remove_tree
from pyro_mcp.environments.catalog import Definition
from pyro_mcp.environments.oci import dress
from pyro_mcp.errors import Cancelled, ComponentMissing, EngineError
from pyro_mcp.machines.components import mmdebstrap as find_mmdebstrap
from pyro_mcp.machines.processes import kill, with_word_in_command_line
from pyro_mcp.models.base import iso
from pyro_mcp.packages import install_command

Progress = Callable[[str, float | None], None]
PHASES = (
    ("running apt-get update", "fetching package lists", 0.02),
    ("downloading packages with apt", "downloading packages", 0.06),
    ("extracting archives", "unpacking the base system", 0.20),
    ("installing essential packages", "installing the base system", 0.25),
    ("installing remaining packages", "installing packages", 0.40),
    ("cleaning package lists", "cleaning up", 0.95),
)
"""mmdebstrap's own words, what a person reads, and how much is done by then (measured for debian:12)."""
FILES = {
    **dress.FILES,
    "etc/apt/apt.conf.d/90pyro": dress.APT,
    "etc/dpkg/dpkg.cfg.d/pyro": "force-unsafe-io\n",
    "etc/gitconfig": dress.GIT,
    "etc/sudoers.d/pyro": "Defaults !fqdn\nALL ALL=(ALL:ALL) NOPASSWD: ALL\n",
    "usr/sbin/policy-rc.d": "#!/bin/sh\nexit 101\n",
}
DIRECTORIES = (*dress.DIRECTORIES, *dress.MANUALS)


def mmdebstrap() -> str:
    """The program's path.

    Raises:
        ComponentMissing: it is not on this computer.
    """
    found = find_mmdebstrap()
    if found is None:
        raise ComponentMissing(
            "mmdebstrap, with which pyro builds environments, is not on this computer.",
            hint=f"Install it: {install_command('mmdebstrap')}",
            code="mmdebstrap_missing",
        )
    return found


def build(
    definition: Definition, cache: EnvironmentCache, progress: Progress, cancel: threading.Event, force: bool = False
) -> Manifest:
    """The installed environment, built unless it is there.

    Raises:
        Cancelled: `cancel` was set; downloads are kept.
        EngineError: the build failed; its last words are in the message.
    """
    with cache.lock(definition.name, lambda: progress("waiting for another pull of this environment", None)):
        present = cache.installed(definition)
        if present is not None and not force:
            return present
        _salvage(definition, cache)
        staged = cache.root / "staging" / f"{definition.slug}.{os.getpid()}"
        staged.mkdir()
        try:
            _bootstrap(definition, cache, staged / "root", progress, cancel)
            progress("finishing", 0.97)
            manifest = _finish(definition, staged)
            cache.install(staged, manifest)
        finally:
            _keep_packages(staged, cache.packages(definition.suite))
            remove_tree(staged)
        progress("installed", 1.0)
        return manifest


def _salvage(definition: Definition, cache: EnvironmentCache) -> None:
    """Clear what a killed build left, after taking its downloads. The lock says that nobody works there."""
    for left in (cache.root / "staging").glob(f"{definition.slug}.*"):
        for process in with_word_in_command_line(os.fsencode(left)):
            kill(process)
        _keep_packages(left, cache.packages(definition.suite))
        remove_tree(left)
    for doomed in (cache.root / "staging").glob(f".doomed-{definition.slug}.*"):
        shutil.rmtree(doomed, ignore_errors=True)


def _keep_packages(staged: Path, packages: Path) -> None:
    """Whole packages only: apt keeps unfinished ones elsewhere, and checks each against the signed list anyway."""
    for package in (staged / "root" / "var" / "cache" / "apt" / "archives").glob("*.deb"):
        try:
            os.replace(package, packages / package.name)
        except OSError:
            return


def _bootstrap(
    definition: Definition, cache: EnvironmentCache, root: Path, progress: Progress, cancel: threading.Event
) -> None:
    packages = cache.packages(definition.suite)
    argv = [
        "unshare",
        "--mount",
        "--propagation=private",
        mmdebstrap(),
        "--mode=root",
        "--variant=minbase",
        "--format=directory",
        f"--include={','.join(definition.packages)}",
        # The cache is private to the user, so apt must not step down to a user who cannot enter it.
        '--aptopt=APT::Sandbox::User "root"',
        '--aptopt=APT::Install-Recommends "false"',
        "--dpkgopt=force-unsafe-io",
        "--dpkgopt=path-exclude=/usr/share/man/*",
        "--dpkgopt=path-exclude=/usr/share/locale/*/LC_MESSAGES/*.mo",
        # Downloads of an earlier, interrupted build come in; ours go out again (mmdebstrap(1), «--skip»).
        '--setup-hook=mkdir -p "$1"/var/cache/apt/archives',
        f'--setup-hook=cp -l {packages}/*.deb "$1"/var/cache/apt/archives/ 2>/dev/null || true',
        # What people's dotfiles and tools ask for; C.UTF-8 stays the default.
        '--customize-hook=[ ! -x "$1"/usr/sbin/locale-gen ] || chroot "$1" localedef -i en_US -f UTF-8 en_US.UTF-8',
        f'--customize-hook=cp -ln "$1"/var/cache/apt/archives/*.deb {packages}/ || true',
        "--skip=download/empty,essential/unlink,check/empty",
        definition.suite,
        str(root),
    ]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "LD_"))}
    process = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env=environment | {"LC_ALL": "C.UTF-8"},
        start_new_session=True,
        cwd="/",
    )
    stopper = threading.Thread(target=_kill_on, args=(cancel, process), daemon=True)
    stopper.start()
    said: list[str] = []
    assert process.stderr is not None
    for line in process.stderr:
        said = [*said[-30:], line.rstrip()]
        for word, text, fraction in PHASES:
            if line.startswith("I: ") and word in line:
                progress(text, fraction)
    status = process.wait()
    if cancel.is_set():
        raise Cancelled("The pull was cancelled.", hint="Pull again; the download so far is kept.")
    if status != 0:
        causes = [line for line in said if re.match(r"(E|W|Err):? ?", line)] or said
        raise EngineError(
            f"mmdebstrap could not build {definition.name} (status {status}): " + " | ".join(causes[-4:]),
            hint="Check that this computer can reach a Debian mirror, then pull again; the download so far is kept.",
            code="environment_build_failed",
        )


def _kill_on(cancel: threading.Event, process: subprocess.Popen[str]) -> None:
    # Ends with the daemon's thread pool; a build is not often cancelled, so the wait is long.
    while process.poll() is None:
        if cancel.wait(1.0):
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            return


def _finish(definition: Definition, staged: Path) -> Manifest:
    root = staged / "root"
    for directory in DIRECTORIES:
        (root / directory).mkdir(parents=True, exist_ok=True)
    for name, text in FILES.items():
        target = root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        target.write_text(text)
    (root / "usr/sbin/policy-rc.d").chmod(0o755)
    (root / "etc/sudoers.d/pyro").chmod(0o440)
    # PEP 668 keeps pip from a system that a person depends on; nobody depends on a disposable machine.
    for marker in root.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):
        marker.unlink()
    # Keys that every machine would share prove nothing.
    for key in root.glob("etc/ssh/ssh_host_*"):
        key.unlink()
    shutil.rmtree(root / "var/cache/apt/archives", ignore_errors=True)
    (root / "var/cache/apt/archives/partial").mkdir(parents=True)
    contents = _contents(root)
    listing = "\n".join(f"{name}={version}" for name, version in sorted(contents.items()))
    digest = hashlib.sha256(f"{definition.name}\n{definition.recipe}\n{listing}".encode()).hexdigest()[:24]
    return Manifest(
        name=definition.name,
        digest=digest,
        recipe=definition.recipe,
        created_at=iso(datetime.now(UTC)),
        size_bytes=_size(root),
        contents=contents,
    )


def _contents(root: Path) -> dict[str, str]:
    """Packages and versions, from dpkg's status file."""
    contents: dict[str, str] = {}
    name = ""
    for line in (root / "var/lib/dpkg/status").read_text(errors="replace").splitlines():
        if line.startswith("Package: "):
            name = line.removeprefix("Package: ")
        elif line.startswith("Version: "):
            contents[name] = line.removeprefix("Version: ")
    return contents


def _size(root: Path) -> int:
    total = 0
    for directory, _, files in os.walk(root):
        for file in files:
            total += os.lstat(os.path.join(directory, file)).st_blocks * 512
    return total
