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
	file, size := largestMemoryFile()
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
		os.Truncate(file, 0)
		writeJSON(w, 200, map[string]any{"file": file, "file_bytes": size, "pids": ended, "why": why})
		return nil
	}
	if largest == 0 {
		return fail(409, "nothing_to_end", "No process is left to be ended.")
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

// largestMemoryFile gives the largest file of the file systems that live in memory.
func largestMemoryFile() (largest string, bytes int64) {
	seen := 0
	for _, line := range strings.Split(readText("/proc/self/mounts"), "\n") {
		fields := strings.Fields(line)
		if len(fields) < 3 || fields[2] != "tmpfs" || onDisk[fields[1]] {
			continue
		}
		filepath.WalkDir(fields[1], func(path string, entry os.DirEntry, err error) error {
			if seen++; err != nil || seen > maxMemoryFiles {
				return filepath.SkipDir
			}
			if !entry.Type().IsRegular() {
				return nil
			}
			var stat syscall.Stat_t
			if syscall.Lstat(path, &stat) == nil && stat.Blocks*512 > bytes {
				largest, bytes = path, stat.Blocks*512
			}
			return nil
		})
	}
	return largest, bytes
}

// onDisk are the tmpfs mounts whose pages are in a file of the host's disk (machines/gvisor/spec.py), or ours and small.
var onDisk = map[string]bool{"/tmp": true, "/pyro/upper": true, cgroupMount: true}

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
