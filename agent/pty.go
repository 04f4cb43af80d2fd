package main

import (
	"os"
	"strconv"
	"syscall"
	"unsafe"
)

// From include/uapi/asm-generic/ioctls.h.
const (
	tiocsptlck = 0x40045431
	tiocgptn   = 0x80045430
	tiocswinsz = 0x5414
	tiocgpgrp  = 0x540f
)

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
	return childFiles{child: []*os.File{slave, slave, slave}, ours: []*os.File{master}, kinds: []byte{frameStdout}}, nil
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
	return err
}

// foreground is the process group that owns the terminal: what a person would signal with a key. 0 without one.
func (p *process) foreground() int {
	if p.tty == nil {
		return 0
	}
	var group int32
	raw, err := p.tty.SyscallConn()
	if err == nil {
		raw.Control(func(fd uintptr) { err = ioctl(fd, tiocgpgrp, unsafe.Pointer(&group)) })
	}
	if err != nil {
		return 0
	}
	return int(group)
}
