package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

const (
	// Connections that wait for a request. Each that gets one is replaced at once, so a burst is paced, not bounded.
	dialled = 3
	// The host cannot call a guest: what has no daemon looks again and again. Eagerly at first, because a snapshot
	// or a restore ends within moments; then so seldom that a machine whose daemon is gone costs nothing to speak of.
	eagerPoll  = time.Millisecond
	eagerTries = 300
	idlePoll   = 50 * time.Millisecond
	firstBytes = 4096
	oPath      = 0x200000 // O_PATH of include/uapi/asm-generic/fcntl.h
)

// dialListener accepts connections that it made itself. No directory of the host is writable in here, so the agent
// cannot have a socket that the daemon finds; the daemon listens, and this keeps a few connections dialled to it.
// One is "accepted" when its first bytes come.
type dialListener struct {
	path    string
	ready   chan net.Conn
	closed  chan struct{}
	once    sync.Once
	dialing sync.Mutex // one at a time looks for the daemon
	lock    sync.Mutex
	idle    map[net.Conn]struct{}
	workers sync.WaitGroup
}

func dialOut(path string) *dialListener {
	l := &dialListener{path: path, ready: make(chan net.Conn), closed: make(chan struct{}), idle: map[net.Conn]struct{}{}}
	for range dialled {
		l.workers.Add(1)
		go l.work()
	}
	return l
}

func (l *dialListener) work() {
	defer l.workers.Done()
	buffer := make([]byte, firstBytes)
	for {
		conn := l.dial()
		if conn == nil {
			return
		}
		n, err := conn.Read(buffer)
		l.lock.Lock()
		delete(l.idle, conn)
		l.lock.Unlock()
		if n == 0 || err != nil {
			conn.Close() // the daemon is gone, or this listener is closed
			continue
		}
		select {
		case l.ready <- &begunConn{Conn: conn, first: append([]byte(nil), buffer[:n]...)}:
		case <-l.closed:
			conn.Close()
			return
		}
	}
}

// dial gives a connection to the daemon, however long there is none; nil once the listener is closed.
func (l *dialListener) dial() net.Conn {
	l.dialing.Lock()
	defer l.dialing.Unlock()
	for try := 0; ; try++ {
		select {
		case <-l.closed:
			return nil
		default:
		}
		if conn, err := net.Dial("unix", l.path); err == nil {
			l.lock.Lock()
			l.idle[conn] = struct{}{}
			l.lock.Unlock()
			select {
			case <-l.closed: // it may not have seen this one
				conn.Close()
			default:
			}
			return conn
		}
		pause := idlePoll
		if try < eagerTries {
			pause = eagerPoll
		}
		select {
		case <-l.closed:
			return nil
		case <-time.After(pause):
		}
	}
}

func (l *dialListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.ready:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close returns when no connection of this listener waits any more.
func (l *dialListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	l.lock.Lock()
	for conn := range l.idle {
		conn.Close()
	}
	l.lock.Unlock()
	l.workers.Wait()
	return nil
}

func (l *dialListener) Addr() net.Addr { return &net.UnixAddr{Name: l.path, Net: "unix"} }

// begunConn is a connection whose first bytes were read already.
type begunConn struct {
	net.Conn
	first []byte
}

func (c *begunConn) Read(into []byte) (int, error) {
	if len(c.first) > 0 {
		n := copy(into, c.first)
		c.first = c.first[n:]
		return n, nil
	}
	return c.Conn.Read(into)
}

func (c *begunConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// openListener gives what the agent is spoken to on.
func openListener(kind, rest string) (net.Listener, error) {
	switch kind {
	case "dial":
		return dialOut(rest), nil
	case "vsock":
		return listenVsock(rest)
	case "unix":
		os.Remove(rest)
		return net.Listen("unix", rest)
	}
	return nil, net.UnknownNetworkError(kind)
}

// held is the path by a descriptor of its directory, opened once: a guest that takes mounts apart does not cut the
// agent off from the daemon.
func held(path string) string {
	directory, err := syscall.Open(filepath.Dir(path), oPath|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return path
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", directory, filepath.Base(path))
}
