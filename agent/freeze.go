package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

const freezeAnswer = 5 * time.Second // a client that does not read its answer keeps no machine frozen

// serveForever serves, and freezes when asked: all connections close, and it begins anew. A daemon that listens for the
// agent's connections has stopped to do so before it asks, so the agent then waits for one that does; a restored copy
// wakes up in that very wait, and finds its own daemon.
func (a *agent) serveForever() error {
	kind, rest, _ := strings.Cut(a.listen, ":")
	if kind == "dial" {
		rest = held(rest)
	}
	for {
		listener, err := openListener(kind, rest)
		if err != nil {
			return err
		}
		server := &http.Server{Handler: a.routes(), MaxHeaderBytes: maxHeader, ReadHeaderTimeout: 30 * time.Second}
		tracked := &trackingListener{Listener: listener, open: map[net.Conn]struct{}{}}
		a.serving.Store(tracked)
		done := make(chan error, 1)
		go func() { done <- server.Serve(tracked) }()
		var asked net.Conn
		select {
		case err := <-done:
			return err
		case asked = <-a.freeze:
		}
		tracked.leave(asked)
		server.Close()
		tracked.closeAll() // upgraded connections are not the server's any more
		<-done
		a.egress.drop()
		a.answerFreeze(asked)
		// Others that asked at the same time are done with, too: their connections were closed.
		for more := true; more; {
			select {
			case asked = <-a.freeze:
				asked.Close()
			default:
				more = false
			}
		}
	}
}

// answerFreeze says that nothing is open any more but this very connection, whose end is the proof.
func (a *agent) answerFreeze(asked net.Conn) {
	const body = `{"frozen":true}`
	asked.SetDeadline(time.Now().Add(freezeAnswer))
	fmt.Fprintf(asked, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(body), body)
	asked.Close()
}

func (a *agent) startFreeze(w http.ResponseWriter, r *http.Request) error {
	// Read first: a client that is still sending when all is closed would never see the answer.
	io.Copy(io.Discard, io.LimitReader(r.Body, maxHeader))
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return err
	}
	select {
	case a.freeze <- conn:
	default:
		conn.Close() // so many have asked already
	}
	return nil
}

// trackingListener knows every connection, so that a freeze can close also those that were upgraded.
type trackingListener struct {
	net.Listener
	lock sync.Mutex
	open map[net.Conn]struct{}
}

type trackedConn struct {
	net.Conn
	owner *trackingListener
}

func (l *trackingListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		tracked := &trackedConn{conn, l}
		l.lock.Lock()
		if len(l.open) >= connectionCap {
			l.lock.Unlock()
			conn.Close()
			continue
		}
		l.open[tracked] = struct{}{}
		l.lock.Unlock()
		return tracked, nil
	}
}

func (c *trackedConn) Close() error {
	c.owner.lock.Lock()
	delete(c.owner.open, c)
	c.owner.lock.Unlock()
	return c.Conn.Close()
}

func (c *trackedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// leave keeps a connection out of `closeAll`.
func (l *trackingListener) leave(conn net.Conn) {
	l.lock.Lock()
	for tracked := range l.open {
		if tracked == conn {
			delete(l.open, tracked)
		}
	}
	l.lock.Unlock()
}

func (l *trackingListener) closeAll() {
	l.lock.Lock()
	connections := make([]net.Conn, 0, len(l.open))
	for conn := range l.open {
		connections = append(connections, conn)
	}
	l.lock.Unlock()
	for _, conn := range connections {
		conn.Close()
	}
}
