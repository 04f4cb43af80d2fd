"""How this computer's distribution installs a program: the command to type. Standard library only, changes nothing."""

from __future__ import annotations

import os
import shutil

_MANAGERS = {
    "apt-get": "sudo apt-get install {}",
    "dnf": "sudo dnf install {}",
    "pacman": "sudo pacman -S {}",
    "apk": "sudo apk add {}",
    "zypper": "sudo zypper install {}",
    "nix-env": "nix-env -iA nixpkgs.{}",
}
"""A program that tells a distribution, and how it installs a package. The first that is there counts."""
PLACES = ":/usr/bin:/usr/sbin:/run/current-system/sw/bin"
_NAMES: dict[str, dict[str, str]] = {
    "newuidmap": {"": "shadow", "apt-get": "uidmap", "dnf": "shadow-utils", "apk": "shadow-uidmap"},
    "taskset": {"": "util-linux", "apk": "util-linux-misc"},
    "unshare": {"": "util-linux", "apk": "util-linux-misc"},
    "mke2fs": {"": "e2fsprogs"},
}
"""Packages that are called otherwise than their program; `""` holds where no manager is named."""


def install_command(program: str) -> str:
    """The command that installs a program here, or words where no package manager is known."""
    path = os.environ.get("PATH", "") + PLACES
    for manager, command in _MANAGERS.items():
        if shutil.which(manager, path=path):
            return command.format(_package(program, manager))
    return f"install {_package(program, '')} with this system's package manager"


def _package(program: str, manager: str) -> str:
    names = _NAMES.get(program, {})
    return names.get(manager, names.get("", program))
