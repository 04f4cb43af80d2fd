package main

import (
	"sync/atomic"
	"syscall"
	"unsafe"
)

// stepDirectory is where `become` enters the working directory.
const stepDirectory = 1

// -- what follows runs after the door's fork: system calls only, no memory of Go's

// become is the way of a program's process to its exec.
//
//go:nosplit
//go:norace
func become(o *order) {
	var none uint64
	syscall.RawSyscall(syscall.SYS_SETSID, 0, 0, 0)
	if o.another == 0 { // another user enters it as that
		if _, _, errno := syscall.RawSyscall(syscall.SYS_CHDIR, o.directory, 0, 0); errno != 0 {
			o.failed, o.where = int32(errno), stepDirectory
			leave()
		}
	}
	for i := uintptr(0); i < uintptr(o.count); i++ {
		if high, _, errno := syscall.RawSyscall(syscall.SYS_FCNTL, uintptr(o.files[i]), syscall.F_DUPFD_CLOEXEC, highDescriptor); errno != 0 {
			o.failed, o.where = int32(errno), 2
			leave()
		} else {
			o.files[i] = int32(high)
		}
	}
	group := int32(-1)
	if o.group >= 0 {
		high, _, _ := syscall.RawSyscall(syscall.SYS_FCNTL, uintptr(o.group), syscall.F_DUPFD_CLOEXEC, highDescriptor)
		group = int32(high)
	}
	for i := uintptr(0); i < uintptr(o.count); i++ {
		syscall.RawSyscall(syscall.SYS_DUP3, uintptr(o.files[i]), i, 0)
	}
	if o.terminal != 0 {
		syscall.RawSyscall(syscall.SYS_IOCTL, 0, uintptr(syscall.TIOCSCTTY), 1)
	}
	syscall.RawSyscall6(syscall.SYS_RT_SIGPROCMASK, sigSetMask, uintptr(unsafe.Pointer(&none)), 0, 8, 0, 0)
	if atomic.LoadInt32(&o.void) != 0 { // looked at after the files were taken: they were still the right ones
		o.failed, o.where = int32(syscall.ETIMEDOUT), 4
		leave()
	}
	if !holds(o) {
		o.failed, o.where = int32(syscall.ENOENT), 5
		leave()
	}
	if group >= 0 { // before it can fork
		self := [1]byte{'0'}
		syscall.RawSyscall(syscall.SYS_WRITE, uintptr(group), uintptr(unsafe.Pointer(&self)), 1)
	}
	if o.another != 0 {
		// Until its exec it would have the agent's files open, for all who run as that user to see in its /proc.
		syscall.RawSyscall(sysCloseRange, uintptr(o.count), 1<<31, 0)
		if errno := rawUserAt(o.uid, o.gid, o.groups, o.groupCount); errno != 0 {
			o.failed, o.where = int32(errno), 6
			leave()
		}
		if _, _, errno := syscall.RawSyscall(syscall.SYS_CHDIR, o.directory, 0, 0); errno != 0 { // as who it runs as
			o.failed, o.where = int32(errno), stepDirectory
			leave()
		}
	}
	if o.builtin != 0 {
		status := uintptr(o.status)
		if n, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, 1, o.prints, o.printed); o.printed > 0 && (errno != 0 || n != o.printed) {
			status = 1
		}
		syscall.RawSyscall(syscall.SYS_EXIT_GROUP, status, 0, 0)
	}
	_, _, errno := syscall.RawSyscall(syscall.SYS_EXECVE, o.program, o.argv, o.environment)
	o.failed, o.where = int32(errno), 3
	leave()
}
