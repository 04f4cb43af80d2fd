"""The namespaces that the daemon lives in.

As an ordinary user the daemon moves into a user namespace where it is root, with the user's subordinate
ids mapped behind it, and a mount namespace. That gives everything machines need (file owners other than
one, bind mounts that the host does not see) with no privilege on the host. As root only the mount
namespace is made. Mounts of the host flow in, none of ours flow out, and all of them vanish with the
last process inside.

A later daemon makes an enclosure of its own with the same mapping; it may still signal the machines of
an earlier one, because both run as the same user on the outside.

Standard library only, and called before any thread exists: the kernel refuses `unshare` of a user
namespace to a process with threads.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

from pyro_mcp.errors import ComponentMissing
from pyro_mcp.packages import install_command

# include/uapi/linux/sched.h and include/uapi/linux/mount.h
CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
MS_RDONLY = 0x1
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_REC = 0x4000
MS_SLAVE = 0x80000
MS_SHARED = 0x100000
MNT_DETACH = 0x2
UMOUNT_NOFOLLOW = 0x8  # include/linux/fs.h
# The numbers are the same on every architecture (include/uapi/asm-generic/unistd.h).
_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = (ctypes.c_long(number) for number in (428, 429, 442))
_AT_FDCWD = -100  # include/uapi/linux/fcntl.h
_AT_EMPTY_PATH = 0x1000
_OPEN_TREE_CLONE = 0x1  # include/uapi/linux/mount.h
_MOVE_MOUNT_F_EMPTY_PATH = 0x4
_MOUNT_ATTR_RDONLY = 0x1
MINIMUM_IDS = 65536
"""A Debian tree uses ids up to 65534 (nobody)."""

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    _check(_libc.unshare(flags), "unshare")


def mount(source: str, target: str, flags: int) -> None:
    """mount(2) without a file system type: bind mounts, remounts and propagation."""
    _check(_libc.mount(source.encode(), target.encode(), None, ctypes.c_ulong(flags), None), f"mount {target}")


def unmount(target: str) -> None:
    """Detach what is mounted on `target`; nothing mounted there is fine (EINVAL), as is no such path, or a link."""
    if _libc.umount2(target.encode(), MNT_DETACH | UMOUNT_NOFOLLOW) != 0:
        number = ctypes.get_errno()
        if number not in (22, 2):  # EINVAL: not a mount point; ENOENT
            raise OSError(number, f"umount {target}: {os.strerror(number)}")


class _MountAttributes(ctypes.Structure):
    """struct mount_attr of include/uapi/linux/mount.h."""

    _fields_ = [
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    ]


def bind_read_only(source: Path, target: Path) -> None:
    """Show `source` at `target`, read-only from its first moment on, wherever the mount propagates to.

    A mount that is bound and then remounted read-only reaches its slaves, which are the running machines, writable
    (measured); so this one is made read-only while it is nowhere yet. What it cannot be made read-only is not shown.

    Raises:
        OSError: ENOSYS where the kernel is older than 5.12; or as mount(2).
    """
    tree = _libc.syscall(_OPEN_TREE, _AT_FDCWD, os.fsencode(source), _OPEN_TREE_CLONE | os.O_CLOEXEC)
    _check(min(tree, 0), f"open_tree {source}")
    try:
        read_only = _MountAttributes(attr_set=_MOUNT_ATTR_RDONLY)
        size = ctypes.c_size_t(ctypes.sizeof(read_only))
        result = _libc.syscall(_MOUNT_SETATTR, tree, b"", _AT_EMPTY_PATH, ctypes.byref(read_only), size)
        _check(result, f"mount_setattr {source}")
        result = _libc.syscall(_MOVE_MOUNT, tree, b"", _AT_FDCWD, os.fsencode(target), _MOVE_MOUNT_F_EMPTY_PATH)
        _check(result, f"mount {target}")
    finally:
        os.close(tree)


class Shown:
    """Read-only twins of the directories that machines are shown something of.

    What a machine is given by a path below one of these is read-only in the host's own mount table, because a mount
    that is bound from a read-only one is read-only itself. A twin of a shared mount is its peer: what is mounted below
    the one appears below the other.
    """

    def __init__(self, place: Path) -> None:
        self._place = place
        self._twins: list[tuple[Path, Path]] = []

    def add(self, directory: Path) -> None:
        """Make the twin of `directory`, in this process's mount namespace."""
        twin = self._place / f"{len(self._twins)}-{directory.name}"
        twin.mkdir(mode=0o700, parents=True, exist_ok=True)
        bind_read_only(directory, twin)
        self._twins.append((directory, twin))

    def __call__(self, path: Path) -> Path:
        """The read-only path of what is at `path`.

        Raises:
            ValueError: there is none. A defect of pyro's: better no machine than one that is shown a writable path.
        """
        for directory, twin in self._twins:
            if path.is_relative_to(directory):
                return twin / path.relative_to(directory)
        raise ValueError(f"{path} is not below a directory that machines may see")


