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
}

// limit shows the machine's own memory. It is done once, before anything of the user runs.
func (s *resources) limit(memMiB, vcpus int64) error {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.memory = memMiB << 20
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
	s.actual, s.shown = actual, shown
	if err := s.write(); err != nil {
		return fail(500, "setup_failed", "%s: %s.", meminfoPath, err)
	}
	if err := showMemory("/proc"); err != nil {
		return fail(500, "setup_failed", "/proc/meminfo could not be shown: %s.", err)
	}
	return nil
}

// refresh brings the figures of free memory up to date; cheap, and done when something is started.
func (s *resources) refresh() {
	s.lock.Lock()
	defer s.lock.Unlock()
	if s.actual != nil {
		s.write()
	}
}

// write keeps the length of the file, so that a reader at the same moment sees whole lines.
func (s *resources) write() error {
	buffer := make([]byte, 4096)
	n, _ := s.actual.ReadAt(buffer, 0)
	_, err := s.shown.WriteAt([]byte(meminfo(string(buffer[:n]), s.memory)), 0)
	return err
}

// meminfo is the kernel's text with the machine's own total; what is used is as the kernel counts it.
func meminfo(actual string, total int64) string {
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
	used := max(0, figures["MemTotal"]-figures["MemFree"])
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
	return text.String()
}

// showMemory puts the machine's memory into a mounted /proc; each further one that is mounted needs it again.
func showMemory(proc string) error {
	if _, err := os.Stat(meminfoPath); err != nil {
		return nil // the kernel's own is right
	}
	return syscall.Mount(meminfoPath, filepath.Join(proc, "meminfo"), "", syscall.MS_BIND, "")
}

// mountShared gives /dev/shm a size, as every kernel does: half of the memory.
func mountShared(bytes int64) error {
	return syscall.Mount("tmpfs", "/dev/shm", "tmpfs", syscall.MS_NOSUID|syscall.MS_NODEV, fmt.Sprintf("mode=1777,size=%d", bytes))
}

// mountCgroups shows the limits as control groups of version 1, which gVisor has, and as the plain files of version 2,
// which many programs read without looking at what is mounted.
func mountCgroups(memory, vcpus int64) error {
	if err := syscall.Mount("tmpfs", cgroupMount, "tmpfs", syscall.MS_NOSUID|syscall.MS_NODEV|syscall.MS_NOEXEC, "mode=0755,size=1m"); err != nil {
		return err
	}
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
		"cpu.max":                      fmt.Sprintf("%d %d\n", vcpus*period, period),
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(cgroupMount, name), []byte(content), 0o444); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}
