package main

import (
	"maps"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// gather remembers what the process has started, which ends with it from now on: its session, and whatever
// descends from it, the root.
func (p *process) gather(root int) {
	if p.crowd != nil && p.crowd.of(p) != "" { // it is known whole (crowd.go), and looking at each takes long
		p.lock.Lock()
		p.sweep = true
		p.lock.Unlock()
		return
	}
	all := processes()
	started := map[int]string{}
	mine := map[int]bool{root: true}
	for grown := true; grown; {
		grown = false
		for pid, found := range all {
			if !mine[pid] && (mine[found.parent] || found.session == p.pid) {
				mine[pid], grown = true, true
				started[pid] = found.started
			}
		}
	}
	p.lock.Lock()
	defer p.lock.Unlock()
	p.sweep = true
	if p.kin == nil {
		p.kin = map[int]string{}
	}
	for pid, when := range started {
		p.kin[pid] = when
	}
}

// endKin ends what gather found and still runs, and what else is in the session by now.
func (p *process) endKin() {
	for passes := 0; passes < 5; passes++ { // one may fork while it is looked for
		p.gather(-1) // its own pid may be another's by now
		p.lock.Lock()
		kin := maps.Clone(p.kin)
		p.lock.Unlock()
		ended := 0
		for pid, found := range processes() {
			if when, known := kin[pid]; known && when == found.started && !found.dead {
				syscall.Kill(pid, syscall.SIGKILL)
				ended++
			}
		}
		if ended == 0 {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

type processStat struct {
	parent, session int
	started         string
	dead            bool
}

// processes are those of the whole machine, by pid.
func processes() map[int]processStat {
	all := map[int]processStat{}
	entries, _ := os.ReadDir("/proc")
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		text := readText("/proc/" + entry.Name() + "/stat")
		fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:]) // a name may have blanks and brackets
		if len(fields) < 20 {
			continue
		}
		parent, _ := strconv.Atoi(fields[1])
		session, _ := strconv.Atoi(fields[3])
		all[pid] = processStat{parent, session, fields[19], fields[0] == "Z" || fields[0] == "X"}
	}
	return all
}

func readText(path string) string {
	data, _ := os.ReadFile(path)
	return string(data)
}