def make_shared(directory: Path) -> None:
    """Make `directory` a mount of its own whose later sub-mounts appear in running sandboxes."""
    mount(str(directory), str(directory), MS_BIND)
    mount("none", str(directory), MS_SHARED)


def subordinate_range(path: str, user: str, uid: int) -> tuple[int, int] | None:
    """The first range of at least `MINIMUM_IDS` ids for this user in /etc/subuid or /etc/subgid."""
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        owner, _, rest = line.partition(":")
        start, _, count = rest.partition(":")
        if owner in (user, str(uid)) and start.isdigit() and count.isdigit() and int(count) >= MINIMUM_IDS:
            return int(start), int(count)
    return None


def free_subordinate_range(paths: tuple[str, ...] = ("/etc/subuid", "/etc/subgid")) -> tuple[int, int]:
    """The first and last of `MINIMUM_IDS` ids that /etc/subuid and /etc/subgid give nobody, from 100000 on."""
    first = 100000  # useradd's SUB_UID_MIN (login.defs(5))
    for path in paths:
        try:
            lines = Path(path).read_text().splitlines()
        except OSError:
            continue
        for line in lines:
            _, _, rest = line.partition(":")
            start, _, count = rest.partition(":")
            if start.isdigit() and count.isdigit():
                first = max(first, int(start) + int(count))
    return first, first + MINIMUM_IDS - 1


def add_subordinate_ids(user: str) -> str:
    """The command that gives a user ranges that nobody else has."""
    first, last = free_subordinate_range()
    return f"sudo usermod --add-subuids {first}-{last} --add-subgids {first}-{last} {user}"


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _map_ids(ranges: list[tuple[str, int, tuple[int, int]]]) -> None:
    """Unshare the user namespace and have newuidmap/newgidmap, run from outside it, fill in the maps."""
    parent = os.getpid()
    unshared_r, unshared_w = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(unshared_w)
        status = 1
        try:
            if os.read(unshared_r, 1) == b"1":
                for tool, own, (start, count) in ranges:
                    subprocess.run(
                        [tool, str(parent), "0", str(own), "1", "1", str(start), str(count)],
                        check=True,
                        stdin=subprocess.DEVNULL,
                    )
                status = 0
        except BaseException as error:
            print(f"pyro daemon: {error}", file=sys.stderr)
        finally:
            os._exit(status)
    os.close(unshared_r)
    try:
        unshare(CLONE_NEWUSER)
        os.write(unshared_w, b"1")
    finally:
        os.close(unshared_w)
        _, status = os.waitpid(child, 0)
    if status != 0:
        raise ComponentMissing(
            "This user's subordinate ids could not be mapped into a user namespace.",
            hint="Run `pyro doctor` to see what is missing.",
            code="id_mapping_failed",
        )


def root_outside() -> bool:
    """Whether this process is root with all ids: of this computer or its container, not of an enclosure's namespace."""
    try:
        return os.geteuid() == 0 and Path("/proc/self/uid_map").read_text().split() == ["0", "0", str(2**32 - 1)]
    except OSError:
        return False


def enter() -> None:
    """Move this process into its enclosure.

    Raises:
        ComponentMissing: user namespaces are forbidden, or uidmap or /etc/subuid is missing.
    """
    uid, gid = os.getuid(), os.getgid()
    if os.geteuid() == 0:
        unshare(CLONE_NEWNS)
    else:
        user = _user_name(uid)
        ranges = []
        for tool, own, path in (("newuidmap", uid, "/etc/subuid"), ("newgidmap", gid, "/etc/subgid")):
            program = shutil.which(tool, path=os.environ.get("PATH", "") + ":/usr/bin:/usr/sbin")
            found = subordinate_range(path, user, uid)
            if program is None:
                raise ComponentMissing(
                    f"{tool} is not on this computer; pyro needs it to run machines without root.",
                    hint=f"Install it: {install_command('newuidmap')}",
                    code="uidmap_missing",
                )
            if found is None:
                raise ComponentMissing(
                    f"{path} has no range of {MINIMUM_IDS} subordinate ids for {user}.",
                    hint=f"Add one: {add_subordinate_ids(user)}",
                    code="subordinate_ids_missing",
                )
            ranges.append((program, own, found))
        try:
            _map_ids(ranges)
            unshare(CLONE_NEWNS)
        except OSError as error:
            raise ComponentMissing(
                f"This computer does not let an unprivileged user create a user namespace: {error}.",
                hint="Run `pyro doctor` to see which setting forbids it.",
                code="user_namespaces_forbidden",
            ) from error
        # Being root of the namespace means holding its ids too; files made from now on are ours outside.
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
    mount("none", "/", MS_REC | MS_SLAVE)
