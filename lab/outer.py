"""What the emulated computer is made of: its kernel, its root, and the disks with pyro in them.

Everything is kept in ~/.cache/pyro-lab under a name made of what it was made from.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import stat
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pyro_mcp.environments import debian
from pyro_mcp.environments.cache import EnvironmentCache
from pyro_mcp.environments.catalog import DEFAULT, definition
from pyro_mcp.machines.firecracker import components, images, kernel
from pyro_mcp.machines.firecracker.initramfs import Member, cpio
from pyro_mcp.machines.protocol import RootTree

ROOT = Path(__file__).resolve().parent.parent
CACHE = Path(os.environ.get("PYRO_LAB_CACHE") or Path("~/.cache/pyro-lab").expanduser())
SUITE = "bookworm"
PACKAGES = (
    "busybox-static",
    "ca-certificates",
    "curl",
    "e2fsprogs",
    "git",
    "iproute2",
    "mmdebstrap",
    "procps",
    "python3",
    "python3-pip",
    "python3-venv",
    "uidmap",
    "zstd",
)
OUTER_MODULES = (
    "virtio_pci",
    "virtio_blk",
    "virtio_rng",
    "virtio_net",
    "overlay",
    "erofs",
    "loop",
    "irqbypass",
    "kvm",
    "kvm_amd",
)
INIT = """#!/bin/busybox sh
export PATH=/bin
for d in proc sys dev new; do /bin/busybox mkdir -p /$d; done
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
for m in /modules/*.ko; do /bin/busybox insmod $m; done
/bin/busybox mount -t ext4 /dev/vda /new
/bin/busybox mount -t ext4 -o ro /dev/vdb /new/payload
/bin/busybox mount -t ext4 /dev/vdc /new/cache
for d in proc sys dev; do /bin/busybox mount -o move /$d /new/$d; done
/bin/busybox mkdir -p /new/dev/pts /new/dev/shm
/bin/busybox mount -t devpts -o ptmxmode=0666,gid=5 devpts /new/dev/pts
/bin/busybox mount -t tmpfs tmpfs /new/dev/shm
exec /bin/busybox switch_root /new /payload/lab/inside/init.sh
"""
GATEWAY = "10.0.2.2"
LOOPBACK = r"(?<=[/@])(127\.0\.0\.1|localhost)(?=[:/]|$)"
Say = Callable[[str], None]


@dataclass(frozen=True)
class Outer:
    """Files that QEMU is started with."""

    kernel: Path
    initrd: Path
    root: Path
    payload: Path
    cache: Path


def prepare(say: Say) -> Outer:
    """Everything, made where it is missing."""
    CACHE.mkdir(parents=True, exist_ok=True)
    bzimage, modules = _kernel(say)
    root, busybox = _root(say)
    return Outer(bzimage, _initrd(modules, busybox), root, _payload(say), _pyro_cache(say))


def _name(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _mmdebstrap(target: Path, variant: str, packages: tuple[str, ...]) -> None:
    with tempfile.TemporaryDirectory(dir=CACHE) as work:
        argv = ["unshare", "--mount", "--propagation=private", "mmdebstrap", "--mode=root", f"--variant={variant}"]
        argv += ['--aptopt=APT::Install-Recommends "false"', f"--include={','.join(packages)}", SUITE, str(target)]
        environment = {**os.environ, "TMPDIR": work}
        subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, capture_output=True, env=environment, timeout=900)


def _kernel(say: Say) -> tuple[Path, list[Path]]:
    place = CACHE / f"kernel-{_name(SUITE, *OUTER_MODULES)}"
    if not place.exists():
        say("the emulated computer's kernel, from Debian's archive")
        with tempfile.TemporaryDirectory(dir=CACHE) as work:
            _mmdebstrap(Path(work) / "k.tar", "extract", ("linux-image-cloud-amd64",))
            modules, staged = {}, Path(work) / "staged"
            (staged / "modules").mkdir(parents=True)
            with tarfile.open(Path(work) / "k.tar") as tar:
                for member in tar:
                    file = tar.extractfile(member) if member.isfile() else None
                    if file is None:
                        continue
                    if re.match(r"\./boot/vmlinuz-", member.name):
                        (staged / "bzimage").write_bytes(file.read())
                    elif member.name.endswith(".ko"):
                        modules[Path(member.name).stem.replace("-", "_")] = file.read()
            for number, name in enumerate(kernel.load_order(OUTER_MODULES, modules)):
                (staged / "modules" / f"{number:02}-{name}.ko").write_bytes(modules[name])
            os.rename(staged, place)
    return place / "bzimage", sorted((place / "modules").glob("*.ko"))


def _root(say: Say) -> tuple[Path, Path]:
    place = CACHE / f"root-{_name(SUITE, *PACKAGES)}"
    if not place.exists():
        say("the emulated computer's root, with mmdebstrap")
        with tempfile.TemporaryDirectory(dir=CACHE) as work:
            tree, staged = Path(work) / "tree", Path(work) / "staged"
            _mmdebstrap(tree, "minbase", PACKAGES)
            for name in ("payload", "cache"):
                (tree / name).mkdir()
            staged.mkdir()
            shutil.copy(tree / "bin/busybox", staged / "busybox")
            _ext4(tree, staged / "root.ext4", 12 << 30)
            os.rename(staged, place)
    return place / "root.ext4", place / "busybox"


def _initrd(modules: list[Path], busybox: Path) -> Path:
    archive = cpio(
        [
            Member("dev", stat.S_IFDIR | 0o755),
            Member("dev/console", stat.S_IFCHR | 0o600, device=(5, 1)),
            Member("bin", stat.S_IFDIR | 0o755),
            Member("bin/busybox", stat.S_IFREG | 0o755, busybox.read_bytes()),
            Member("modules", stat.S_IFDIR | 0o755),
            *(Member(f"modules/{path.name}", stat.S_IFREG | 0o644, path.read_bytes()) for path in modules),
            Member("init", stat.S_IFREG | 0o755, INIT.encode()),
        ]
    )
    place = CACHE / f"outer-{hashlib.sha256(archive).hexdigest()[:16]}.cpio"
    if not place.exists():
        partial = place.with_suffix(f".{os.getpid()}")
        partial.write_bytes(archive)
        os.replace(partial, place)
    return place


def _ext4(tree: Path, target: Path, size: int) -> None:
    argv = ["/usr/sbin/mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal", "-m", "0"]
    argv += ["-E", "lazy_itable_init=1,nodiscard,root_owner=0:0", "-d", str(tree), str(target), str(size >> 10)]
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=300)


def _payload(say: Say) -> Path:
    """This checkout and the Python packages that it runs with. Made anew each time: it is what is tested."""
    packages = Path(next((ROOT / ".venv" / "lib").glob("python3*/site-packages")))
    target = CACHE / f"payload-{os.getpid()}.ext4"
    with tempfile.TemporaryDirectory(dir=CACHE) as work:
        tree = Path(work)
        unneeded = ("mypy*", "*mypyc*", "ruff*", "hatchling*", "grimp*", "pyro_mcp*", "import*linter*", "__editable__*")
        _link_tree(packages, tree / "site", unneeded)
        for name in ("src", "tests", "lab", "docs", "examples", "benchmarks"):
            _link_tree(ROOT / name, tree / name, ())
        for name in ("pyproject.toml", "README.md", "CHANGELOG.md"):
            shutil.copy(ROOT / name, tree / name)
        (tree / "lab" / "inside" / "init.sh").chmod(0o755)
        _network(tree)
        target.unlink(missing_ok=True)
        _ext4(tree, target, 1 << 30)
    return target


