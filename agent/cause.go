package main

import (
	"fmt"
	"sync/atomic"
	"syscall"
	"time"
)

const allTold = 200 * time.Millisecond // from the end of a namespace's processes to that of its first

const hangUpHeard = 10 * time.Second // after all was stopped, a hang-up is the kernel's

const fullBytes = 1 << 20 // a file system with less room than this is full

var signalNames = map[syscall.Signal]string{
	1: "SIGHUP", 2: "SIGINT", 3: "SIGQUIT", 4: "SIGILL", 5: "SIGTRAP", 6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE", 9: "SIGKILL",
	10: "SIGUSR1", 11: "SIGSEGV", 12: "SIGUSR2", 13: "SIGPIPE", 14: "SIGALRM", 15: "SIGTERM", 24: "SIGXCPU", 25: "SIGXFSZ", 31: "SIGSYS",
}

// byItself are the signals that a program gets for what it did itself.
var byItself = map[syscall.Signal]string{
	4: "it ran an instruction that does not exist", 6: "it aborted itself", 7: "it touched memory that could not be had",
	8: "it divided by zero or the like", 11: "it touched memory that is not its own", 13: "it wrote to a pipe that nobody reads",
	24: "its CPU time was used up", 25: "a file became too large", 31: "it made a system call that does not exist",
}

// blame has the process's command say, when it ends, why one of its processes was ended; the first reason stays.
func (t *processTable) blame(pid int, all map[int]processStat, why string) {
	t.lock.Lock()
	defer t.lock.Unlock()
	session := all[pid].session
	for step := 0; step < 1000 && pid > 1; step++ {
		if p := t.byPID[pid]; p != nil {
			p.because(why)
			return
		}
		pid = all[pid].parent
	}
	if p := t.byPID[session]; p != nil { // a child whose parent is gone
		p.because(why)
	}
}

func (p *process) because(why string) {
	p.lock.Lock()
	defer p.lock.Unlock()
	if p.reason == "" {
		p.reason = why
	}
}

// afterAll has a process say that it was ended with its whole namespace, whose end is told of a moment later.
func (p *process) afterAll(status syscall.WaitStatus) {
	p.lock.Lock()
	asked := p.killed || p.timedOut || p.reason != "" || p.sent&(1<<syscall.SIGKILL) != 0
	p.lock.Unlock()
	if asked || p.door == nil || !status.Signaled() || status.Signal() != syscall.SIGKILL {
		return
	}
	select {
	case <-p.door.gone:
		p.because("Process 1 of the machine was ended from inside, and with it everything that ran; files stay as they were, and the next command runs.")
	case <-time.After(allTold):
	}
}

// why says why it ended, where its exit status alone does not say it; empty when there is nothing to say.
func (p *process) why(status syscall.WaitStatus, timeout time.Duration) string {
	p.lock.Lock()
	reason, timedOut, killed, sent := p.reason, p.timedOut, p.killed, p.sent
	if reason == "" && status.Signaled() && status.Signal() == syscall.SIGHUP && sent&(1<<syscall.SIGHUP) == 0 && time.Since(p.hungAt) < hangUpHeard {
		reason = p.hangUp
	}
	p.lock.Unlock()
	switch {
	case reason != "":
		return reason
	case timedOut:
		return fmt.Sprintf("It ran longer than the %g s that it was given, and was ended.", timeout.Seconds())
	case killed, status.Signaled() && sent&(1<<status.Signal()) != 0, status.ExitStatus() > 128 && sent&(1<<(status.ExitStatus()-128)) != 0:
		return "It was ended on request."
	case status.Exited() && status.ExitStatus() == 0:
		return ""
	}
	if full := fullPlace(); full != "" {
		return full
	}
	if status.Signaled() {
		name, number := signalName(status.Signal()), int(status.Signal())
		if did := byItself[status.Signal()]; did != "" {
			return fmt.Sprintf("It was ended by %s (signal %d): %s.", name, number, did)
		}
		return fmt.Sprintf("It was ended by %s (signal %d), sent by a process inside the machine; not by pyro, a time-out or a limit.", name, number)
	}
	if number := syscall.Signal(status.ExitStatus() - 128); signalNames[number] != "" {
		did := byItself[number]
		if did != "" {
			did = ": " + did
		}
		return fmt.Sprintf("Status %d is how a shell says that a program it ran was ended by %s (signal %d)%s.", status.ExitStatus(), signalName(number), int(number), did)
	}
	return ""
}

func signalName(number syscall.Signal) string {
	if name := signalNames[number]; name != "" {
		return name
	}
	return fmt.Sprintf("signal %d", int(number))
}

// diskLimit is what the files on disk may take together, in bytes, where the host holds it; 0 is unknown.
var diskLimit atomic.Int64

const nearlyFull = 64 << 20

// usedDisk is what the files on disk take.
func usedDisk() (used int64) {
	for _, place := range []string{"/", "/tmp", "/pyro/upper"} {
		var stat syscall.Statfs_t
		if syscall.Statfs(place, &stat) == nil {
			used += int64(stat.Blocks-stat.Bfree) * int64(stat.Bsize)
		}
	}
	return used
}

// fullPlace says which file system has no room left, if one has none.
func fullPlace() string {
	if limit := diskLimit.Load(); limit > 0 {
		if used := usedDisk(); used > limit-nearlyFull {
			return fmt.Sprintf("The disk is full: its files take %d of the %d MiB that the workspace has (disk_gib).", used>>20, limit>>20)
		}
	}
	for _, place := range []string{"/workspace", "/tmp", "/", "/dev/shm"} {
		var stat syscall.Statfs_t
		if syscall.Statfs(place, &stat) != nil || stat.Blocks == 0 {
			continue
		}
		if size := int64(stat.Bsize); int64(stat.Bavail)*size < fullBytes {
			kind := "The disk is full"
			if place == "/dev/shm" {
				kind = "Shared memory is full"
			}
			return fmt.Sprintf("%s: %s has %d MiB, and no room is left.", kind, place, int64(stat.Blocks)*size>>20)
		}
	}
	return ""
}
