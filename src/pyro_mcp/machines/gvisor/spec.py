"""The OCI bundle of a gVisor machine: what the guest sees, and nothing else.

/pyro/run (the socket that its agent dials), /pyro/bin (the agent) and /pyro/seed (may be filled later) are the only
things of the host inside, all read-only on the host's side; /pyro/upper and /tmp are guest file systems kept in a file
on disk instead of in memory.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

CAPABILITIES = [
    f"CAP_{name}"
    for name in """
        AUDIT_WRITE CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID IPC_LOCK KILL LEASE MKNOD NET_ADMIN
        NET_BIND_SERVICE NET_RAW SETFCAP SETGID SETPCAP SETUID SYS_ADMIN SYS_CHROOT SYS_NICE SYS_PTRACE
        SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG
    """.split()  # noqa: SIM905 - a list of strings would be put on one line each
]
"""What apt, pip, git, su, chown, mount and gdb need. They hold against gVisor's kernel, never the host's."""
OPEN_FILES = 65536


def _disk_backed(name: str, source: Path, disk_gib: int) -> dict[str, str]:
    # gVisor's mount hint: a tmpfs whose pages live in a file under `source` (runsc/boot/mount_hints.go). Its options
    # are those of the file system; the mount's own are of the mount only, and a size there is ignored.
    prefix = f"dev.gvisor.spec.mount.{name}"
    return {
        f"{prefix}.source": str(source),
        f"{prefix}.type": "tmpfs",
        f"{prefix}.share": "container",
        f"{prefix}.options": f"rw,size={disk_gib << 30}",
    }


def bundle(*, directory: Path, shown: Path, root: Path, agent: Path, hostname: str, disk_gib: int) -> dict[str, Any]:
    """The runtime configuration of the machine whose files are in `directory`.

    `shown` is the read-only twin of that directory, and `root` and `agent` are below such twins, too: a mount that is
    bound from a read-only one is read-only, whatever the sentry makes of its own flag.
    """

    def bind(destination: str, source: Path, *options: str) -> dict[str, Any]:
        return {"destination": destination, "type": "bind", "source": str(source), "options": list(options)}

    return {
        "ociVersion": "1.0.0",
        "hostname": hostname,
        "root": {"path": str(root), "readonly": False},
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": ["/pyro/bin/pyro-agent", "--listen", "dial:/pyro/run/agent.sock"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"],
            "cwd": "/",
            "capabilities": dict.fromkeys(("bounding", "effective", "inheritable", "permitted"), CAPABILITIES),
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": OPEN_FILES, "soft": OPEN_FILES}],
        },
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs"},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "tmpfs"},
            bind("/pyro/run", shown / "run", "ro"),
            # rslave: what is mounted below it on this side later appears inside the running guest.
            bind("/pyro/seed", shown / "seed", "ro", "rbind", "rslave"),
            bind("/pyro/bin", agent.parent, "ro"),
            bind("/pyro/upper", directory / "upper", "rw"),
            bind("/tmp", directory / "tmp", "rw"),
        ],
        "annotations": {
            **_disk_backed("upper", directory / "upper", disk_gib),
            **_disk_backed("tmp", directory / "tmp", disk_gib),
        },
        "linux": {"namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount")]},
    }


def write_bundle(directory: Path, configuration: dict[str, Any]) -> None:
    (directory / "config.json").write_text(json.dumps(configuration))
