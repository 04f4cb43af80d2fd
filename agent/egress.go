package main

import (
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

const (
	egressQueueLength = 256
	egressPatience    = 30 * time.Second
)

// egressQueue hands connections of the guest's programs to the host, which waits for them with requests.
type egressQueue struct {
	lock    sync.Mutex
	open    bool
	waiting chan net.Conn
}

func newEgressQueue() *egressQueue {
	return &egressQueue{waiting: make(chan net.Conn, egressQueueLength)}
}

func (a *agent) openEgress(w http.ResponseWriter, r *http.Request) error {
	var request struct {
		Port int `json:"port"`
	}
	if err := decode(r.Body, &request); err != nil {
		return err
	}
	if request.Port < 1 || request.Port > 65535 {
		return fail(400, "bad_request", "A port is a number from 1 to 65535.")
	}
	q := a.egress
	q.lock.Lock()
	defer q.lock.Unlock()
	if !q.open {
		listener, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(request.Port)))
		if err != nil {
			return fail(409, "port_in_use", "Port %d of the guest is in use: %s.", request.Port, err)
		}
		q.open = true
		go q.take(listener)
	}
	writeJSON(w, 200, map[string]bool{"open": true})
	return nil
}

func (q *egressQueue) take(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			timer := time.NewTimer(egressPatience)
			defer timer.Stop()
			select {
			case q.waiting <- conn:
			case <-timer.C:
				conn.Close() // nobody on the host's side takes it
			}
		}()
	}
}

// drop ends what still waits; after a restore its other side may be another machine's.
func (q *egressQueue) drop() {
	for {
		select {
		case conn := <-q.waiting:
			conn.Close()
		default:
			return
		}
	}
}

func (a *agent) acceptEgress(w http.ResponseWriter, r *http.Request) error {
	if !isUpgrade(r) {
		return fail(426, "upgrade_required", "This is a stream.")
	}
	select {
	case guest := <-a.egress.waiting:
		host, reader, err := upgrade(w, r)
		if err != nil || host == nil {
			a.egress.waiting <- guest // the host went away; the next one takes it
			return err
		}
		join(host, reader, guest)
	case <-r.Context().Done():
	}
	return nil
}

func (a *agent) connect(w http.ResponseWriter, r *http.Request) error {
	port, err := numberOf(r, "port", 0, 1, 65535)
	if err != nil {
		return err
	}
	if !isUpgrade(r) {
		return fail(426, "upgrade_required", "This is a stream.")
	}
	guest, err := net.DialTimeout("tcp", net.JoinHostPort("127.0.0.1", strconv.FormatInt(port, 10)), 10*time.Second)
	if err != nil {
		return fail(502, "connection_refused", "Nothing answers on port %d of the guest: %s.", port, err)
	}
	host, reader, err := upgrade(w, r)
	if err != nil || host == nil {
		guest.Close()
		return err
	}
	join(host, reader, guest)
	return nil
}

// join copies both ways; the end of one direction is passed on and the other goes on.
func join(host net.Conn, fromHost io.Reader, guest net.Conn) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		io.Copy(guest, fromHost)
		closeWrite(guest)
	}()
	io.Copy(host, guest)
	closeWrite(host)
	<-done
	host.Close()
	guest.Close()
}

func closeWrite(conn net.Conn) {
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
		return
	}
	conn.Close()
}
