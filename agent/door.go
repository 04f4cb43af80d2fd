package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// The door is where commands live: a PID namespace and a mount namespace of their own, in which the agent cannot be
// seen, signalled or unmounted.
//
// It is a fork of the agent, made without an exec, that starts programs on the agent's behalf and tells of their ends.
// Why so: gVisor 20240729 has no setns for PID namespaces, refuses unshare(CLONE_NEWPID) to a process of several
// threads, as every Go program is, and ignores CLONE_PARENT. Orders lie in memory that both share, descriptors are
// shared as well, and after the fork only system calls are made, as in a vfork.
//
// The door itself stays outside; the namespace's first process is a fork of it that does nothing. When the guest
// ends that one, the kernel ends all in the namespace, and the next command finds a new one.
type door struct {
	pid, first int // as the agent counts
	order      *order
	arena      []byte
	orders     *os.File
	answers    *os.File
	replies    chan answer
	turn       chan struct{} // holds a token while no order is under way
	over       bool          // its namespace is gone; it still tells of the ends in there
	gone       chan struct{} // closed with that
	dead       chan struct{} // closed when it has ended itself, or is about to
	dying      sync.Once
	closing    sync.Once
}

const (
	arenaSize    = 4 << 20 // an order with the longest argv and environment
	doorPatience = 60 * time.Second
	doorTries    = 3                      // where the namespace ends just then
	goneSoon     = 500 * time.Millisecond // from a namespace's end until it is told of
	// From include/uapi/linux/signal.h and sched.h.
	sigBlock, sigSetMask = 0, 2
	longestName          = 4096 // of a directory (PATH_MAX)
	highDescriptor       = 200  // out of the way of those that a program gets
	prSetName            = 15
	atCwd                = ^uintptr(99) // AT_FDCWD, -100 (fcntl.h)
	sysCloseRange        = 436
)

// order is in the shared memory; addresses in it are good in both processes.
type order struct {
	program, argv, environment, directory uintptr
	// Of a plain command (plain.go), from the order's begin on: its directory's name, what must not be there.
	name, absent, room   uintptr
	files                [4]int32
	count, terminal      int32
	failed, where        int32   // errno, and at which step
	ready                int32   // the first process stands
	void                 int32   // nobody waits for it any more; its files may be others by now
	prints, printed      uintptr // what a builtin prints, and how much that is
	builtin, status      int32
	group                int32 // where it says that it is to be counted (crowd.go); -1 is nowhere
	another              int32 // it runs as another user: these are who
	uid, gid, groupCount uint32
	groups               uintptr
}

// answer is one record of the door's: kind 0 is the reply to an order, 1 the end of a process.
type answer struct{ kind, pid, status int32 }

const answerSize = 12

// noDirectory is of a working directory that the program's user cannot enter.
type noDirectory struct{ error }

func (n *noDirectory) Unwrap() error { return n.error }

// errNotOrdered is of a program that was never asked for.
var errNotOrdered = errors.New("the one who starts processes has ended")

// firstName is what `ps` shows of the first process.
var firstName = [8]byte{'f', 'i', 'r', 's', 't'}

