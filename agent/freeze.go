package main

import (
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const thawPoll = time.Millisecond // the host cannot signal a frozen guest

// serveForever serves, and freezes when asked: the listener and all connections close, and it listens again
// once the host says `thaw`. A restored copy wakes up in that very wait.
func (a *agent) serveForever() error {
	for {
		listener, err := openListener(a.listen)
		if err != nil {
			return err
		}
		server := &http.Server{Handler: a.routes(), MaxHeaderBytes: maxHeader, ReadHeaderTimeout: 30 * time.Second}
		tracked := &trackingListener{Listener: listener, open: map[net.Conn]struct{}{}}
		done := make(chan error, 1)
		go func() { done <- server.Serve(tracked) }()
		select {
		case err := <-done:
			return err
		case <-a.freeze:
		}
		server.Close()
		tracked.closeAll() // upgraded connections are not the server's any more
		<-done
		a.egress.drop()
		if path, ok := strings.CutPrefix(a.listen, "unix:"); ok {
			os.Remove(path)
			// Only now is nothing open any more that a checkpoint would choke on.
			os.WriteFile(filepath.Join(filepath.Dir(path), "frozen"), nil, 0o600)
			waitForThaw(filepath.Join(filepath.Dir(path), "thaw"))
		}
		// A second request to freeze that came together with the first one is done with.
		select {
		case <-a.freeze:
		default:
		}
	}
}

// waitForThaw looks for a file, and takes it away. One stat a round: a pool machine spends its life here.
func waitForThaw(path string) {
	var stat syscall.Stat_t
	for {
		if syscall.Lstat(path, &stat) == nil && os.Remove(path) == nil {
			return
		}
		time.Sleep(thawPoll)
	}
}

func (a *agent) startFreeze(w http.ResponseWriter, r *http.Request) error {
	// Read first: a client that is still sending when all is closed would never see the answer.
	io.Copy(io.Discard, r.Body)
	// Out before anything is closed: a busy machine may take longer than the server is given to shut down.
	const answer = `{"freezing":true}`
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
	io.WriteString(w, answer)
	http.NewResponseController(w).Flush()
	select {
	case a.freeze <- struct{}{}:
	default:
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
