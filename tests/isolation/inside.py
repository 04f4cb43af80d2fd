"""Attempts by root of the guest: one script each. Nothing a script prints is believed; the arena's baits tell."""

from __future__ import annotations

import shlex

from pyro_mcp.errors import GuestError
from tests.isolation.attempts import ATTEMPTS, Arena, Attempt

BOTH = ("gvisor", "firecracker")
GVISOR = ("gvisor",)


def _first_line(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return (lines[-1] if lines else "nothing happened")[:110]


def _python(text: str) -> str:
    return "python3 -c " + shlex.quote(text.strip()) + " 2>&1 | tail -n 3"


CONNECT = """
import socket, sys
try:
    s = socket.create_connection(({host!r}, {port}), 3); s.sendall(b"x"); print(s.recv(99))
except OSError as e:
    print("refused:", e)
"""

# {secret} {dir} {made} {unix} {abstract} {port} {pid} {address} {daemon} are those of this computer's baits.
SCRIPTS: list[tuple[str, str, str, tuple[str, ...], bool]] = [
    # -- this computer's files
    ("files", "a file of this computer by its path", "cat {secret}", BOTH, True),
    ("files", "through the first process's root", "cat /proc/1/root{secret}; ls /proc/1/root{dir}", BOTH, True),
    ("files", "through the first process's working directory", "cat /proc/1/cwd/../../../..{secret}", BOTH, True),
    (
        "files",
        "through the first process's descriptors",
        "for f in /proc/1/fd/*; do cat $f/../../../../..{secret} $f/..{secret}; done",
        BOTH,
        True,
    ),
    ("files", "above the root", "cd /; cat ../../../../..{secret}; cat /../..{secret}", BOTH, True),
    (
        "files",
        "chroot and back out",
        _python("""
import os
d = os.open("/", os.O_RDONLY); os.makedirs("/tmp/jail", exist_ok=True); os.chroot("/tmp/jail"); os.fchdir(d)
for _ in range(64): os.chdir("..")
os.chroot("."); print(open("{secret}").read())
"""),
        BOTH,
        True,
    ),
    (
        "files",
        "pivot_root",
        "mkdir -p /tmp/p; mount -t tmpfs t /tmp/p; mkdir /tmp/p/o; unshare -m pivot_root /tmp/p /tmp/p/o; cat /tmp/p/o{secret}; umount -l /tmp/p",
        BOTH,
        True,
    ),
    (
        "files",
        "file handles of low inodes (open_by_handle_at)",
        _python("""
import ctypes, os, struct
c = ctypes.CDLL(None, use_errno=True)
for place in ("/", "/pyro/bin", "/pyro/seed", "/pyro/run", "/pyro/seed/tree"):
    try: base = os.open(place, os.O_RDONLY)
    except OSError: continue
    for ino in range(1, 64):
        for kind, data in ((1, struct.pack("<Q", ino)), (1, struct.pack("<II", ino, 0))):
            h = struct.pack("<Ii", len(data), kind) + data
            fd = c.open_by_handle_at(base, h, os.O_RDONLY)
            if fd >= 0:
                try: print(os.listdir(fd), open("/proc/self/fd/%d{secret}" % fd).read())
                except OSError as e: print(e)
print("no handle leads anywhere", os.strerror(ctypes.get_errno()))
"""),
        BOTH,
        True,
    ),
    (
        "files",
        "this computer's disk by device number",
        "for n in 'b 8 0' 'b 252 0' 'b 253 0' 'b 254 0' 'b 259 0'; do rm -f /tmp/disk; mknod /tmp/disk $n && head -c 4194304 /tmp/disk | grep -ac {token}; done",
        BOTH,
        True,
    ),
    (
        "files",
        "memory devices",
        "mknod /tmp/mem c 1 1; mknod /tmp/kmem c 1 2; mknod /tmp/port c 1 4; head -c 4096 /tmp/mem | grep -ac {token}; cat /tmp/kmem /tmp/port | head -c 99",
        BOTH,
        False,
    ),
    (
        "files",
        "mounting disks",
        "mkdir -p /tmp/v; for d in /dev/vda /dev/sda /dev/nvme0n1 /tmp/disk; do for t in ext4 xfs erofs; do mount -t $t $d /tmp/v; done; done; cat /tmp/v{secret}",
        BOTH,
        False,
    ),
    (
        "files",
        "mounting network and host file systems",
        "for t in 9p virtiofs nfs fuse lisafs overlay debugfs configfs; do mount -t $t host /tmp/v; done; cat /tmp/v{secret}",
        BOTH,
        False,
    ),
    (
        "files",
        "a 9p mount from a descriptor of the first process",
        "for f in $(ls /proc/1/fd); do mount -t 9p -o trans=fd,rfdno=$f,wfdno=$f x /tmp/v; done; cat /tmp/v{secret}",
        BOTH,
        False,
    ),
    (
        "files",
        "a new proc that shows this computer",
        "mkdir -p /tmp/pp; mount -t proc p /tmp/pp; grep -al {token} /tmp/pp/[0-9]*/environ /tmp/pp/[0-9]*/cmdline; cat /tmp/pp/{pid}/root{secret}; umount /tmp/pp",
        BOTH,
        True,
    ),
    (
        "files",
        "core dumps as a program of this computer",
        "echo '|/usr/bin/touch {made}' > /proc/sys/kernel/core_pattern; ulimit -c unlimited; sh -c 'kill -SEGV $$'",
        BOTH,
        True,
    ),
    (
        "files",
        "the kernel's helper programs",
        "echo /bin/touch > /proc/sys/kernel/modprobe; echo x > /sys/kernel/uevent_helper; echo x > /proc/sysrq-trigger; printf '\\377\\377\\377\\377' > /tmp/n; chmod +x /tmp/n; /tmp/n",
        BOTH,
        True,
    ),
    (
        "files",
        "a cgroup's release agent",
        "mkdir -p /tmp/cg; mount -t cgroup -o memory c /tmp/cg || mount -t cgroup -o none,name=x c /tmp/cg; mkdir /tmp/cg/a; echo 1 > /tmp/cg/a/notify_on_release; echo 'touch {made}' > /tmp/cg/release_agent; sh -c 'echo $$ > /tmp/cg/a/cgroup.procs'; umount -l /tmp/cg",
        BOTH,
        True,
    ),
    (
        "files",
        "kernel modules",
        _python("""
import ctypes, os
c = ctypes.CDLL(None, use_errno=True)
print(c.syscall(175, b"x" * 64, 64, b""), os.strerror(ctypes.get_errno()))
"""),
        GVISOR,
        True,
    ),
    (
        "files",
        "this computer's sysctls",
        "sysctl -w kernel.hostname=gotcha kernel.core_pattern=x kernel.panic=1 vm.drop_caches=3; hostname gotcha; hostname -F /etc/hostname",
        BOTH,
        True,
    ),
    ("files", "this computer's clock", "date -s 2001-01-01; date +%Y", GVISOR, False),
    # -- sockets
    (
        "sockets",
        "a unix socket of this computer by its path",
        _python("""
import socket
for p in ("{unix}", "{daemon}", "/run/docker.sock", "/var/run/docker.sock", "/pyro/run/../../..{unix}", "/proc/1/root{unix}"):
    s = socket.socket(socket.AF_UNIX)
    try: s.connect(p); print("THROUGH", p)
    except OSError as e: print("refused:", e)
"""),
        BOTH,
        True,
    ),
    (
        "sockets",
        "through a link in the agent's directory",
        "ln -sf {unix} /pyro/run/x.sock; ln -sfT {dir} /pyro/run/d; "
        + _python("""
import socket
for p in ("/pyro/run/x.sock", "/pyro/run/d/bait.sock"):
    s = socket.socket(socket.AF_UNIX)
    try: s.connect(p); print("THROUGH", p)
    except OSError as e: print("refused:", e)
"""),
        BOTH,
        True,
    ),
    (
        "sockets",
        "an abstract socket of this computer",
        _python("""
import socket
s = socket.socket(socket.AF_UNIX); s.connect("\\0{abstract}"); print("THROUGH")
"""),
        BOTH,
        True,
    ),
    (
        "sockets",
        "vsock to this computer",
        _python("""
import socket
for cid in (0, 1, 2, 3):
    for port in (1, 22, 80, 1024, 1025, 2375, {port}):
        try:
            s = socket.socket(socket.AF_VSOCK); s.settimeout(0.5); s.connect((cid, port)); print("connected", cid, port)
        except OSError as e: last = e
print("refused:", last)
"""),
        BOTH,
        True,
    ),
    (
        "sockets",
        "descriptors sent to the daemon",
        _python("""
import array, os, socket
s = socket.socket(socket.AF_UNIX); s.connect("/pyro/run/agent.sock")
fds = array.array("i", [os.open("/etc/passwd", os.O_RDONLY)] * 8)
print(s.sendmsg([b"HTTP/1.1 200 OK"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)]))
"""),
        GVISOR,
        True,
    ),
    (
        "sockets",
        "a socket of one's own where the daemon looks",
        _python("""
import os, socket
for p in ("/pyro/run/agent.sock", "/pyro/run/control.sock", "/pyro/run/thaw"):
    try:
        os.unlink(p)
    except OSError as e: print(e)
    try: s = socket.socket(socket.AF_UNIX); s.bind(p); s.listen()
    except OSError as e: print("refused:", e)
"""),
        GVISOR,
        True,
    ),
    (
        "sockets",
        "raw packets",
        _python("""
import socket
for family, kind, proto in ((socket.AF_PACKET, socket.SOCK_RAW, 3), (socket.AF_INET, socket.SOCK_RAW, 1)):
    try: s = socket.socket(family, kind, proto); s.settimeout(1); s.sendto(b"x" * 64, ("lo", 0) if family == socket.AF_PACKET else ("{address}", 0)); print("sent into its own loopback at most")
    except OSError as e: print("refused:", e)
"""),
        BOTH,
        False,
    ),
    ("sockets", "network cards", "ls /sys/class/net; ip link 2>&1; cat /proc/net/dev | tail -n +3", BOTH, False),
    # -- processes
    ("processes", "ending a process of this computer", "kill -9 {pid}; kill -9 -{pid}; kill -STOP {pid}", BOTH, True),
    (
        "processes",
        "tracing a process of this computer",
        _python("""
import ctypes, os
c = ctypes.CDLL(None, use_errno=True)
print(c.ptrace(16, {pid}, 0, 0), os.strerror(ctypes.get_errno()))
"""),
        BOTH,
        True,
    ),
    (
        "processes",
        "a process of this computer's memory and root",
        "cat /proc/{pid}/environ /proc/{pid}/cmdline /proc/{pid}/root{secret}; head -c 9 /proc/{pid}/mem",
        BOTH,
        True,
    ),
    (
        "processes",
        "the namespaces of the first process",
        "nsenter -t 1 -m -u -i -n -p cat {secret}; nsenter -t 1 -a cat {secret}",
        BOTH,
        True,
    ),
    ("processes", "the namespaces of a process of this computer", "nsenter -t {pid} -a cat {secret}", BOTH, True),
    (
        "processes",
        "a user namespace with more",
        "unshare -Urmpf --mount-proc sh -c 'cat {secret}; mount -o remount,rw /pyro/bin && touch /pyro/bin/x'",
        BOTH,
        True,
    ),
    (
        "processes",
        "priorities and affinities of this computer",
        "renice -n -20 {pid}; taskset -p 1 {pid}; prlimit --pid {pid} --nofile=1",
        BOTH,
        False,
    ),
]

SHARED: list[tuple[str, str]] = [
    ("remounted writable", 'mount -o remount,rw "$d"; mount -o remount,bind,rw "$d"; echo x > "$d/y"'),
    (
        "bound elsewhere and remounted",
        'mkdir -p /tmp/e; mount --bind "$d" /tmp/e; mount -o remount,bind,rw /tmp/e; echo x > /tmp/e/y; umount /tmp/e',
    ),
    (
        "bound recursively, private",
        'mkdir -p /tmp/e; mount --rbind "$d" /tmp/e; mount --make-rprivate /tmp/e; mount -o remount,rw /tmp/e; rm -rf /tmp/e/*; umount -l /tmp/e',
    ),
    ("truncated by an open", 'for f in "$d"/*; do : > "$f"; cp /bin/true "$f"; truncate -s 0 "$f"; done'),
    ("removed", 'rm -rf "$d"/* "$d"/.[!.]*'),
    ("renamed", 'for f in "$d"/*; do mv -T "$f" "$d/old"; done; mv -T "$d" "$d.old"'),
    (
        "links to files of this computer",
        'for i in $(seq 40); do ln -s @made@ "$d/partial-$i"; done; ln -s @made@ "$d/thaw"; ln -s @made@ "$d/frozen"',
    ),
    ("hard links", 'for f in "$d"/*; do ln "$f" "$d/hard"; ln "$f" /tmp/hard; done'),
    ("made of devices, pipes and directories", 'mknod "$d/c" c 1 3; mkfifo "$d/p"; mkdir "$d/dir"'),
    ("modes, owners and times", 'chmod -R 6777 "$d"; chown -R 1234 "$d"; find "$d" -exec touch -d 2001-01-01 {} +'),
    (
        "extended attributes and flags",
        "chattr +i \"$d\"/*; python3 -c \"import os,sys,glob; [os.setxattr(f, 'user.x', b'y') for f in glob.glob(sys.argv[1] + '/*')]\" \"$d\"",
    ),
    (
        "written through a shared mapping",
        "python3 -c \"import glob,mmap,os,sys\nfor f in glob.glob(sys.argv[1] + '/*'):\n    if os.path.isfile(f):\n        m = mmap.mmap(os.open(f, os.O_RDWR), 4096); m[:4] = b'hack'\" \"$d\"",
    ),
    ("written through the first process's descriptors", "for f in /proc/1/fd/* /proc/1/exe; do echo x > $f; done"),
    (
        "an upper layer of an overlay",
        'mkdir -p /tmp/l /tmp/e; mount -t overlay o -o lowerdir=/tmp/l,upperdir="$d",workdir="$d" /tmp/e; echo x > /tmp/e/y; umount /tmp/e',
    ),
    (
        "swapped for another directory",
        'mkdir -p /tmp/other; mount --move "$d" /tmp/other; mount --bind /tmp/other "$d"; echo x > "$d/y"; umount "$d"',
    ),
    ("allocated and punched", 'for f in "$d"/*; do fallocate -p -o 0 -l 4096 "$f"; fallocate -l 1M "$f"; done'),
]


def _fill(arena: Arena, text: str) -> str:
    baits = arena.baits
    values = {
        "secret": str(baits.secret),
        "dir": str(baits.root),
        "made": str(baits.made),
        "unix": str(baits.unix),
        "abstract": baits.abstract,
        "port": str(baits.port),
        "pid": str(baits.process.pid),
        "address": (baits.addresses() or ["127.0.0.1"])[0],
        "daemon": str(arena.installation.locations.socket),
        # Never the whole of it: what a script greps for is in its own command line.
        "token": "token-[0-9a-f]",
    }
    for name, value in values.items():
        text = text.replace("{" + name + "}", value)
    return text


def _add(area: str, what: str, text: str, engines: tuple[str, ...], short: bool) -> None:
    def make(arena: Arena) -> str:
        said = arena.inside(f"cd /tmp; ( {_fill(arena, text)} ) 2>&1")
        arena.holds(said)
        assert "THROUGH" not in said, said
        return _first_line(said)

    ATTEMPTS.append(Attempt(area, what, make, short, engines=engines))


for _area, _what, _text, _engines, _short in SCRIPTS:
    _add(_area, _what, _text, _engines, _short)


def _add_shared(what: str, text: str) -> None:
    def make(arena: Arena) -> str:
        body = text.replace("@made@", str(arena.baits.made))
        shown = "/pyro/bin /pyro/run /pyro/seed/tree /pyro/seed"
        # In a mount namespace of its own: what it does to its own view is not to end the workspace.
        said = arena.inside(
            f"unshare -m sh -c {shlex.quote(f'for d in {shown}; do [ -d $d ] || continue; ' + body + '; done')} 2>&1",
            seconds=40,
        )
        arena.holds(said)
        arena.shared_holds()
        return _first_line(said)

    ATTEMPTS.append(Attempt("shared bytes", what, make))


for _what, _text in SHARED:
    _add_shared(_what, _text)


def _reach(where: str, host: str, *, short: bool = True) -> None:
    def make(arena: Arena) -> str:
        port = arena.baits.port
        target = host or (arena.baits.addresses() or ["127.0.0.1"])[-1]
        text = _python(CONNECT.format(host=target.strip("[]"), port=port))
        said = arena.inside(text)
        arena.holds(said)
        return _first_line(said)

    ATTEMPTS.append(Attempt("network off", where, make, short))


for _host in ("127.0.0.1", "localhost", "::1", "0.0.0.0", "169.254.169.254", "10.0.0.1", "", "1.1.1.1"):
    _reach(f"connecting to {_host or 'an address of this computer'}", _host, short=_host in ("127.0.0.1", "::1", ""))


OTHERS: list[tuple[str, str]] = [
    ("another workspace's files", "cat /workspace/own /tmp/own /root/own /dev/shm/own; ls /pyro/upper /pyro/upper/u"),
    (
        "another workspace's processes",
        "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ | tr '\\0' '\\n' | grep -a ^victim-",
    ),
    ("another workspace's shared memory", "ipcs -a; ls -la /dev/shm /dev/mqueue; grep -a victim- /dev/shm/*"),
    (
        "another workspace's disk, from a file's unwritten parts",
        "fallocate -l 64M /tmp/hole || truncate -s 64M /tmp/hole; grep -ac victim-[0-9a-f] /tmp/hole /pyro/upper/u/* ; rm -f /tmp/hole",
    ),
    (
        "another workspace's memory, from fresh pages",
        "python3 -c \"import mmap; m = mmap.mmap(-1, 64 << 20); print(m.find(b'victim-'), 'in fresh memory')\"",
    ),
    ("another workspace's abstract sockets", "cat /proc/net/unix | grep -v ^Num | head -3; echo nothing of others"),
]


def _add_other(what: str, text: str) -> None:
    def make(arena: Arena) -> str:
        said = arena.inside(f"( {text} ) 2>&1")
        arena.holds(said)
        return _first_line(said)

    ATTEMPTS.append(Attempt("other workspaces", what, make))


for _what, _text in OTHERS:
    _add_other(_what, _text)


ENDING: list[tuple[str, str]] = [
    (
        "stopping all that can be seen",
        "kill -STOP 1; kill -STOP -1; for p in /proc/[0-9]*; do kill -STOP ${p#/proc/}; done",
    ),
    (
        "stopping all that a new namespace shows",
        "unshare -pf kill -STOP 1; unshare -Upf --mount-proc kill -STOP -1; nsenter -t 1 -a kill -STOP -1;"
        " mkdir -p /tmp/p; mount -t proc p /tmp/p; for p in /tmp/p/[0-9]*; do kill -STOP ${p#/tmp/p/}; done",
    ),
    ("ending all that can be seen", "pkill -9 -f pyro; pkill -9 -f agent; killall5 -9; kill -9 -1"),
    (
        "starving all by control groups",
        "for t in pids cpu memory freezer; do mkdir -p /tmp/c/$t; mount -t cgroup -o $t c /tmp/c/$t; done;"
        " for d in /tmp/c /sys/fs/cgroup; do"
        " for f in $(find $d -name pids.max -o -name cpu.cfs_quota_us); do echo 1 > $f; done;"
        " for f in $(find $d -name memory.limit_in_bytes); do echo 4096 > $f; done;"
        " for f in $(find $d -name freezer.state); do echo FROZEN > $f; done; done",
    ),
    ("halting the machine", "reboot -f; halt -f; poweroff -f; init 0; echo b > /proc/sysrq-trigger; kill -INT 1"),
    (
        "halting it by the system call",
        "python3 -c 'import ctypes; c = ctypes.CDLL(None); print(c.reboot(0x01234567), c.reboot(0x4321fedc))'",
    ),
    (
        "tracing all that can be seen",
        "python3 -c 'import ctypes, os; c = ctypes.CDLL(None);"
        ' print([c.ptrace(16, int(p), 0, 0) for p in os.listdir("/proc") if p.isdigit() and int(p) != os.getpid()])\'',
    ),
    ("taking the limits of all away", "for p in /proc/[0-9]*; do prlimit --pid ${p#/proc/} --nofile=3 --as=1000; done"),
    ("unmounting all", "umount -l /proc /sys /dev /tmp /workspace /pyro/upper /pyro/run /pyro; umount -al; true"),
    ("covering all", "mount -t tmpfs t /workspace; mount -t tmpfs t /usr; mount -t tmpfs t /pyro; mount -t tmpfs t /"),
    (
        "taking the loopback down",
        "ip link set lo down; iptables -P INPUT DROP; iptables -P OUTPUT DROP; date -s 2100-01-01",
    ),
]
"""Against its own machine: whatever it does, the next command is answered, and a reset brings all of it back."""


def _add_ending(what: str, text: str) -> None:
    def make(arena: Arena) -> str:
        try:
            said = arena.inside(f"cd /tmp; ( {text} ) 2>&1")
            try:
                assert arena.inside("echo $((6*7))") == "42\n", said
                arena.pyro.write_workspace_file(arena.hostile, "written", "42")
            except GuestError as error:  # no shell any more, say
                said += f"\n{error}"
        finally:
            # What it did to its mounts, clock and interfaces is not the next one's start.
            arena.pyro.reset_workspace(arena.hostile)
        arena.holds(said)
        assert arena.inside("cat file") == "seeded\n"
        return _first_line(said)

    ATTEMPTS.append(Attempt("its own machine", what, make, short="stopping" in what or "groups" in what))


for _what, _text in ENDING:
    _add_ending(_what, _text)
