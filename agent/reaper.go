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
			t.lock.Unlock()
			t.buried(pid, status)
		}
	}
}

// buried tells a process of the table that it has ended; and when the first process of the door's namespace did, the
// kernel has ended all that was in there, and the next command gets a new one.
func (t *processTable) buried(pid int, status syscall.WaitStatus) {
	t.lock.Lock()
	p := t.byPID[pid]
	delete(t.byPID, pid)
	d := t.door
	if p != nil {
		d = p.door
	}
	if d != nil {
		t.afterDoor(d, pid)
	}
	t.lock.Unlock()
	if p != nil {
		p.reaped <- status
	}
}

// afterDoor sees to a door whose namespace has ended, or which has itself. The caller holds the lock.
func (t *processTable) afterDoor(d *door, pid int) {
	if pid == d.first || pid == d.pid {
		if !d.over {
			d.over = true
			close(d.gone)
		}
		if t.door == d {
			t.door = nil
		}
	}
	if !d.over {
		return
	}
	left := 0
	for other, p := range t.byPID {
		if p.door != d {
			continue
		}
		if pid == d.pid { // nobody will tell
			syscall.Kill(other, syscall.SIGKILL)
			delete(t.byPID, other)
			p.reaped <- syscall.WaitStatus(syscall.SIGKILL)
		} else {
			left++
		}
	}
	if left == 0 {
		d.close()
	}
}

// isOwn says whether a process is the door or the first of its namespace.
func (t *processTable) isOwn(pid int) bool {
	t.lock.Lock()
	defer t.lock.Unlock()
	return t.door != nil && (pid == t.door.pid || pid == t.door.first)
}

// closeIn makes commands live behind a door from now on.
func (t *processTable) closeIn(limited bool) error {
	t.lock.Lock()
	defer t.lock.Unlock()
	t.behind, t.limited = true, limited
	return t.openDoor()
}

func (t *processTable) openDoor() error {
	if t.door != nil {
		return nil
	}
	d, err := openDoor(t.buried, t.limited)
	if err != nil {
		return fail(500, "spawn_failed", "%s.", err)
	}
	t.door = d
	return nil
}

// fork starts a program and puts it into the table.
func (t *processTable) fork(p *process, program string, argv []string, attributes *syscall.ProcAttr) error {
	t.lock.Lock()
	defer t.lock.Unlock()
	if len(t.byPID) >= maxLive {
		return fail(429, "too_many_processes", "%d processes run already.", maxLive)
	}
	pid, err := 0, error(nil)
	if t.behind {
		if err := t.openDoor(); err != nil {
			return err
		}
		pid, err = t.door.spawn(program, argv, attributes.Env, attributes.Dir, attributes.Files, attributes.Sys.Setctty)
	} else {
		pid, err = syscall.ForkExec(program, argv, attributes)
	}
	if err != nil {
		return err
	}
	t.next++
	p.door = t.door
	p.pid, p.id = pid, "p"+strconv.Itoa(t.next)
	t.byPID[pid], t.byID[p.id] = p, p
	return nil
}
