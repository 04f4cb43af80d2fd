package main

import (
	"errors"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"
	"unsafe"
)

// AF_VSOCK has no support in the standard library; from include/uapi/linux/vm_sockets.h.
const (
	afVsock     = 40
	vmaddrAny   = 0xffffffff
	vsockQueued = 128
)

type sockaddrVM struct {
	family   uint16
	reserved uint16
	port     uint32
	cid      uint32
	flags    uint8
	zero     [3]uint8
}

type vsockListener struct{ file *os.File }

type vsockAddr string

func (a vsockAddr) Network() string { return "vsock" }
func (a vsockAddr) String() string  { return string(a) }

func listenVsock(port string) (net.Listener, error) {
	number, err := strconv.ParseUint(port, 10, 32)
	if err != nil {
		return nil, err
	}
	fd, err := syscall.Socket(afVsock, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	address := sockaddrVM{family: afVsock, port: uint32(number), cid: vmaddrAny}
	if _, _, errno := syscall.Syscall(syscall.SYS_BIND, uintptr(fd), uintptr(unsafe.Pointer(&address)), unsafe.Sizeof(address)); errno != 0 {
		syscall.Close(fd)
		return nil, os.NewSyscallError("bind", errno)
	}
	if err := syscall.Listen(fd, vsockQueued); err != nil {
		syscall.Close(fd)
		return nil, os.NewSyscallError("listen", err)
	}
	return &vsockListener{os.NewFile(uintptr(fd), "vsock")}, nil
}

func (l *vsockListener) Accept() (net.Conn, error) {
	raw, err := l.file.SyscallConn()
	if err != nil {
		return nil, err
	}
	var accepted uintptr
	var errno syscall.Errno
	err = raw.Read(func(fd uintptr) bool {
		accepted, _, errno = syscall.Syscall6(syscall.SYS_ACCEPT4, fd, 0, 0, syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0, 0)
		return errno != syscall.EAGAIN && errno != syscall.EINTR
	})
	if err != nil {
		return nil, err
	}
	if errno != 0 {
		return nil, os.NewSyscallError("accept", errno)
	}
	return &vsockConn{os.NewFile(accepted, "vsock")}, nil
}

func (l *vsockListener) Close() error   { return l.file.Close() }
func (l *vsockListener) Addr() net.Addr { return vsockAddr("vsock") }

type vsockConn struct{ *os.File }

func (c *vsockConn) LocalAddr() net.Addr  { return vsockAddr("vsock") }
func (c *vsockConn) RemoteAddr() net.Addr { return vsockAddr("vsock") }

func (c *vsockConn) CloseWrite() error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var failure error
	raw.Control(func(fd uintptr) { failure = syscall.Shutdown(int(fd), syscall.SHUT_WR) })
	return failure
}

func (c *vsockConn) SetDeadline(t time.Time) error {
	return errors.Join(c.File.SetReadDeadline(t), c.File.SetWriteDeadline(t))
}
