package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestTheLargestProcessIsFoundAmongThoseThatMayEnd(t *testing.T) {
	small := exec.Command("sleep", "60")
	large := exec.Command("sh", "-c", "x=$(head -c 30000000 /dev/zero | tr '\\0' x); echo ready; read wait")
	in, _ := large.StdinPipe()
	out, _ := large.StdoutPipe()
	for _, each := range []*exec.Cmd{small, large} {
		if err := each.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() { each.Process.Kill(); each.Wait() }()
	}
	defer in.Close()
	out.Read(make([]byte, 6))
	all := map[int]processStat{os.Getpid(): {}, 1: {}, small.Process.Pid: {}, large.Process.Pid: {}}
	none := func(int) bool { return false }
	if pid, resident := largestProcess(all, none); pid != large.Process.Pid || resident < 25_000_000 {
		t.Errorf("%d with %d bytes, not %d", pid, resident, large.Process.Pid)
	}
	if pid, _ := largestProcess(all, func(pid int) bool { return pid == large.Process.Pid }); pid != small.Process.Pid {
		t.Errorf("%d, not %d: what is the agent's own is passed over", pid, small.Process.Pid)
	}
	if got := commandLine(large.Process.Pid); !strings.HasPrefix(got, "sh -c x=$(head") || len(got) > 120 {
		t.Errorf("%q", got)
	}
}

func TestWhoHoldsAFileIsFound(t *testing.T) {
	file := filepath.Join(t.TempDir(), "held")
	os.WriteFile(file, nil, 0o644)
	holder := exec.Command("sh", "-c", `exec 9>>"$0"; echo ready; read wait`, file)
	in, _ := holder.StdinPipe()
	out, _ := holder.StdoutPipe()
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { in.Close(); holder.Wait() }()
	out.Read(make([]byte, 6))
	own, _ := os.Open(file)
	defer own.Close()
	if got := holders(file, processes()); !slices.Equal(got, []int{holder.Process.Pid}) {
		t.Errorf("%v, not only %d", got, holder.Process.Pid)
	}
}

func TestTheLargestFileInMemoryIsFound(t *testing.T) {
	if !bytes.Contains([]byte(readText("/proc/self/mounts")), []byte(" /dev/shm tmpfs ")) {
		t.Skip("/dev/shm is no tmpfs here")
	}
	file, err := os.CreateTemp("/dev/shm", "pyro-test-")
	if err != nil {
		t.Skipf("/dev/shm: %v", err)
	}
	defer os.Remove(file.Name())
	const size = 3 << 20
	file.Write(make([]byte, size))
	found := largestMemoryFile(map[int]processStat{os.Getpid(): {}})
	if found.bytes < size {
		t.Errorf("%+v, though %s has %d bytes", found, file.Name(), size)
	}
	if there, err := os.Stat(found.reach); err != nil || !there.Mode().IsRegular() || !strings.HasSuffix(found.reach, found.path) {
		t.Errorf("%+v %v", found, err)
	}
}
