package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"
	"unsafe"
)

// From include/uapi/asm-generic/ioctls.h.
const (
	tiocsptlck = 0x40045431
	tiocgptn   = 0x80045430
	tiocswinsz = 0x5414
	tiocgpgrp  = 0x540f
	tcgets     = 0x5401
)

// From include/uapi/asm-generic/termbits.h.
const (
	lflagISIG = 0o1
	lflagECHO = 0o10
	vintr     = 0
	vquit     = 1
	vsusp     = 10
)

type kernelTermios struct {
	iflag, oflag, cflag, lflag uint32
	line                       byte
	cc                         [19]byte
}

type kernelWinsize struct{ rows, cols, xpixel, ypixel uint16 }

func ioctl(fd uintptr, request uintptr, argument unsafe.Pointer) error {
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, fd, request, uintptr(argument)); errno != 0 {
		return errno
	}
	return nil
}

func openTTY(p *process, size winsize) (childFiles, error) {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return childFiles{}, fail(500, "no_terminal", "No terminal can be opened: %s.", err)
	}
	var locked, number int32
	raw, err := master.SyscallConn()
	if err == nil {
		raw.Control(func(fd uintptr) {
			if err = ioctl(fd, tiocsptlck, unsafe.Pointer(&locked)); err == nil {
				err = ioctl(fd, tiocgptn, unsafe.Pointer(&number))
			}
		})
	}
	if err != nil {
		master.Close()
		return childFiles{}, fail(500, "no_terminal", "No terminal can be opened: %s.", err)
	}
	slave, err := os.OpenFile("/dev/pts/"+strconv.Itoa(int(number)), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		master.Close()
		return childFiles{}, fail(500, "no_terminal", "No terminal can be opened: %s.", err)
	}
	p.tty = master
	if err := p.resize(size); err != nil {
		master.Close()
		slave.Close()
		return childFiles{}, err
	}
	files := childFiles{child: []*os.File{slave, slave, slave}, ours: []*os.File{master}, kinds: []byte{frameStdout}}
	if _, err := p.masterForeground(); err != nil {
		// gVisor answers only a process of the terminal's own session: one is put there.
		pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
		if err != nil {
			master.Close()
			slave.Close()
			return childFiles{}, fail(500, "no_terminal", "No terminal can be opened: %s.", err)
		}
		syscall.SetNonblock(pair[0], true)
		p.watcher = os.NewFile(uintptr(pair[0]), "watcher")
		files.child = append(files.child, os.NewFile(uintptr(pair[1]), "watched"))
	}
	return files, nil
}

func (p *process) resize(size winsize) error {
	if p.tty == nil {
		return fail(409, "no_terminal", "Process %s has no terminal.", p.id)
	}
	if size.Rows == 0 || size.Cols == 0 || size.Rows > 1000 || size.Cols > 1000 {
		return fail(400, "bad_request", "A terminal has 1 to 1000 rows and columns.")
	}
	raw, err := p.tty.SyscallConn()
	if err != nil {
		return err
	}
	window := kernelWinsize{rows: size.Rows, cols: size.Cols}
	raw.Control(func(fd uintptr) { err = ioctl(fd, tiocswinsz, unsafe.Pointer(&window)) })
	if err == nil && p.watcher != nil {
		// gVisor tells nobody of the new size.
		p.signalForeground(syscall.SIGWINCH)
	}
	return err
}

// signalForeground signals the process group that owns the terminal, as a person would with a key; whether there is one.
func (p *process) signalForeground(number syscall.Signal) bool {
	if p.tty == nil {
		return false
	}
	if group, err := p.masterForeground(); err == nil {
		return group > 0 && syscall.Kill(-group, number) == nil
	}
	if p.watcher == nil {
		return false
	}
	// The watcher does it, because the numbers that it sees are those of its namespace.
	p.asking.Lock()
	defer p.asking.Unlock()
	var answer [4]byte
	p.watcher.SetDeadline(time.Now().Add(time.Second))
	if _, err := p.watcher.Write([]byte{byte(number)}); err != nil {
		return false
	}
	n, err := p.watcher.Read(answer[:])
	return err == nil && n == len(answer) && int32(binary.NativeEndian.Uint32(answer[:])) > 0
}

func (p *process) masterForeground() (int, error) {
	var group int32
	raw, err := p.tty.SyscallConn()
	if err == nil {
		if failed := raw.Control(func(fd uintptr) { err = ioctl(fd, tiocgpgrp, unsafe.Pointer(&group)) }); failed != nil {
			err = failed
		}
	}
	return int(group), err
}

