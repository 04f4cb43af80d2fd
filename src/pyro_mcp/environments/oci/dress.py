"""What a foreign tree gets so that it can be a machine, and what is found out about it.

Files of the tree are never written in place: layers share them. Nothing is run.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from pyro_mcp.environments import rooted
from pyro_mcp.environments.oci.layer import LayerNotes
from pyro_mcp.environments.oci.manifest import ImageConfig
from pyro_mcp.vocabulary import ROOT_USER

DRESS_VERSION = 3
"""Raised whenever this module makes another tree of the same image."""
DIRECTORIES = ("workspace", "pyro/run", "pyro/seed", "pyro/upper", "pyro/bin", "pyro/empty", "proc", "sys", "dev")
FILES = {
    "etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "etc/resolv.conf": "",
    "etc/hostname": "pyro\n",
    "etc/machine-id": "",
}
INCLUDED = "[include]\n\tpath = /etc/pyro-gitconfig\n"
"""Written where secrets have hosts (network/guest_environment.py); git passes over what is not there."""
GIT = (
    "[safe]\n\tdirectory = *\n[user]\n\tname = agent\n\temail = agent@pyro.invalid\n"
    "[init]\n\tdefaultBranch = main\n[advice]\n\tdetachedHead = false\n"
    f"{INCLUDED}"
)
APT = 'APT::Sandbox::User "root";\nAPT::Install-Recommends "false";\nAcquire::Retries "3";\nDpkg::Use-Pty "0";\n'
"""The agent is root in its own machine; apt's drop to another user only fails there."""
MANUALS = tuple(f"usr/share/man/man{section}" for section in range(1, 9))
"""Slim images leave them out; update-alternatives of a JDK, say, fails without the directory."""
SHELLS = ("/bin/bash", "/usr/bin/bash", "/usr/local/bin/bash", "/bin/sh", "/usr/bin/sh", "/busybox/sh")
_PLACES = ("/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin")


def dress(root: Path) -> None:
    """Make a machine's tree of an image's."""
    for path in DIRECTORIES:
        rooted.directory(root, path)
    for path, mode in (("tmp", 0o1777), ("var/tmp", 0o1777), ("root", 0o700), ("run", 0o755), ("etc", 0o755)):
        if rooted.resolve(root, path) is None:
            rooted.directory(root, path).chmod(mode)
    for path, text in FILES.items():
        rooted.write_text(root, path, text)
    if not rooted.holds(root, "etc/gitconfig"):
        rooted.write_text(root, "etc/gitconfig", GIT)
    elif (own := rooted.read_text(root, "etc/gitconfig")) is not None and "/etc/pyro-gitconfig" not in own:
        # At its end: a section that the image's own text leaves open takes nothing of ours.
        rooted.write_text(root, "etc/gitconfig", f"{own.rstrip()}\n{INCLUDED}")
    if rooted.read_text(root, "var/lib/dpkg/status") is not None and rooted.resolve(root, "etc/apt/apt.conf.d"):
        rooted.write_text(root, "etc/apt/apt.conf.d/90pyro", APT)
        for path in MANUALS:
            if rooted.resolve(root, path) is None:
                rooted.directory(root, path)


def runtime(root: Path, config: ImageConfig) -> dict[str, object]:
    """How commands are run in it; what it says of its own program has no meaning here, and is only shown."""
    return {
        "env": config.env,
        "shell": rooted.executable(root, *SHELLS),
        "user": config.user,
        "workdir": config.workdir,
        "entrypoint": list(config.entrypoint),
        "cmd": list(config.cmd),
    }


def notes(root: Path, config: ImageConfig, layers: list[LayerNotes]) -> list[str]:
    """What a person should know of it, in words."""
    found = []
    skipped, strangers = (sum(getattr(layer, what) for layer in layers) for what in ("skipped", "strangers"))
    shell = rooted.executable(root, *SHELLS)
    if shell is None:
        found.append("It has no shell: give commands as a program with its arguments.")
    elif not shell.endswith("bash"):
        found.append(f"It has no bash; {shell} runs command lines.")
    if rooted.executable(root, *(f"{place}/git" for place in _PLACES)) is None:
        found.append("It has no git.")
    if not any(rooted.resolve(root, path) for path in ("etc/ssl/certs/ca-certificates.crt", "etc/ssl/cert.pem")):
        found.append("It has no CA certificates; with egress, a machine gets this computer's.")
    if config.user not in ROOT_USER:
        found.append(f"Commands run as the user {config.user}, whom it names, unless the call says otherwise.")
    if skipped:
        found.append(f"{skipped} devices, FIFOs and sockets were left out.")
    if strangers:
        found.append(f"{strangers} files belong to ids outside this user's range; nobody (65534) owns them here.")
    return found


def contents(root: Path) -> dict[str, str]:
    """Packages with their versions, as far as Debian's or Alpine's list of them is there."""
    found: dict[str, str] = {}
    name = ""
    text = rooted.read_text(root, "var/lib/dpkg/status") or rooted.read_text(root, "lib/apk/db/installed") or ""
    for line in text.splitlines():
        said = re.match(r"(Package|P|Version|V): ?(.*)", line)
        if said is None:
            continue
        if said[1] in ("Package", "P"):
            name = said[2]
        elif name:
            found[name] = said[2]
    return found


def describe(root: Path) -> str:
    """What the tree calls itself, such as `Debian GNU/Linux 12 (bookworm)`."""
    text = rooted.read_text(root, "usr/lib/os-release") or rooted.read_text(root, "etc/os-release") or ""
    said = re.search(r'^PRETTY_NAME="?([^"\n]{1,100})', text, re.MULTILINE)
    name = said[1] if said else ""
    return name if name.isprintable() else ""


def size(root: Path) -> int:
    """Bytes on disk; what several names share is counted once."""
    total, seen = 0, set()
    for directory, _, files in os.walk(root):
        for file in files:
            info = os.lstat(os.path.join(directory, file))
            if info.st_nlink > 1 and stat.S_ISREG(info.st_mode):
                if info.st_ino in seen:
                    continue
                seen.add(info.st_ino)
            total += info.st_blocks * 512
    return total