func openDoor(ended func(int, syscall.WaitStatus)) (*door, error) {
	arena, err := syscall.Mmap(-1, 0, arenaSize, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED|syscall.MAP_ANON)
	if err != nil {
		return nil, err
	}
	var orders, answers [2]int
	if err := syscall.Pipe2(orders[:], syscall.O_CLOEXEC); err != nil {
		return nil, err
	}
	if err := syscall.Pipe2(answers[:], syscall.O_CLOEXEC); err != nil {
		return nil, err
	}
	d := &door{arena: arena, order: (*order)(unsafe.Pointer(&arena[0])), replies: make(chan answer, 1), turn: make(chan struct{}, 1), gone: make(chan struct{}), dead: make(chan struct{})}
	name := unsafe.StringData(os.Args[0])
	size := 0
	for _, word := range os.Args {
		size += len(word) + 1
	}
	pid, _, errno := syscall.RawSyscall6(syscall.SYS_CLONE, syscall.CLONE_FILES|uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
	if errno == 0 && pid == 0 {
		beDoor(d.order, uintptr(orders[0]), uintptr(answers[1]), unsafe.Pointer(name), uintptr(size))
	}
	if errno != 0 {
		return nil, errno
	}
	d.pid = int(pid)
	syscall.SetNonblock(answers[0], true)
	d.orders, d.answers = os.NewFile(uintptr(orders[1]), "orders"), os.NewFile(uintptr(answers[0]), "answers")
	go d.listen(ended)
	d.orders.Write([]byte{0}) // the first process
	reply, err := d.reply(time.After(doorPatience))
	if err == nil && d.order.failed != 0 {
		err = fmt.Errorf("a namespace for commands: step %d: %w", d.order.where, syscall.Errno(d.order.failed))
	}
	if err != nil {
		d.close()
		return nil, err
	}
	d.first = int(reply.pid)
	d.turn <- struct{}{}
	return d, nil
}

// listen never waits for anybody: an end may come before the answer that whoever would take it waits for.
func (d *door) listen(ended func(int, syscall.WaitStatus)) {
	var record [answerSize]byte
	for {
		if n, err := d.answers.Read(record[:]); err != nil || n != answerSize {
			return
		}
		a := answer{int32(binary.NativeEndian.Uint32(record[:])), int32(binary.NativeEndian.Uint32(record[4:])), int32(binary.NativeEndian.Uint32(record[8:]))}
		if a.kind == 0 {
			d.replies <- a // there is room: one order at a time, and each has one answer
		} else {
			go ended(int(a.pid), syscall.WaitStatus(a.status))
		}
	}
}

func (d *door) reply(late <-chan time.Time) (answer, error) {
	select {
	case a := <-d.replies:
		return a, nil
	case <-d.dead:
		return answer{}, fmt.Errorf("the one who starts processes has ended")
	case <-late:
		return answer{}, fmt.Errorf("no process could be started in %v", doorPatience)
	}
}

// giveUp makes an order void whose answer did not come in time. The next one waits until this one was answered: its
// answer is no other's.
func (d *door) giveUp() {
	atomic.StoreInt32(&d.order.void, 1)
	go func() {
		if a, err := d.reply(nil); err == nil {
			if a.pid > 0 {
				syscall.Kill(int(a.pid), syscall.SIGKILL)
			}
			d.turn <- struct{}{}
		}
	}()
}

// spawn starts a program. One order is under way at a time.
func (d *door) spawn(bare *plainCommand, program string, argv, environment []string, directory string, files []uintptr, terminal bool, group *os.File, as *user) (int, error) {
	late := time.After(doorPatience)
	select {
	case <-d.turn:
	case <-d.dead:
		return 0, errNotOrdered
	case <-late:
		return 0, fmt.Errorf("no process could be started in %v", doorPatience)
	}
	at := int(unsafe.Sizeof(order{}))
	place := func(text string) uintptr {
		begin := at
		at += copy(d.arena[at:], text)
		d.arena[at] = 0
		at++
		return uintptr(unsafe.Pointer(&d.arena[begin]))
	}
	list := func(texts []string) uintptr {
		at = (at + 7) &^ 7
		table := unsafe.Slice((*uintptr)(unsafe.Pointer(&d.arena[at])), len(texts)+1)
		at += 8 * len(table)
		for i, text := range texts {
			table[i] = place(text)
		}
		table[len(texts)] = 0
		return uintptr(unsafe.Pointer(&table[0]))
	}
	o := d.order
	*o = order{program: place(program), directory: place(directory)}
	o.argv, o.environment = list(argv), list(environment)
	if bare != nil {
		begin := uintptr(unsafe.Pointer(o))
		o.absent = list(bare.absent) - begin
		if bare.builtin {
			o.prints, o.printed, o.status, o.builtin = place(bare.prints), uintptr(len(bare.prints)), bare.status, 1
		}
		if bare.directory != "" {
			o.name = place(bare.directory) - begin
			o.room = place(string(make([]byte, longestName))) - begin
		}
	}
	for i, file := range files {
		o.files[i] = int32(file)
	}
	o.count = int32(len(files))
	if terminal {
		o.terminal = 1
	}
	o.group = -1
	if group != nil {
		o.group = int32(group.Fd())
	}
	if as != nil {
		o.another, o.uid, o.gid, o.groupCount = 1, as.uid, as.gid, uint32(len(as.groups))
		at = (at + 7) &^ 7
		table := unsafe.Slice((*uint32)(unsafe.Pointer(&d.arena[at])), maxGroups+1)
		copy(table, as.groups)
		o.groups = uintptr(unsafe.Pointer(&table[0]))
	}
	if _, err := d.orders.Write([]byte{1}); err != nil {
		return 0, errNotOrdered
	}
	reply, err := d.reply(late)
	if err != nil {
		d.giveUp()
		return 0, err
	}
	failed, where := syscall.Errno(o.failed), o.where
	d.turn <- struct{}{}
	if failed != 0 && where == stepDirectory {
		return 0, &noDirectory{failed}
	}
	if failed != 0 {
		return 0, failed
	}
	return int(reply.pid), nil
}

// hadGone says whether a program was not started because the namespace had ended: with the next door it may be. Nothing
// is born in a namespace that has ended; the kernel says ENOMEM to that (pid_namespaces(7)).
func (d *door) hadGone(err error) bool {
	if errors.Is(err, errNotOrdered) {
		return true
	}
	if !errors.Is(err, syscall.ENOMEM) {
		return false
	}
	select {
	case <-d.gone:
		return true
	case <-time.After(goneSoon):
		return false
	}
}

// die has whoever waits for an answer hear that none comes.
func (d *door) die() { d.dying.Do(func() { close(d.dead) }) }

func (d *door) close() {
	d.die()
	d.closing.Do(func() {
		syscall.Kill(d.pid, syscall.SIGKILL)
		d.orders.Close()
		d.answers.Close()
	})
}

// -- what follows runs after the fork: system calls only, no memory of Go's

//go:nosplit
//go:norace
func leave() { syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 127, 0, 0) }

