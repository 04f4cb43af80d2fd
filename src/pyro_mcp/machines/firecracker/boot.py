"""What a machine boots with: kernel, initramfs, and no device but drives, vsock and entropy."""

from __future__ import annotations

import hashlib
from pathlib import Path

from pyro_mcp import wholeness
from pyro_mcp.machines.firecracker.initramfs import initramfs
from pyro_mcp.machines.firecracker.kernel import Kernel
from pyro_mcp.machines.firecracker.vmm import Vmm
from pyro_mcp.machines.protocol import MachineSpec

GUEST_CID = 3
"""The same for all: each Firecracker is a vsock world of its own."""
DRIVES = (("root", True), ("disk", False), ("seed", True))
"""Name and whether read-only. The order is known to agent/boot.go."""
BOOT_ARGS = (
    "console=ttyS0 reboot=k panic=-1 pci=off quiet 8250.nr_uarts=1 i8042.noaux i8042.nomux i8042.nopnp "
    "i8042.dumbkbd mitigations=off cryptomgr.notests random.trust_cpu=on rdinit=/init -- --boot --listen=vsock:1024"
)
"""mitigations=off: inside, everybody is root already; the boundary is the host's, whose mitigations stay on."""


async def configure(vmm: Vmm, spec: MachineSpec) -> None:
    """Tell a Firecracker that does nothing yet what its machine is, and start it."""
    config = {"vcpu_count": spec.vcpu_count, "mem_size_mib": spec.mem_mib, "track_dirty_pages": True}
    await vmm.put("/machine-config", config)
    source = {"kernel_image_path": "vmlinux", "initrd_path": "initrd", "boot_args": BOOT_ARGS}
    await vmm.put("/boot-source", source)
    for name, read_only in DRIVES:
        drive = {"drive_id": name, "path_on_host": f"{name}.img", "is_root_device": False}
        await vmm.put(f"/drives/{name}", {**drive, "is_read_only": read_only})
    await vmm.put("/vsock", {"guest_cid": GUEST_CID, "uds_path": "v.sock"})
    await vmm.put("/entropy", {})
    await vmm.put("/actions", {"action_type": "InstanceStart"})


def initrd(directory: Path, agent: Path, kernel: Kernel) -> Path:
    """The initramfs, kept in `directory` under a name made of its content."""
    archive = initramfs(agent, kernel.modules)
    place = directory / f"initrd-{hashlib.sha256(archive).hexdigest()[:16]}"
    if not place.exists() or place.read_bytes() != archive:
        place.parent.mkdir(parents=True, exist_ok=True)
        wholeness.write_new(place, archive)
    return place