// typed passes keys on. gVisor's terminal sends the signal of ^C, ^\ and ^Z, but leaves the character in the
// input for whoever reads next; where it is so, the signal is sent from here and the character is not passed on.
func (p *process) typed(data []byte) error {
	for p.watcher != nil && len(data) > 0 {
		keys, numbers, echo := p.signalKeys()
		at := bytes.IndexAny(data, keys)
		if keys == "" || at < 0 {
			break
		}
		if err := p.writeTTY(data[:at]); err != nil {
			return err
		}
		if echo {
			p.output.write(frameStdout, []byte{'^', data[at] ^ 0x40})
		}
		if !p.signalForeground(numbers[data[at]]) {
			break
		}
		data = data[at+1:]
	}
	return p.writeTTY(data)
}

// writeTTY writes; gVisor answers an empty write to a terminal with EAGAIN.
func (p *process) writeTTY(data []byte) error {
	if len(data) == 0 {
		return nil
	}
	_, err := p.tty.Write(data)
	return err
}

// signalKeys are the characters that send a signal at present, and whether keys are echoed.
func (p *process) signalKeys() (string, map[byte]syscall.Signal, bool) {
	var termios kernelTermios
	raw, err := p.tty.SyscallConn()
	if err == nil {
		raw.Control(func(fd uintptr) { err = ioctl(fd, tcgets, unsafe.Pointer(&termios)) })
	}
	if err != nil || termios.lflag&lflagISIG == 0 {
		return "", nil, false
	}
	numbers := map[byte]syscall.Signal{}
	var keys []byte
	for index, number := range map[int]syscall.Signal{vintr: syscall.SIGINT, vquit: syscall.SIGQUIT, vsusp: syscall.SIGTSTP} {
		if key := termios.cc[index]; key > 0 && key < 0x20 {
			numbers[key] = number
			keys = append(keys, key)
		}
	}
	return string(keys), numbers, termios.lflag&lflagECHO != 0
}

// inTerminal is the word that makes this program the first of a terminal's session: it leaves a watcher there
// and becomes the program that was asked for. Behind it stand who that runs as, where, the program and its argv.
const inTerminal = "in-terminal"

// watchedEnd is where the watcher's end of the socket is.
const watchedEnd = 3

func becomeInTerminal(words []string) {
	// The watcher is a grandchild, so that the program has no child that it does not know. After the fork only
	// system calls may be made, as in a vfork.
	child, _, errno := syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
	if errno == 0 && child == 0 {
		watchTerminal()
	}
	if errno == 0 {
		for {
			if _, err := syscall.Wait4(int(child), nil, 0, nil); err != syscall.EINTR {
				break
			}
		}
	}
	syscall.Close(watchedEnd)
	runtime.LockOSThread()
	err := takeUser(words[0])
	if err == nil {
		if err = syscall.Chdir(words[1]); err != nil {
			err = fmt.Errorf("%s: %w", words[1], err)
		}
	}
	if err == nil {
		err = syscall.Exec(words[2], words[3:], os.Environ())
	}
	os.Stderr.WriteString(words[3] + ": " + err.Error() + "\r\n")
	os.Exit(126)
}

//go:nosplit
//go:norace
func watchTerminal() {
	grandchild, _, _ := syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
	if grandchild != 0 {
		syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 0, 0, 0)
	}
	syscall.RawSyscall(syscall.SYS_SETPGID, 0, 0, 0) // keys do not signal it
	syscall.RawSyscall(syscall.SYS_CLOSE, 1, 0, 0)
	syscall.RawSyscall(syscall.SYS_CLOSE, 2, 0, 0)
	var asked [1]byte
	var group int32
	for {
		n, _, errno := syscall.RawSyscall(syscall.SYS_READ, watchedEnd, uintptr(unsafe.Pointer(&asked)), 1)
		if errno == syscall.EINTR {
			continue
		}
		if errno != 0 || n == 0 {
			syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 0, 0, 0)
		}
		group = 0
		syscall.RawSyscall(syscall.SYS_IOCTL, 0, tiocgpgrp, uintptr(unsafe.Pointer(&group)))
		if group > 0 {
			syscall.RawSyscall(syscall.SYS_KILL, uintptr(-group), uintptr(asked[0]), 0)
		}
		syscall.RawSyscall(syscall.SYS_WRITE, watchedEnd, uintptr(unsafe.Pointer(&group)), 4)
	}
}