//go:nosplit
//go:norace
func beDoor(o *order, orders, answers uintptr, name unsafe.Pointer, size uintptr) {
	var poll [2]struct {
		fd              int32
		events, revents int16
	}
	var mask uint64 = 1 << (uint(syscall.SIGCHLD) - 1)
	var word [1]byte
	syscall.RawSyscall6(syscall.SYS_RT_SIGPROCMASK, sigBlock, uintptr(unsafe.Pointer(&mask)), 0, 8, 0, 0)
	signals, _, errno := syscall.RawSyscall6(syscall.SYS_SIGNALFD4, ^uintptr(0), uintptr(unsafe.Pointer(&mask)), 8, syscall.O_CLOEXEC|syscall.O_NONBLOCK, 0, 0)
	if errno != 0 {
		leave()
	}
	poll[0].fd, poll[1].fd = int32(orders), int32(signals)
	poll[0].events, poll[1].events = 1, 1
	for {
		_, _, errno = syscall.RawSyscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&poll)), 2, 0, 0, 0, 0)
		if errno == syscall.EINTR {
			continue
		}
		if errno != 0 {
			leave()
		}
		if poll[0].revents != 0 {
			n, _, _ := syscall.RawSyscall(syscall.SYS_READ, orders, uintptr(unsafe.Pointer(&word)), 1)
			if n != 1 {
				leave()
			}
			o.failed, o.where = 0, 0
			if word[0] == 0 {
				separate(o)
			}
			flags := syscall.CLONE_VFORK | uintptr(syscall.SIGCHLD)
			if word[0] == 0 {
				flags = uintptr(syscall.SIGCHLD)
			}
			pid, _, errno := syscall.RawSyscall6(syscall.SYS_CLONE, flags, 0, 0, 0, 0, 0)
			if errno == 0 && pid == 0 {
				if word[0] == 0 {
					beFirst(o, name, size)
				}
				become(o)
			}
			for word[0] == 0 && errno == 0 && atomic.LoadInt32(&o.ready) == 0 {
				syscall.RawSyscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(&o.ready)), 0, 0, 0, 0, 0)
			}
			if errno != 0 {
				o.failed, o.where = int32(errno), 9
			}
			tell(answers, 0, int32(pid), 0)
		}
		if poll[1].revents != 0 {
			reap(signals, answers)
		}
	}
}

//go:nosplit
//go:norace
func tell(answers uintptr, kind, pid, status int32) {
	record := answer{kind, pid, status}
	syscall.RawSyscall(syscall.SYS_WRITE, answers, uintptr(unsafe.Pointer(&record)), answerSize)
}

//go:nosplit
//go:norace
func reap(signals, answers uintptr) {
	var information [128]byte // struct signalfd_siginfo
	var status int32
	syscall.RawSyscall(syscall.SYS_READ, signals, uintptr(unsafe.Pointer(&information)), 128)
	for {
		pid, _, errno := syscall.RawSyscall6(syscall.SYS_WAIT4, ^uintptr(0), uintptr(unsafe.Pointer(&status)), syscall.WNOHANG, 0, 0, 0)
		if errno != 0 || pid == 0 {
			return
		}
		tell(answers, 1, int32(pid), status)
	}
}

