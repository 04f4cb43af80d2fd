package main

import (
	"os"
	"os/signal"
	"strconv"
	"syscall"
)

// reap waits for every child: ours, and the orphans that a first process inherits.
//
// A thread that blocks in wait4 instead was no faster under gVisor (20240729), and it needs a place for children
// that end before their fork came back.
func (t *processTable) reap() {
	signals := make(chan os.Signal, 64)
	signal.Notify(signals, syscall.SIGCHLD)
	for range signals {
		for {
			var status syscall.WaitStatus
			// The lock makes a child that ends at once wait until it stands in the table.
			t.lock.Lock()
			pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
			if pid <= 0 || err != nil {
				t.lock.Unlock()
				break
			}
			p := t.byPID[pid]
			delete(t.byPID, pid)
			t.lock.Unlock()
			if p != nil {
				p.reaped <- status
			}
		}
	}
}

// fork starts a program and puts it into the table.
func (t *processTable) fork(p *process, program string, argv []string, attributes *syscall.ProcAttr) error {
	t.lock.Lock()
	defer t.lock.Unlock()
	if len(t.byPID) >= maxLive {
		return fail(429, "too_many_processes", "%d processes run already.", maxLive)
	}
	pid, err := syscall.ForkExec(program, argv, attributes)
	if err != nil {
		return err
	}
	t.next++
	p.pid, p.id = pid, "p"+strconv.Itoa(t.next)
	t.byPID[pid], t.byID[p.id] = p, p
	return nil
}
