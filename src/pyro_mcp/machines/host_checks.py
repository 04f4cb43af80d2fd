"""What this computer offers, looked at without changing anything. No check may fail the others.

Standard library and models only: `doctor` runs these before there is a daemon, too.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from pyro_mcp.enclosure import MINIMUM_IDS, add_subordinate_ids, subordinate_range
from pyro_mcp.models import Component, HostCheck
from pyro_mcp.packages import install_command

ROOM_BYTES = 3 * 1024**3
"""An environment with its build beside it takes 1.5 GB; workspaces need some, too."""


def find_tools() -> list[Component]:
    """Programs of the system that pyro calls."""
    wanted = (
        ("mmdebstrap", "builds environments (without it, images from Docker Hub are used)"),
        ("tar", "copies seeds"),
        ("git", "seeds git work trees"),
        ("zstd", "unpacks .tar.zst seeds"),
        ("taskset", "holds machines to their CPUs"),
        ("mke2fs", "makes disks for Firecracker"),
    )
    found = []
    for name, purpose in wanted:
        path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/bin:/usr/sbin")
        remedy = "" if path else f"{purpose}: {install_command(name)}"
        found.append(
            Component(name=name, ok=path is not None, path=path, source="PATH" if path else "missing", remedy=remedy)
        )
    return found


def host_checks() -> list[HostCheck]:
    """Every check, in the order in which a person would mend them."""
    checks: list[tuple[str, bool, Callable[[], tuple[bool, str, str]]]] = [
        ("linux", True, _kernel),
        ("user-namespaces", os.geteuid() != 0, _user_namespaces),
        ("uidmap", os.geteuid() != 0, _uidmap),
        ("subordinate-ids", os.geteuid() != 0, _subordinate_ids),
        ("disk", True, _disk),
        ("kvm", False, _kvm),
    ]
    results = []
    for name, required, check in checks:
        try:
            ok, detail, remedy = check()
        except Exception as error:  # a check that breaks is a finding, not a crash
            ok, detail, remedy = False, f"could not be checked: {error}", ""
        results.append(HostCheck(name=name, ok=ok, required=required, detail=detail, remedy="" if ok else remedy))
    return results


def _kernel() -> tuple[bool, str, str]:
    system = os.uname()
    ok = system.sysname == "Linux" and system.machine in ("x86_64", "aarch64")
    return ok, f"{system.sysname} {system.release} on {system.machine}", "pyro runs on Linux, x86_64 or aarch64."


NAMESPACE_TRIAL = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def check(result, what):
    if result:
        raise SystemExit(f"{what}: {os.strerror(ctypes.get_errno())}")
uid, gid = os.getuid(), os.getgid()
check(libc.unshare(0x10000000 | 0x00020000), "unshare")
for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
    with open(f"/proc/self/{name}", "w") as file:
        file.write(text)
check(libc.mount(b"none", b"/", None, ctypes.c_ulong(0x44000), None), "mount")
check(libc.mount(b"none", b"/tmp", b"tmpfs", ctypes.c_ulong(0), None), "mount")
"""
"""A user and mount namespace, and a mount in it: what the daemon does first (`enclosure`)."""


def apparmor_profile(program: str) -> str:
    """The command that lets one program make user namespaces, and nothing else (Ubuntu 23.10 and newer)."""
    rule = f"abi <abi/4.0>, include <tunables/global> profile pyro {program} flags=(unconfined) {{ userns, }}"
    return f"echo '{rule}' | sudo tee /etc/apparmor.d/pyro && sudo apparmor_parser -r /etc/apparmor.d/pyro"


def _user_namespaces() -> tuple[bool, str, str]:
    if os.geteuid() == 0 and not _inside_enclosure():
        return True, "not needed as root", ""
    # The thing itself, by the program that does it: AppArmor lets a namespace be made and takes its capabilities.
    done = subprocess.run(
        [sys.executable, "-c", NAMESPACE_TRIAL], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=10
    )
    if done.returncode == 0:
        return True, "an unprivileged user can create one and mount in it", ""
    remedy = "sudo sysctl -w kernel.unprivileged_userns_clone=1"
    if _read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1":
        remedy = apparmor_profile(os.path.realpath(sys.executable))
    elif _read("/proc/sys/user/max_user_namespaces") == "0":
        remedy = "sudo sysctl -w user.max_user_namespaces=15000"
    said = done.stderr.strip().splitlines()
    return False, f"refused: {said[-1] if said else 'no reason given'}", remedy


def _inside_enclosure() -> bool:
    return (_read("/proc/self/uid_map").split() or ["0", "0", "4294967295"])[:3] != ["0", "0", "4294967295"]


def _uidmap() -> tuple[bool, str, str]:
    if os.geteuid() == 0 and not _inside_enclosure():
        return True, "not needed as root", ""
    missing = [tool for tool in ("newuidmap", "newgidmap") if shutil.which(tool) is None]
    if missing:
        return False, f"{', '.join(missing)} missing", install_command("newuidmap")
    return True, "newuidmap and newgidmap are there", ""


def _subordinate_ids() -> tuple[bool, str, str]:
    if _inside_enclosure():
        return True, "mapped: this daemon uses them", ""
    if os.geteuid() == 0:
        return True, "not needed as root", ""
    uid = os.getuid()
    user = pwd.getpwuid(uid).pw_name
    missing = [path for path in ("/etc/subuid", "/etc/subgid") if subordinate_range(path, user, uid) is None]
    if missing:
        return False, f"{' and '.join(missing)} give {user} no range of {MINIMUM_IDS} ids", add_subordinate_ids(user)
    return True, f"{user} has ranges in /etc/subuid and /etc/subgid", ""


def _disk() -> tuple[bool, str, str]:
    place = Path(os.path.expanduser("~"))
    free = shutil.disk_usage(place).free
    return (
        free >= ROOM_BYTES,
        f"{free / 1024**3:.1f} GiB free at {place}",
        "Free some space, or set PYRO_HOME to another disk.",
    )


def _kvm() -> tuple[bool, str, str]:
    if not os.path.exists("/dev/kvm"):
        return False, "no /dev/kvm; gVisor does not need it", ""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False, "this user may not open /dev/kvm; gVisor does not need it", "sudo usermod -aG kvm $USER"
    return True, "/dev/kvm can be opened; Firecracker's probe shows whether it boots a guest", ""


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def kvm_opens() -> bool:
    """Whether this user may open /dev/kvm; whether a guest boots with it, only a probe can tell."""
    try:
        os.close(os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC))
    except OSError:
        return False
    return True
