"""The guest's kernel: Debian's, from the signed archive, unpacked into what Firecracker wants.

components/linux-RELEASE/vmlinux      the ELF image out of the package's bzImage
components/linux-RELEASE/modules/     the few modules that a machine needs, NN-NAME.ko, in the order of loading
"""

from __future__ import annotations

import os
import re
import tarfile
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pyro_mcp.errors import ComponentMissing
from pyro_mcp.machines.components import extract_package, mmdebstrap
from pyro_mcp.machines.firecracker.lz4 import decompress_legacy
from pyro_mcp.models import Component
from pyro_mcp.packages import install_command

SUITE = "bookworm"
PACKAGE = {"x86_64": "linux-image-cloud-amd64"}
MODULES = ("virtio_mmio", "virtio_blk", "vmw_vsock_virtio_transport", "virtio_rng", "overlay", "erofs")
"""What must be there; what these depend on comes along. ext4 is built in."""
_LARGEST = 256 * 1024 * 1024
_SETUP_SECTORS, _PAYLOAD_OFFSET, _PAYLOAD_LENGTH = 0x1F1, 0x248, 0x24C
"""Documentation/arch/x86/boot.rst, «The Real-Mode Kernel Header»."""


@dataclass(frozen=True)
class Kernel:
    release: str
    vmlinux: Path
    modules: list[Path]


def extract_vmlinux(image: bytes) -> bytes:
    """The ELF image inside a bzImage with an LZ4 payload.

    Raises:
        ValueError: it is none.
    """
    if len(image) < 0x250 or image[0x202:0x206] != b"HdrS":
        raise ValueError("not a bzImage")

    def word(place: int) -> int:
        return int.from_bytes(image[place : place + 4], "little")

    start = (image[_SETUP_SECTORS] + 1) * 512 + word(_PAYLOAD_OFFSET)
    # The build appends the unpacked size, 4 bytes, to the payload.
    payload = image[start : start + word(_PAYLOAD_LENGTH) - 4]
    elf = decompress_legacy(payload, _LARGEST)
    if not elf.startswith(b"\x7fELF"):
        raise ValueError("what the bzImage holds is not an ELF image")
    return elf


def dependencies(module: bytes) -> list[str]:
    """The names in a module's `depends=` record (.modinfo)."""
    found = re.search(rb"\0depends=([^\0]*)\0", module)
    return [name for name in found.group(1).decode().split(",") if name] if found else []


def load_order(wanted: tuple[str, ...], modules: Mapping[str, bytes]) -> list[str]:
    """The wanted modules, each after what it depends on; what is not a module here is built in.

    Raises:
        ValueError: modules that depend on each other, or a record that is not text.
    """
    order: list[str] = []
    begun: list[str] = []

    def add(name: str) -> None:
        if name not in modules or name in order:
            return
        if name in begun:
            raise ValueError(f"its module {name} depends on itself")
        begun.append(name)
        for needed in dependencies(modules[name]):
            add(needed.replace("-", "_"))
        order.append(name)

    for name in wanted:
        add(name)
    return order


def find_kernel(cache: Path) -> Kernel | None:
    """The newest kernel that was fetched; PYRO_GUEST_KERNEL names the directory of another."""
    named = os.environ.get("PYRO_GUEST_KERNEL")
    places = [Path(named)] if named else sorted((cache / "components").glob("linux-*"), key=_release_key)
    for place in reversed(places):
        vmlinux, modules = place / "vmlinux", sorted((place / "modules").glob("*.ko"))
        if vmlinux.exists() and modules:
            return Kernel(place.name.removeprefix("linux-"), vmlinux, modules)
    return None


def _release_key(place: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", place.name)]


def kernel_component(cache: Path) -> Component:
    """The kernel, as `doctor` shows it."""
    kernel = find_kernel(cache)
    if kernel is None:
        return Component(name="guest-kernel", ok=False, remedy="run `pyro doctor --fix`")
    return Component(
        name="guest-kernel", ok=True, path=str(kernel.vmlinux), version=kernel.release, source="Debian's archive"
    )


def fetch_kernel(cache: Path, progress: Callable[[str, float | None], None]) -> Kernel:
    """Take the kernel from Debian's signed archive. Runs inside the enclosure.

    Raises:
        ComponentMissing: no mmdebstrap, no way to the archive, or a package that is not as expected.
    """
    package = PACKAGE.get(os.uname().machine)
    tool = mmdebstrap()
    if package is None or tool is None:
        what = f"no kernel is known for {os.uname().machine}" if tool else "mmdebstrap is missing"
        raise ComponentMissing(
            f"The guest kernel cannot be fetched: {what}.",
            hint=f"Install mmdebstrap ({install_command('mmdebstrap')}).",
            code="kernel_missing",
        )
    progress("fetching the guest kernel from Debian's archive", None)
    components = cache / "components"
    components.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="kernel-", dir=components) as work:
        archive = Path(work) / "kernel.tar"
        options = ['--aptopt=APT::Install-Recommends "false"', f"--include={package}"]
        problem = extract_package(tool, archive, SUITE, *options)
        if problem is not None:
            raise ComponentMissing(
                f"The guest kernel could not be fetched: {problem}",
                hint="Check that this computer can reach a Debian mirror.",
                code="kernel_fetch_failed",
            )
        progress("unpacking the guest kernel", None)
        try:
            release, image, modules = _read_package(archive)
            staged = Path(work) / "staged"
            _write(staged, extract_vmlinux(image), modules)
        except ValueError as error:
            raise ComponentMissing(
                f"The package {package} is not as expected: {error}.", hint="Upgrade pyro.", code="kernel_unusable"
            ) from error
        target = components / f"linux-{release}"
        if not target.exists():
            os.rename(staged, target)
    found = find_kernel(cache)
    assert found is not None
    return found


def _read_package(archive: Path) -> tuple[str, bytes, dict[str, bytes]]:
    """Release, bzImage and all modules that could be needed, by their names."""
    release, image, modules = "", b"", {}
    with tarfile.open(archive) as tar:
        for member in tar:
            if not member.isfile():
                continue
            base = member.name.rpartition("/")[2]
            if re.match(r"\./boot/vmlinuz-", member.name):
                release, image = base.removeprefix("vmlinuz-"), _content(tar, member)
            elif base.endswith(".ko") and re.search(
                r"/kernel/(drivers/(block|virtio|char)|net/vmw|fs|lib)", member.name
            ):
                modules[base.removesuffix(".ko").replace("-", "_")] = _content(tar, member)
    if not image:
        raise ValueError("it holds no vmlinuz")
    return release, image, modules


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    return file.read() if file is not None else b""


def _write(staged: Path, vmlinux: bytes, modules: Mapping[str, bytes]) -> None:
    order = load_order(MODULES, modules)
    missing = set(MODULES) - set(order)
    if missing:
        raise ValueError(f"it lacks the modules {', '.join(sorted(missing))}")
    (staged / "modules").mkdir(parents=True)
    (staged / "vmlinux").write_bytes(vmlinux)
    for number, name in enumerate(order):
        (staged / "modules" / f"{number:02}-{name}.ko").write_bytes(modules[name])
