"""What doctor advises: this distribution's command, ranges that nobody has, a profile for one program."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pyro_mcp.enclosure import MINIMUM_IDS, free_subordinate_range
from pyro_mcp.machines import choice
from pyro_mcp.machines.host_checks import NAMESPACE_TRIAL, apparmor_profile, host_checks
from pyro_mcp.packages import install_command


@pytest.mark.parametrize(
    ("manager", "program", "command"),
    [
        ("apt-get", "newuidmap", "sudo apt-get install uidmap"),
        ("dnf", "newuidmap", "sudo dnf install shadow-utils"),
        ("pacman", "mke2fs", "sudo pacman -S e2fsprogs"),
        ("apk", "taskset", "sudo apk add util-linux-misc"),
        ("zypper", "git", "sudo zypper install git"),
        ("nix-env", "zstd", "nix-env -iA nixpkgs.zstd"),
        (None, "git", "install git with this system's package manager"),
    ],
)
def test_each_distribution_has_its_own_command(
    manager: str | None, program: str, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if manager:
        (tmp_path / manager).write_text("#!/bin/sh\n")
        (tmp_path / manager).chmod(0o755)
    monkeypatch.setattr("pyro_mcp.packages.PLACES", "")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert install_command(program) == command


@pytest.mark.parametrize(
    ("subuid", "subgid", "first"),
    [
        ("", "", 100000),
        ("alice:100000:65536\n", "", 165536),
        ("alice:100000:65536\nbob:165536:65536\n", "alice:500000:65536\n", 565536),
        ("broken\nx:y:z\n:::\n", "\n", 100000),
    ],
)
def test_a_range_that_nobody_has(subuid: str, subgid: str, first: int, tmp_path: Path) -> None:
    (tmp_path / "subuid").write_text(subuid)
    (tmp_path / "subgid").write_text(subgid)
    paths = (str(tmp_path / "subuid"), str(tmp_path / "subgid"), str(tmp_path / "missing"))
    assert free_subordinate_range(paths) == (first, first + MINIMUM_IDS - 1)


def test_the_namespace_is_tried_whole() -> None:
    """A capability that is taken away (as AppArmor does) fails the trial, though the namespace can be made."""
    assert subprocess.run([sys.executable, "-c", NAMESPACE_TRIAL], capture_output=True).returncode == 0
    refused = NAMESPACE_TRIAL.replace('b"none", b"/"', 'b"none", b"/nowhere/at/all"')
    done = subprocess.run([sys.executable, "-c", refused], capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.startswith("mount: ")


def test_the_profile_names_one_program_and_opens_nothing_else() -> None:
    advice = apparmor_profile("/usr/bin/python3.12")
    assert "profile pyro /usr/bin/python3.12 flags=(unconfined) { userns, }" in advice and "sysctl" not in advice


def test_no_check_fails_the_others_and_no_fix_is_advised_that_cannot_help(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "kvm_opens", lambda: False)
    monkeypatch.setenv("PATH", str(tmp_path))
    parts = {part.name: part for part in choice.find_components(tmp_path)}
    assert "doctor --fix" in parts["runsc"].remedy
    assert parts["firecracker"].remedy == choice.NO_KVM and parts["guest-kernel"].remedy == choice.NO_KVM
    assert {check.name for check in host_checks()} >= {"linux", "disk", "kvm"}
