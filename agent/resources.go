package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

const (
	cgroupMount = "/sys/fs/cgroup"
	// In a place that is seen in every mount namespace of the machine.
	meminfoPath = cgroupMount + "/meminfo"
	sysctlPlace = cgroupMount + "/sysctl"
	maxMemMiB   = 1 << 24
	maxShares   = 1024
)

// resources are what the machine may use. gVisor shows its guest the memory of the host; programs that size themselves by
// it (a JVM, node) would be ended for using it. So the machine is shown its own in the places where they look.
type resources struct {
	lock   sync.Mutex
	memory int64    // bytes; 0 is what the kernel says
	actual *os.File // the kernel's own /proc/meminfo
	shown  *os.File // ours
	usage  *os.File // memory.current
	ready  bool
}

// inProc is what the machine has in /proc in place of gVisor's own: pairs of where it stands, and where it is shown.
// gVisor has few of the switches of the kernel, and those cannot be set, though set-up scripts do (databases, Docker's
// images, file watchers). They limit nothing there; what is written is kept and read again.
var inProc = [][2]string{{meminfoPath, "/meminfo"}, {sysctlPlace + "/vm", "/sys/vm"}, {sysctlPlace + "/fs", "/sys/fs"}}

// switches are those that gVisor does not have, with what Linux has of its own accord, or what holds here.
var switches = map[string]string{
	"vm/swappiness": "60", "vm/overcommit_ratio": "50", "vm/overcommit_memory": "0", "vm/max_map_count": "2147483647",
	"fs/file-max": "9223372036854775807", "fs/aio-max-nr": "65536", "fs/pipe-max-size": "1048576",
	"fs/inotify/max_user_watches": "1048576", "fs/inotify/max_user_instances": "8192", "fs/inotify/max_queued_events": "16384",
}

// prepare does what is the same in every machine, once before the template's snapshot.
func (s *resources) prepare() error {
	s.lock.Lock()
	defer s.lock.Unlock()
	return s.prepareOnce()
}

func (s *resources) prepareOnce() error {
	if s.ready {
		return nil
	}
	if err := syscall.Mount("tmpfs", cgroupMount, "tmpfs", syscall.MS_NOSUID|syscall.MS_NODEV|syscall.MS_NOEXEC, "mode=0755,size=1m"); err != nil {
		return err
	}
	if err := makeSwitches("/proc/sys"); err != nil {
		return err
	}
	s.ready = true
	return nil
}

// limit shows the machine's own memory. It is done once, before anything of the user runs.
func (s *resources) limit(memMiB, vcpus int64) error {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.memory = memMiB << 20
	if err := s.prepareOnce(); err != nil {
		return fail(500, "setup_failed", "The kernel's switches could not be shown: %s.", err)
	}
	if err := mountShared(s.memory / 2); err != nil {
		return fail(500, "setup_failed", "/dev/shm could not be given its size: %s.", err)
	}
	actual, err := os.Open("/proc/meminfo")
	if err != nil {
		return fail(500, "setup_failed", "/proc/meminfo: %s.", err)
	}
	if err := mountCgroups(s.memory, vcpus); err != nil {
		return fail(500, "setup_failed", "The control groups could not be shown: %s.", err)
	}
	shown, err := os.OpenFile(meminfoPath, os.O_WRONLY|os.O_CREATE, 0o444)
	if err != nil {
		return fail(500, "setup_failed", "%s: %s.", meminfoPath, err)
	}
	usage, err := os.OpenFile(cgroupMount+"/memory.current", os.O_WRONLY|os.O_CREATE, 0o444)
	if err != nil {
		return fail(500, "setup_failed", "The memory in use could not be shown: %s.", err)
	}
	s.actual, s.shown, s.usage = actual, shown, usage
	if err := s.write(); err != nil {
		return fail(500, "setup_failed", "%s: %s.", meminfoPath, err)
	}
	if err := showOwn("/proc"); err != nil {
		return fail(500, "setup_failed", "The machine's own figures could not be shown in /proc: %s.", err)
	}
	return nil
}

// refresh brings the figures of free memory up to date; cheap, and done when something is started and while it runs.
func (s *resources) refresh() {
	s.lock.Lock()
	defer s.lock.Unlock()
	if s.actual != nil {
		s.write()
	}
}

