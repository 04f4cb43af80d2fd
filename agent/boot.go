package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// What a Firecracker machine is made of; the host attaches the drives in this order
// (src/pyro_mcp/machines/firecracker/engine.py).
const (
	rootDevice = "/dev/vda" // the environment, shared by all its machines
	diskDevice = "/dev/vdb" // what this machine writes
	seedDevice = "/dev/vdc" // a placeholder until the host puts the seed's image in its place
	// placeholderSectors is the size of that placeholder in units of 512 bytes.
	placeholderSectors = 8
	deviceTime         = 10 * time.Second
	rndReseedCRNG      = 0x5207 // RNDRESEEDCRNG of include/uapi/linux/random.h
	openFiles          = 65536
)

type mountPoint struct {
	source, target, kind string
	flags                uintptr
	options              string
}

// boot makes a machine out of a bare kernel: the agent is the init of its initramfs. It ends in the new root.
func boot() error {
	for _, m := range []mountPoint{
		{"proc", "/proc", "proc", 0, ""},
		{"sysfs", "/sys", "sysfs", 0, ""},
		{"dev", "/dev", "devtmpfs", syscall.MS_NOSUID, "mode=0755"},
	} {
		if err := m.mount(); err != nil {
			return err
		}
	}
	if err := loadModules("/modules"); err != nil {
		return err
	}
	for _, device := range []string{rootDevice, diskDevice} {
		if !waitFor(deviceTime, func() bool { _, err := os.Stat(device); return err == nil }) {
			return fmt.Errorf("the drive %s did not appear", device)
		}
	}
	for _, m := range []mountPoint{
		{rootDevice, "/lower", "ext4", syscall.MS_RDONLY, "noload"},
		// Without noinit_itable the kernel would fill a sparse disk with empty inode tables behind our back.
		{diskDevice, "/disk", "ext4", syscall.MS_NOATIME, "noinit_itable"},
	} {
		if err := m.mount(); err != nil {
			return err
		}
	}
	for _, directory := range []string{"/disk/root", "/disk/work", "/disk/upper"} {
		if err := os.MkdirAll(directory, 0o755); err != nil {
			return err
		}
	}
	for _, m := range []mountPoint{
		{"overlay", "/new", "overlay", 0, "lowerdir=/lower,upperdir=/disk/root,workdir=/disk/work"},
		{"/disk/upper", "/new/pyro/upper", "", syscall.MS_BIND, ""},
		{"/proc", "/new/proc", "", syscall.MS_MOVE, ""},
		{"/sys", "/new/sys", "", syscall.MS_MOVE, ""},
		{"/dev", "/new/dev", "", syscall.MS_MOVE, ""},
		{"devpts", "/new/dev/pts", "devpts", syscall.MS_NOSUID | syscall.MS_NOEXEC, "mode=0620,ptmxmode=0666,gid=5"},
		{"tmpfs", "/new/dev/shm", "tmpfs", syscall.MS_NOSUID | syscall.MS_NODEV, "mode=1777"},
	} {
		if err := m.mount(); err != nil {
			return err
		}
	}
	for name, target := range map[string]string{"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"} {
		os.Symlink(target, "/new/dev/"+name)
	}
	os.RemoveAll("/modules") // they live in memory
	if err := switchRoot("/new"); err != nil {
		return err
	}
	syscall.Sethostname([]byte("pyro"))
	limit := syscall.Rlimit{Cur: openFiles, Max: openFiles}
	syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
	return nil
}

func (m mountPoint) mount() error {
	if err := os.MkdirAll(m.target, 0o755); err != nil {
		return err
	}
	if err := syscall.Mount(m.source, m.target, m.kind, m.flags, m.options); err != nil {
		return fmt.Errorf("%s could not be mounted on %s: %w", m.source, m.target, err)
	}
	return nil
}

// loadModules loads every module of a directory in the order of their names, which the host chose.
func loadModules(directory string) error {
	names, err := filepath.Glob(filepath.Join(directory, "*.ko"))
	if err != nil {
		return err
	}
	sort.Strings(names)
	parameters := []byte{0}
	for _, name := range names {
		image, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		_, _, errno := syscall.Syscall(syscall.SYS_INIT_MODULE, uintptr(unsafe.Pointer(&image[0])), uintptr(len(image)), uintptr(unsafe.Pointer(&parameters[0])))
		if errno != 0 && errno != syscall.EEXIST {
			return fmt.Errorf("the module %s could not be loaded: %w", name, errno)
		}
	}
	return nil
}

// switchRoot makes `directory` the root; what was mounted on the old one stays, out of sight.
func switchRoot(directory string) error {
	if err := os.Chdir(directory); err != nil {
		return err
	}
	if err := syscall.Mount(".", "/", "", syscall.MS_MOVE, ""); err != nil {
		return err
	}
	if err := syscall.Chroot("."); err != nil {
		return err
	}
	return os.Chdir("/")
}

// mountSeed mounts the seed's drive, once the host has put its image there.
func (a *agent) mountSeed() error {
	if a.seedDevice == "" {
		return nil // shared by the host
	}
	size := filepath.Join("/sys/class/block", filepath.Base(a.seedDevice), "size")
	if !waitFor(deviceTime, func() bool { return sectors(size) > placeholderSectors }) {
		return fail(500, "setup_failed", "The seed's drive did not arrive.")
	}
	if err := (mountPoint{a.seedDevice, a.seed, "erofs", syscall.MS_RDONLY, ""}).mount(); err != nil {
		return fail(500, "setup_failed", "The seed: %s.", err)
	}
	return nil
}

func sectors(path string) int {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	number, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	return number
}

// waitFor looks again and again, because neither devtmpfs nor sysfs tells of what is awaited here.
func waitFor(patience time.Duration, there func() bool) bool {
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		if there() {
			return true
		}
		if time.Now().After(deadline) {
			return false
		}
	}
}

// powerOff ends the machine; for a first process to exit would be a kernel panic.
func powerOff() {
	syscall.Sync()
	syscall.Reboot(syscall.LINUX_REBOOT_CMD_RESTART)
}

func (a *agent) shutdown(w http.ResponseWriter, r *http.Request) error {
	writeJSON(w, 200, map[string]bool{"stopping": true})
	time.AfterFunc(50*time.Millisecond, func() {
		a.processes.killAll()
		if a.seedDevice != "" {
			powerOff()
		}
		os.Exit(0)
	})
	return nil
}