var (
	rootPath = [...]byte{'/', 0}
	procPath = [...]byte{'/', 'p', 'r', 'o', 'c', 0}
	procKind = [...]byte{'p', 'r', 'o', 'c', 0}
	pyroPath = [...]byte{'/', 'p', 'y', 'r', 'o', 0}
	pyroKind = [...]byte{'t', 'm', 'p', 'f', 's', 0}
)

// For system calls, made before the fork.
var ownInProc = func() (own [3]struct{ source, target [64]byte }) {
	for i, pair := range inProc {
		own[i].source, own[i].target = pathBytes(pair[0]), pathBytes("/proc"+pair[1])
	}
	return own
}()

func pathBytes(path string) (bytes [64]byte) {
	copy(bytes[:63], path)
	return bytes
}

// separate goes into new namespaces; what the agent needs is out of sight there.
//
//go:nosplit
//go:norace
func separate(o *order) {
	if _, _, errno := syscall.RawSyscall(syscall.SYS_UNSHARE, syscall.CLONE_NEWPID, 0, 0); errno != 0 {
		o.failed, o.where = int32(errno), 1
		return
	}
	if _, _, errno := syscall.RawSyscall(syscall.SYS_UNSHARE, syscall.CLONE_NEWNS|syscall.CLONE_FS, 0, 0); errno != 0 {
		o.failed, o.where = int32(errno), 2
		return
	}
	syscall.RawSyscall6(syscall.SYS_MOUNT, uintptr(unsafe.Pointer(&procKind)), uintptr(unsafe.Pointer(&rootPath)), 0, syscall.MS_REC|syscall.MS_PRIVATE, 0, 0)
	// An empty place that cannot be written: `rm -rf /pyro` in there must not take away what the agent stands on.
	_, _, errno := syscall.RawSyscall6(syscall.SYS_MOUNT, uintptr(unsafe.Pointer(&pyroKind)), uintptr(unsafe.Pointer(&pyroPath)), uintptr(unsafe.Pointer(&pyroKind)), syscall.MS_RDONLY, 0, 0)
	if errno != 0 && errno != syscall.ENOENT {
		o.failed, o.where = int32(errno), 4
	}
}

// beFirst is the first process of the namespace. It never waits for a child: SIGCHLD is ignored, so the kernel buries
// orphans itself, even while the guest has stopped it.
//
//go:nosplit
//go:norace
func beFirst(o *order, name unsafe.Pointer, size uintptr) {
	_, _, errno := syscall.RawSyscall6(syscall.SYS_MOUNT, uintptr(unsafe.Pointer(&procKind)), uintptr(unsafe.Pointer(&procPath)), uintptr(unsafe.Pointer(&procKind)), 0, 0, 0)
	if errno != 0 {
		o.failed, o.where = int32(errno), 3
	}
	// The machine's own figures, as in the agent's /proc (resources.go); where they are not shown, this changes nothing.
	for i := 0; i < len(ownInProc); i++ {
		own := &ownInProc[i]
		syscall.RawSyscall6(syscall.SYS_MOUNT, uintptr(unsafe.Pointer(&own.source)), uintptr(unsafe.Pointer(&own.target)), 0, syscall.MS_BIND|syscall.MS_REC, 0, 0)
	}
	syscall.RawSyscall(syscall.SYS_SETSID, 0, 0, 0)
	if _, _, errno := syscall.RawSyscall(sysCloseRange, 0, 1<<31, 0); errno != 0 {
		for file := uintptr(0); file < 4096; file++ { // a connection that stays open would spoil a checkpoint
			syscall.RawSyscall(syscall.SYS_CLOSE, file, 0, 0)
		}
	}
	for i := uintptr(0); i < size; i++ {
		*(*byte)(unsafe.Add(name, i)) = 0 // the agent's name matches habits such as `pkill -f agent`
	}
	for i := uintptr(0); i < 5 && i < size; i++ {
		*(*byte)(unsafe.Add(name, i)) = firstName[i]
	}
	syscall.RawSyscall6(syscall.SYS_PRCTL, prSetName, uintptr(unsafe.Pointer(&firstName)), 0, 0, 0, 0)
	var ignore [4]uintptr // struct sigaction: handler, flags, restorer, mask
	ignore[0] = 1         // SIG_IGN
	for number := uintptr(1); number <= 64; number++ {
		syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, number, uintptr(unsafe.Pointer(&ignore)), 0, 8, 0, 0)
	}
	atomic.StoreInt32(&o.ready, 1)
	syscall.RawSyscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(&o.ready)), 1, 1, 0, 0, 0)
	for {
		syscall.RawSyscall6(syscall.SYS_PPOLL, 0, 0, 0, 0, 0, 0)
	}
}