// write keeps the length of the files, so that a reader at the same moment sees whole lines.
func (s *resources) write() error {
	buffer := make([]byte, 4096)
	n, _ := s.actual.ReadAt(buffer, 0)
	text, used := meminfo(string(buffer[:n]), s.memory)
	if _, err := s.usage.WriteAt(fmt.Appendf(nil, "%-20d\n", used), 0); err != nil {
		return err
	}
	_, err := s.shown.WriteAt([]byte(text), 0)
	return err
}

// meminfo is the kernel's text with the machine's own total; what is used, in bytes, is as the kernel counts it.
func meminfo(actual string, total int64) (shown string, used int64) {
	figures := map[string]int64{}
	var order []string
	for _, line := range strings.Split(actual, "\n") {
		name, rest, found := strings.Cut(line, ":")
		fields := strings.Fields(rest)
		if !found || len(fields) == 0 {
			continue
		}
		value, _ := strconv.ParseInt(fields[0], 10, 64)
		figures[name] = value
		order = append(order, name)
	}
	kilobytes := total >> 10
	used = max(0, figures["MemTotal"]-figures["MemFree"])
	figures["MemTotal"] = kilobytes
	for name, value := range figures {
		switch name {
		case "MemTotal", "SwapTotal", "SwapFree":
		case "MemFree", "MemAvailable":
			figures[name] = max(0, kilobytes-used)
		default:
			figures[name] = min(value, kilobytes)
		}
	}
	var text strings.Builder
	for _, name := range order {
		fmt.Fprintf(&text, "%-16s%8d kB\n", name+":", figures[name])
	}
	return text.String(), used << 10
}

// makeSwitches makes the directories that are shown in place of gVisor's, with all that is in those.
func makeSwitches(actual string) error {
	for _, directory := range []string{"vm", "fs/inotify"} {
		if err := os.MkdirAll(filepath.Join(sysctlPlace, directory), 0o755); err != nil {
			return err
		}
	}
	for name, value := range switches {
		if err := os.WriteFile(filepath.Join(sysctlPlace, name), []byte(value+"\n"), 0o644); err != nil {
			return err
		}
	}
	for _, directory := range []string{"vm", "fs"} {
		entries, err := os.ReadDir(filepath.Join(actual, directory))
		if err != nil {
			return err
		}
		for _, entry := range entries {
			name := filepath.Join(directory, entry.Name())
			if _, ours := switches[name]; ours || entry.IsDir() {
				continue
			}
			place := filepath.Join(sysctlPlace, name) // a real one stays what it is
			if err := os.WriteFile(place, nil, 0o644); err != nil {
				return err
			}
			if err := syscall.Mount(filepath.Join(actual, name), place, "", syscall.MS_BIND, ""); err != nil {
				return err
			}
		}
	}
	return nil
}

// showOwn puts the machine's own figures into a mounted /proc; each further one that is mounted needs it again.
func showOwn(proc string) error {
	for _, pair := range inProc {
		if err := syscall.Mount(pair[0], filepath.Join(proc, pair[1]), "", syscall.MS_BIND|syscall.MS_REC, ""); err != nil {
			return fmt.Errorf("%s: %w", pair[1], err)
		}
	}
	return nil
}

// mountShared gives /dev/shm a size, as every kernel does: half of the memory.
func mountShared(bytes int64) error {
	return syscall.Mount("tmpfs", "/dev/shm", "tmpfs", syscall.MS_NOSUID|syscall.MS_NODEV, fmt.Sprintf("mode=1777,size=%d", bytes))
}

// mountCgroups shows the limits as control groups of version 1, which gVisor has, and as the plain files of version 2,
// which many programs read without looking at what is mounted.
func mountCgroups(memory, vcpus int64) error {
	for _, controller := range []string{"memory", "cpu"} {
		place := filepath.Join(cgroupMount, controller)
		if err := os.Mkdir(place, 0o755); err != nil {
			return err
		}
		if err := syscall.Mount("cgroup", place, "cgroup", 0, controller); err != nil {
			return fmt.Errorf("%s: %w", controller, err)
		}
	}
	period := int64(100000) // microseconds; cpu.cfs_period_us as it is by default
	text := strconv.FormatInt(memory, 10) + "\n"
	files := map[string]string{
		"memory/memory.limit_in_bytes": text,
		"cpu/cpu.cfs_quota_us":         fmt.Sprintf("%d\n", vcpus*period),
		"memory.max":                   text,
		"memory.high":                  "max\n",
		"memory.swap.max":              "0\n",
		"memory.swap.current":          "0\n",
		"cpu.max":                      fmt.Sprintf("%d %d\n", vcpus*period, period),
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(cgroupMount, name), []byte(content), 0o444); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}