def _network(tree: Path) -> None:
    """This computer's way out, for the emulated one: its proxies and whom it trusts."""
    authorities = Path(os.environ.get("SSL_CERT_FILE") or "/etc/ssl/certs/ca-certificates.crt")
    if authorities.exists():
        shutil.copy(authorities, tree / "authorities.pem")
    proxies = {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}
    # QEMU shows this computer's loopback under an address of its own.
    lines = [f"export {n}={shlex.quote(re.sub(LOOPBACK, GATEWAY, v))}\n" for n, v in proxies.items()]
    (tree / "proxies.sh").write_text("".join(lines))


def _link_tree(source: Path, target: Path, unneeded: tuple[str, ...]) -> None:
    def link(source_file: str, target_file: str) -> str:
        try:
            os.link(source_file, target_file)
        except OSError:
            shutil.copy2(source_file, target_file)
        return target_file

    if source.exists():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns(*unneeded), copy_function=link, symlinks=True)


def _pyro_cache(say: Say) -> Path:
    """pyro's own cache, as it is after `doctor --fix` and a pull: environment, kernel, Firecracker."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "pyro"
    environments = EnvironmentCache(cache / "environments")
    wanted = definition(DEFAULT)
    manifest = environments.installed(wanted)
    if manifest is None:
        import threading

        say(f"building the environment {DEFAULT}")
        manifest = debian.build(wanted, environments, lambda text, fraction: None, threading.Event())
    guest_kernel = kernel.find_kernel(cache) or kernel.fetch_kernel(cache, lambda text, fraction: say(text))
    components.fetch_firecracker(cache, lambda text, fraction: say(text))
    binaries = [f"{name}-{components.FIRECRACKER_VERSION}" for name in ("firecracker", "jailer")]
    root = images.root_image(RootTree(DEFAULT, manifest.digest, environments.tree(manifest.digest)))
    place = CACHE / f"cache-{_name(manifest.digest, guest_kernel.release, *binaries)}.ext4"
    if not place.exists():
        say("the disk with the environment")
        with tempfile.TemporaryDirectory(dir=CACHE) as work:
            tree = Path(work) / "pyro"
            (tree / "components").mkdir(parents=True)
            for binary in binaries:
                shutil.copy(cache / "components" / binary, tree / "components" / binary)
            shutil.copytree(guest_kernel.vmlinux.parent, tree / "components" / guest_kernel.vmlinux.parent.name)
            build = tree / "environments" / manifest.digest
            (build / "root").mkdir(parents=True)
            shutil.copy(environments.root / manifest.digest / "manifest.json", build / "manifest.json")
            (tree / "environments" / "names").mkdir()
            name = f"{wanted.name}.json"
            shutil.copy(environments.root / "names" / name, tree / "environments" / "names" / name)
            images.clone(root, build / "root.ext4")
            partial = place.with_suffix(".partial")
            _ext4(Path(work), partial, 12 << 30)
            os.replace(partial, place)
    return place
