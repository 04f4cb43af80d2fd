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
			pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
			if pid <= 0 || err != nil {
				break
			}
			go t.buried(pid, status) // it may have to wait until a fork came back
		}
	}
}

// buried tells a process of the table that it has ended; and when the first process of the door's namespace did, the
// kernel has ended all that was in there, and the next command gets a new one.
func (t *processTable) buried(pid int, status syscall.WaitStatus) {
	t.lock.Lock()
	if t.byPID[pid] == nil && (t.door == nil || pid != t.door.pid && pid != t.door.first) {
		t.lock.Unlock()
		// It may have ended before it stood in the table. Only this one waits for that: the answer to an order comes,
		// and the end of the door is told of, while a fork is under way.
		t.forking.Lock()
		t.lock.Lock()
		t.forking.Unlock()
	}
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
	if pid == d.pid {
		d.die()
	}
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
	// While an order is under way, its answer comes first: whoever waits for it must know whether anything was started.
	if left == 0 && (pid == d.pid || len(d.turn) == 1) {
		d.close()
	}
}

// afterOrder closes a door whose namespace ended while an order that started nothing was under way.
func (t *processTable) afterOrder(d *door) {
	t.lock.Lock()
	defer t.lock.Unlock()
	if !d.over {
		return
	}
	for _, p := range t.byPID {
		if p.door == d {
			return
		}
	}
	d.close()
}

// isOwn says whether a process is the door or the first of its namespace.
func (t *processTable) isOwn(pid int) bool {
	t.lock.Lock()
	defer t.lock.Unlock()
	return t.door != nil && (pid == t.door.pid || pid == t.door.first)
}

// closeIn makes commands live behind a door from now on; `counted` holds them to the limit of processes, which `memory`,
// in bytes, bounds as well where it is not 0.
func (t *processTable) closeIn(counted bool, memory int64) error {
	t.forking.Lock()
	defer t.forking.Unlock()
	t.behind = true
	if counted {
		t.crowd.open(memory)
	}
	_, err := t.openDoor()
	return err
}

// openDoor gives the door, a new one where there is none. The caller holds `forking`.
func (t *processTable) openDoor() (*door, error) {
	t.lock.Lock()
	d := t.door
	t.lock.Unlock()
	if d != nil {
		return d, nil
	}
	d, err := openDoor(t.buried)
	if err != nil {
		return nil, fail(500, "spawn_failed", "%s.", err)
	}
	t.lock.Lock()
	t.door = d
	t.lock.Unlock()
	return d, nil
}

// fork starts a program, a plain one only where what must hold for it does, and puts it into the table. It may take
// long where the guest starves; who only looks at the table does not wait for it.
func (t *processTable) fork(p *process, bare *plainCommand, program string, argv []string, attributes *syscall.ProcAttr, as *user) error {
	t.forking.Lock()
	defer t.forking.Unlock()
	if t.running() >= maxLive {
		return fail(429, "too_many_processes", "%d processes run already.", maxLive)
	}
	pid, err := 0, error(nil)
	if t.behind {
		for try := 1; ; try++ {
			if p.door, err = t.openDoor(); err != nil {
				return err
			}
			group := t.crowd.group(p)
			pid, err = p.door.spawn(bare, program, argv, attributes.Env, attributes.Dir, attributes.Files, attributes.Sys.Setctty, group, as)
			if group != nil {
				group.Close()
			}
			if err == nil {
				break
			}
			again := try < doorTries && p.door.hadGone(err)
			t.afterOrder(p.door)
			if !again {
				break
			}
			t.lock.Lock()
			if t.door == p.door {
				t.door = nil
			}
			t.lock.Unlock()
		}
	} else if bare != nil && !bare.holdsHere() {
		err = syscall.ENOENT
	} else {
		if as != nil {
			attributes.Sys.Credential = &syscall.Credential{Uid: as.uid, Gid: as.gid, Groups: as.groups}
		}
		pid, err = syscall.ForkExec(program, argv, attributes)
	}
	if err != nil {
		return err
	}
	t.lock.Lock()
	t.next++
	p.lock.Lock()
	p.pid, p.id = pid, "p"+strconv.Itoa(t.next)
	p.lock.Unlock()
	t.byPID[pid], t.byID[p.id] = p, p
	t.lock.Unlock()
	t.crowd.watch(p.door)
	return nil
}
