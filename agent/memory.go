package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

const maxMemoryFiles = 20000 // looked at on file systems that live in memory

type relieveRequest struct {
	UsedBytes  int64 `json:"used_bytes"`
	LimitBytes int64 `json:"limit_bytes"`
}

// relieve makes room in a machine that uses more memory than it may: it ends the largest process, or, where a file in
// memory is what fills it, empties that file and ends who writes it. The commands concerned learn why.
func (a *agent) relieve(w http.ResponseWriter, r *http.Request) error {
	var request relieveRequest
	if err := decode(r.Body, &request); err != nil {
		return err
	}
	all := processes()
	largest, resident := largestProcess(all, a.processes.isOwn)
	found := largestMemoryFile(all)
	file, size := found.path, found.bytes
	limit := "its limit"
	if request.LimitBytes > 0 {
		limit = fmt.Sprintf("its limit of %d MiB (%d MiB were used)", request.LimitBytes>>20, request.UsedBytes>>20)
	}
	if size > resident && (size > request.LimitBytes/2 || resident < request.LimitBytes/8) {
		why := fmt.Sprintf("The machine reached %s of memory; %s, a file in memory of %d MiB, was emptied and its writers were ended.", limit, file, size>>20)
		ended := holders(file, all)
		for _, pid := range ended {
			a.processes.blame(pid, all, why)
			syscall.Kill(pid, syscall.SIGKILL)
		}
		os.Truncate(found.reach, 0)
		writeJSON(w, 200, map[string]any{"file": file, "file_bytes": size, "pids": ended, "why": why})
		return nil
	}
	if largest == 0 {
		return fail(409, "nothing_to_end", "No process is left to be ended.")
	}
	if resident < request.LimitBytes/4 { // it is not one alone
		ended, why := a.processes.crowd.relieve(request.UsedBytes)
		if ended > 0 {
			writeJSON(w, 200, map[string]any{"processes": ended, "why": why})
			return nil
		}
	}
	command := commandLine(largest)
	why := fmt.Sprintf("The machine reached %s of memory; its largest process, %q (pid %d, %d MiB), was ended.", limit, command, largest, resident>>20)
	a.processes.blame(largest, all, why)
	syscall.Kill(largest, syscall.SIGKILL)
	writeJSON(w, 200, map[string]any{"pid": largest, "command": command, "resident_bytes": resident, "why": why})
	return nil
}

func commandLine(pid int) string {
	text := strings.TrimSpace(strings.ReplaceAll(readText("/proc/"+strconv.Itoa(pid)+"/cmdline"), "\x00", " "))
	return text[:min(len(text), 120)]
}

// largestProcess gives the pid and the resident bytes of the largest process but what is `own`, the agent and pid 1.
func largestProcess(all map[int]processStat, own func(int) bool) (largest int, resident int64) {
	for pid := range all {
		if pid == os.Getpid() || pid == 1 || own(pid) {
			continue
		}
		fields := strings.Fields(readText("/proc/" + strconv.Itoa(pid) + "/statm"))
		if len(fields) < 2 {
			continue
		}
		pages, _ := strconv.ParseInt(fields[1], 10, 64)
		if bytes := pages * int64(os.Getpagesize()); bytes > resident {
			largest, resident = pid, bytes
		}
	}
	return largest, resident
}

// memoryFile is a file of a file system that lives in memory.
type memoryFile struct {
	path  string // as its mount namespace names it
	reach string // as the agent reaches it
	bytes int64
}

// largestMemoryFile gives the largest file of the file systems that live in memory, whoever mounted them: each mount
// namespace is looked at through a process of it.
func largestMemoryFile(all map[int]processStat) (largest memoryFile) {
	seen, looked, devices := 0, map[string]bool{}, onDisk()
	for pid := range all {
		base := "/proc/" + strconv.Itoa(pid)
		namespace, err := os.Readlink(base + "/ns/mnt")
		if err != nil || looked[namespace] {
			continue
		}
		looked[namespace] = true
		for _, line := range strings.Split(readText(base+"/mounts"), "\n") {
			fields := strings.Fields(line)
			if len(fields) < 3 || fields[2] != "tmpfs" {
				continue
			}
			// A path on its own: what is mounted below it has a line of its own.
			var mount syscall.Stat_t
			root := base + "/root"
			if syscall.Stat(root+fields[1], &mount) != nil || devices[mount.Dev] {
				continue
			}
			devices[mount.Dev] = true // the same in the other namespaces
			filepath.WalkDir(root+fields[1], func(path string, entry os.DirEntry, err error) error {
				if seen++; err != nil || seen > maxMemoryFiles {
					return filepath.SkipDir
				}
				var stat syscall.Stat_t
				switch {
				case syscall.Lstat(path, &stat) != nil:
				case entry.IsDir() && stat.Dev != mount.Dev:
					return filepath.SkipDir
				case entry.Type().IsRegular() && stat.Blocks*512 > largest.bytes:
					largest = memoryFile{strings.TrimPrefix(path, root), path, stat.Blocks * 512}
				}
				return nil
			})
		}
	}
	return largest
}

// onDisk are the tmpfs mounts whose pages are in a file of the host's disk (machines/gvisor/spec.py), or ours and small.
func onDisk() map[uint64]bool {
	devices := map[uint64]bool{}
	for _, place := range []string{"/tmp", "/pyro/upper", cgroupMount} {
		var stat syscall.Stat_t
		if syscall.Stat(place, &stat) == nil {
			devices[stat.Dev] = true
		}
	}
	return devices
}

// holders are the processes that have a file open.
func holders(file string, all map[int]processStat) []int {
	var found []int
	for pid := range all {
		if pid == os.Getpid() || pid == 1 {
			continue
		}
		directory := "/proc/" + strconv.Itoa(pid) + "/fd"
		entries, _ := os.ReadDir(directory)
		for _, entry := range entries {
			if target, err := os.Readlink(filepath.Join(directory, entry.Name())); err == nil && target == file {
				found = append(found, pid)
				break
			}
		}
	}
	return found
}
