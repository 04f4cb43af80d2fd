package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A crowd is more processes than the machine is for, as a fork bomb makes them. Each command has a control group of its
// own, which its children cannot leave by ending or by a session of their own: so it can be ended whole.
//
// A kernel holds pids.max at every fork. gVisor 20240729 does not: it asks one of the task's seven groups, by chance, and
// only that of the pids refuses (kernel/task_cgroup.go, chargeLocked). So there the agent looks, ten times a second while
// anything runs. Among hundreds that fork each system call waits for its turn, so what it does at once is a single one:
// all is stopped. Then it can see at leisure whether memory or turns are really taken by one command, and end that.

const (
	pidsPlace = "/pyro/pids"
	pidsMost  = 4096 // processes and threads of a machine
	pidsOfOne = 3072 // of a command, so that others have some; a kernel holds it
	crowdLook = 100 * time.Millisecond
	crowdSize = 64                      // threads that are worth a closer look
	crowdMany = 100                     // processes of one command that may keep the others from their turn, at least
	manyBytes = 7 << 20                 // of memory for each of them: a forked Python takes 5 MiB
	crowdLate = 250 * time.Millisecond  // a look that comes so late was kept from its turn
	pause     = 20 * time.Millisecond   // for which all is stopped to see who kept it
	crowdEnds = 1500 * time.Millisecond // how long one command may take to be ended alone
	stops     = 3                       // who forks while it is stopped leaves a child that is not
	uncounted = 16                      // threads that the agent may have more by now
)

// crowd counts what the guest runs, in a control group for each command; the zero value counts nothing.
type crowd struct {
	lock      sync.Mutex // never the table's: who holds that may wait for a process that is stopped here
	counting  bool
	memory    int64 // bytes; 0 is the kernel's affair
	others    int   // threads that are not the guest's
	watching  bool
	seen      int               // threads at the last look
	groups    map[string]*group // by the control group's directory
	next      int
	door      *door
	meanwhile func() // as long as anything runs, every half second
}

type group struct {
	p *process
}

// open makes the control group of all commands; where there can be none, nothing is counted.
func (c *crowd) open(memory int64) {
	if os.MkdirAll(pidsPlace, 0o700) != nil || syscall.Mount("cgroup", pidsPlace, "cgroup", 0, "pids") != nil {
		return
	}
	if os.Mkdir(pidsPlace+"/w", 0o755) != nil || setLimit(pidsPlace+"/w", pidsMost) != nil {
		return
	}
	threads, _ := load()
	c.counting, c.memory, c.others, c.groups = true, memory, threads+uncounted, map[string]*group{}
}

// group makes a control group for a command; gives the file by which its first process joins it.
func (c *crowd) group(p *process) *os.File {
	c.lock.Lock()
	defer c.lock.Unlock()
	if !c.counting {
		return nil
	}
	for place := range c.groups {
		if syscall.Rmdir(place) == nil { // nobody is in it any more
			delete(c.groups, place)
		}
	}
	c.next++
	place := filepath.Join(pidsPlace, "w", strconv.Itoa(c.next))
	if os.Mkdir(place, 0o755) != nil || setLimit(place, pidsOfOne) != nil {
		return nil
	}
	file, err := os.OpenFile(filepath.Join(place, "cgroup.procs"), os.O_WRONLY, 0)
	if err != nil {
		return nil
	}
	c.groups[place] = &group{p: p}
	return file
}

func setLimit(place string, limit int) error {
	return os.WriteFile(place+"/pids.max", []byte(strconv.Itoa(limit)), 0o644)
}

// processesIn are those of a control group.
func processesIn(place string) []string { return strings.Fields(readText(place + "/cgroup.procs")) }

// countIn is how many processes and threads are in a control group.
func countIn(place string) int {
	number, _ := strconv.Atoi(strings.TrimSpace(readText(place + "/pids.current")))
	return number
}

// load gives all threads of the machine, and the bytes of memory in use.
func load() (threads int, used int64) {
	var info syscall.Sysinfo_t
	if syscall.Sysinfo(&info) != nil {
		return 0, 0
	}
	return int(info.Procs), int64(info.Totalram-info.Freeram) * int64(info.Unit)
}

// watch looks for a crowd as long as anything runs.
func (c *crowd) watch(d *door) {
	c.lock.Lock()
	defer c.lock.Unlock()
	c.door = d
	if c.watching || !c.counting || d == nil || os.Getpid() != 1 { // it would stop what is not the machine's
		return
	}
	c.watching = true
	go func() {
		for last, round := time.Now(), 0; ; round++ {
			time.Sleep(crowdLook)
			if c.meanwhile != nil && round%5 == 4 {
				c.meanwhile()
			}
			now := time.Now()
			more := c.look(now.Sub(last) - crowdLook)
			if last = now; !more {
				return
			}
		}
	}()
}

