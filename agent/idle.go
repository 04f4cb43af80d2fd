package main

import (
	"net/http"
	"os"
)

// showIdle says whether nothing happens in the machine but this very request, nor will before the next one: then the
// host may stop it (machines/gvisor/rest.py). What happens by itself, is a process.
func (a *agent) showIdle(w http.ResponseWriter, r *http.Request) error {
	busy := a.busy()
	writeJSON(w, 200, map[string]any{"idle": busy == "", "busy": busy})
	return nil
}

// busy names what happens; empty is nothing.
func (a *agent) busy() string {
	if a.processes.running() > 0 {
		return "a command runs"
	}
	a.egress.lock.Lock()
	waiting := len(a.egress.waiting)
	a.egress.lock.Unlock()
	// Requests that wait for a connection of the guest are no business of anybody's until there is one.
	if serving := a.serving.Load(); waiting > 0 || serving != nil && serving.count()-int(a.egress.asking.Load()) > 1 {
		return "a connection is open"
	}
	for pid, found := range processes() {
		if pid != os.Getpid() && pid != 1 && !found.dead && !a.processes.isOwn(pid) {
			return "a process is left"
		}
	}
	return ""
}

func (l *trackingListener) count() int {
	l.lock.Lock()
	defer l.lock.Unlock()
	return len(l.open)
}
