package main

import (
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// relieve ends the largest process of the machine, which uses more memory than it may.
func (a *agent) relieve(w http.ResponseWriter, r *http.Request) error {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return err
	}
	largest, pages := 0, int64(0)
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || pid == os.Getpid() || pid == 1 || a.processes.isOwn(pid) {
			continue
		}
		fields := strings.Fields(readText("/proc/" + entry.Name() + "/statm"))
		if len(fields) < 2 {
			continue
		}
		if resident, _ := strconv.ParseInt(fields[1], 10, 64); resident > pages {
			largest, pages = pid, resident
		}
	}
	if largest == 0 {
		return fail(409, "nothing_to_end", "No process is left to be ended.")
	}
	command := strings.ReplaceAll(readText("/proc/"+strconv.Itoa(largest)+"/cmdline"), "\x00", " ")
	syscall.Kill(largest, syscall.SIGKILL)
	writeJSON(w, 200, map[string]any{"pid": largest, "command": command[:min(len(command), 200)], "resident_bytes": pages * int64(os.Getpagesize())})
	return nil
}