// look sees to what has become a crowd since the last look, which is `late` by so much; false says that nothing runs
// any more.
func (c *crowd) look(late time.Duration) bool {
	c.lock.Lock()
	defer c.lock.Unlock()
	threads, used := load()
	if threads-c.others < crowdSize { // the usual case, in one system call
		c.watching = c.running()
		return c.watching
	}
	full := c.memory > 0 && used > c.memory
	grown := threads > c.seen
	c.seen = threads
	if !full && late < crowdLate && threads-c.others < pidsOfOne {
		return true
	}
	before := time.Now()
	c.stop()
	defer syscall.Kill(-1, syscall.SIGCONT)
	if time.Since(before) > crowdEnds && (full || grown) && threads-c.others > crowdMany {
		c.endAll("process limit: so many processes were made that nothing else came to its turn")
		return true
	}
	before = time.Now()
	time.Sleep(pause)
	place, count, all := c.see()
	turns := late >= crowdLate && time.Since(before)-pause < late/2 // else it is this computer that is busy
	for at, g := range c.groups {
		if at == place {
			g.p.hung(c.tooMany(count))
		} else {
			g.p.hung("process limit: another command made too many processes, and all was stopped for a moment")
		}
	}
	threads, used = load()
	outside := threads - c.others - all
	switch {
	case place != "" && full && count >= crowdSize: // a request to do so would be heard too late
		c.end(place, c.filled(count, used))
	case place != "" && (all >= pidsOfOne || turns && grown && count >= c.many()):
		c.end(place, c.tooMany(max(count, countIn(place))))
	case outside > pidsOfOne || outside > c.many() && (full || turns && grown): // root in there may leave its control group
		c.endAll(fmt.Sprintf("process limit: %d processes and threads were made outside of their command's control group", outside))
	}
	return true
}

// many is how many processes may keep others from their turn.
func (c *crowd) many() int {
	if c.memory == 0 {
		return pidsOfOne / 2 // its kernel refuses more, and is quicker
	}
	return int(min(pidsOfOne/2, max(crowdMany, c.memory/manyBytes)))
}

// see looks at the commands; gives the control group with the most processes, how many these are, and how many
// processes and threads all have together.
func (c *crowd) see() (place string, most, all int) {
	for at := range c.groups {
		count := countIn(at)
		all += count
		if count > crowdSize/2 { // threads are not what keeps others from their turn
			count = len(processesIn(at))
		}
		if count > most {
			place, most = at, count
		}
	}
	return place, most, all
}

func (c *crowd) tooMany(count int) string {
	return fmt.Sprintf("process limit: it had %d processes and threads, and made more than this workspace can run side by side (at most %d, and fewer where others no longer come to their turn)", count, pidsMost)
}

func (c *crowd) filled(count int, used int64) string {
	return fmt.Sprintf("memory limit: its %d processes filled the machine's memory (%d MiB were used of %d)", count, used>>20, c.memory>>20)
}

// running says whether a command runs, or what one has left.
func (c *crowd) running() bool {
	for _, g := range c.groups {
		if g.p.running() { // it may have left its control group
			return true
		}
	}
	for place := range c.groups {
		if countIn(place) > 0 {
			return true
		}
	}
	return false
}

// settled waits until nobody is being ended: a process group that is stopped may get SIGHUP from the kernel before it is
// known whose it is.
func (c *crowd) settled() {
	c.lock.Lock()
	defer c.lock.Unlock()
}

// relieve ends the command that has the most processes, where they fill the memory.
func (c *crowd) relieve(used int64) (ended int, said string) {
	c.lock.Lock()
	defer c.lock.Unlock()
	place, most, _ := c.see()
	if most < crowdSize || c.door == nil || os.Getpid() != 1 {
		return 0, ""
	}
	c.stop()
	defer syscall.Kill(-1, syscall.SIGCONT)
	return most, c.end(place, c.filled(most, used))
}

// of gives the control group of a command that is a crowd; empty is none.
func (c *crowd) of(p *process) string {
	c.lock.Lock()
	defer c.lock.Unlock()
	for place, g := range c.groups {
		if g.p == p && c.door != nil && os.Getpid() == 1 && countIn(place) >= crowdSize {
			return place
		}
	}
	return ""
}

// endOf ends a command with all that it has started, if that is a crowd.
func (c *crowd) endOf(p *process) bool {
	place := c.of(p)
	if place != "" {
		c.lock.Lock()
		defer c.lock.Unlock()
		c.stop()
		defer syscall.Kill(-1, syscall.SIGCONT)
		c.end(place, "")
	}
	return place != ""
}

func endedFor(why string) string {
	return "It was ended, " + why + ". What else runs in this workspace goes on, and the next command runs."
}

// hung says why, should the kernel hang up the process: it does so to a stopped group when one of it ends.
func (p *process) hung(why string) {
	p.lock.Lock()
	defer p.lock.Unlock()
	p.hangUp, p.hungAt = endedFor(why), time.Now()
}

// end ends all of a command; says why, if that is not empty. The caller holds the lock, has stopped all, and lets what
// is left go on; what somebody had stopped himself does so as well.
func (c *crowd) end(place, why string) string {
	if why != "" {
		why = endedFor(why)
		c.groups[place].p.because(why)
	}
	setLimit(place, 0)
	for began := time.Now(); ; {
		c.stop()
		pids := processesIn(place)
		if len(pids) == 0 && countIn(place) == 0 {
			return why
		}
		for _, pid := range pids {
			if number, err := strconv.Atoi(pid); err == nil && number > 1 && time.Since(began) < crowdEnds {
				syscall.Kill(number, syscall.SIGKILL)
			}
		}
		if time.Since(began) > crowdEnds {
			c.endAll("process limit: a command made processes faster than they could be ended") // before the machine is lost
			return why
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// stop stops all but the agent and its door.
func (c *crowd) stop() {
	for i := 0; i < stops; i++ {
		syscall.Kill(-1, syscall.SIGSTOP)
	}
	syscall.Kill(c.door.pid, syscall.SIGCONT)
}

// endAll ends all that runs behind the door: the kernel lets nothing be born in a namespace whose first process ends.
func (c *crowd) endAll(why string) {
	syscall.Kill(c.door.first, syscall.SIGKILL)
	for _, g := range c.groups {
		g.p.because("All that ran was ended, " + why + ". Files are as they were; the next command runs.")
	}
}
