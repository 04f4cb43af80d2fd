package main

import (
	"encoding/hex"
	"errors"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	egressQueueLength = 256
	egressPatience    = 30 * time.Second
)

// egressQueue hands connections of the guest's programs to the host, which waits for them with requests.
type egressQueue struct {
	lock     sync.Mutex
	open     bool
	led      bool
	port     int
	proxies  []net.Listener
	keys     net.Listener // of ssh; nil where the user named no server
	names    *fakeNames
	patience time.Duration
	asking   atomic.Int32  // requests that wait for one
	waiting  []*guestConn  // oldest first
	changed  chan struct{} // holds a token when `waiting` may have something for a request that waits
}

type guestConn struct {
	net.Conn
	deadline *time.Timer
}

func newEgressQueue() *egressQueue {
	return &egressQueue{patience: egressPatience, changed: make(chan struct{}, 1)}
}

// openEgress says what the network is from now on: `off`, where names fail at once and the host hears of them, or a
// proxy on `port` and the names that lead to it. It is said anew after each restore, and when the user changes it.
func (a *agent) openEgress(w http.ResponseWriter, r *http.Request) error {
	var request struct {
		Port  int      `json:"port"`
		Off   bool     `json:"off"`
		Local []string `json:"local"`
		Keys  bool     `json:"keys"`
	}
	if err := decode(r.Body, &request); err != nil {
		return err
	}
	if !request.Off && (request.Port < 1 || request.Port > 65535) {
		return fail(400, "bad_request", "A port is a number from 1 to 65535.")
	}
	if len(request.Local) > maxLocalNames {
		return fail(400, "bad_request", "At most %d names of the local network.", maxLocalNames)
	}
	q := a.egress
	q.lock.Lock()
	defer q.lock.Unlock()
	if q.names == nil {
		q.names = newFakeNames(q.tell)
	}
	q.names.permit(request.Off, request.Local)
	q.serveKeys(sshAgentPath, request.Keys && !request.Off)
	if request.Off {
		q.closeProxy()
		if a.init {
			if err := q.serveNames(); err != nil {
				log.Printf("names are not answered: %s", err)
			}
		}
		writeJSON(w, 200, map[string]bool{"open": false})
		return nil
	}
	if q.open && q.port != request.Port {
		return fail(409, "already_open", "Egress listens on port %d already.", q.port)
	}
	if !q.open {
		port := strconv.Itoa(request.Port)
		listener, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", port))
		if err != nil {
			return fail(409, "port_in_use", "Port %d of the guest is in use: %s.", request.Port, err)
		}
		q.open, q.port, q.proxies = true, request.Port, []net.Listener{listener}
		go q.take(listener, q.put)
		if second, err := net.Listen("tcp6", net.JoinHostPort("::1", port)); err == nil { // where there is IPv6
			q.proxies = append(q.proxies, second)
			go q.take(second, q.put)
		}
	}
	if a.init && a.seedDevice == "" { // elsewhere the kernel has no such table, and the variables have to do
		if err := q.lead(); err != nil {
			log.Printf("no way out but by the proxy's variables: %s", err)
		}
	}
	writeJSON(w, 200, map[string]bool{"open": true})
	return nil
}

func (q *egressQueue) closeProxy() {
	for _, listener := range q.proxies {
		listener.Close()
	}
	q.open, q.proxies = false, nil
}

func (q *egressQueue) take(listener net.Listener, put func(net.Conn)) {
	for {
		conn, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(10 * time.Millisecond) // out of descriptors for now
			continue
		}
		put(conn)
	}
}

// put appends a connection that waits from now on; beyond the bound it is closed.
func (q *egressQueue) put(conn net.Conn) {
	guest := &guestConn{Conn: conn}
	q.lock.Lock()
	if len(q.waiting) >= egressQueueLength {
		q.lock.Unlock()
		conn.Close()
		return
	}
	guest.deadline = time.AfterFunc(q.patience, func() {
		if q.remove(guest) {
			conn.Close() // nobody on the host's side takes it
		}
	})
	q.waiting = append(q.waiting, guest)
	q.lock.Unlock()
	q.wake()
}

func (q *egressQueue) wake() {
	select {
	case q.changed <- struct{}{}:
	default:
	}
}

// remove says whether the connection still waited; from then on it is the caller's.
func (q *egressQueue) remove(guest *guestConn) bool {
	q.lock.Lock()
	defer q.lock.Unlock()
	for i, other := range q.waiting {
		if other == guest {
			q.waiting = append(q.waiting[:i], q.waiting[i+1:]...)
			return true
		}
	}
	return false
}

// next waits for a connection until `gone`; whoever takes one wakes the next request if more wait.
func (q *egressQueue) next(gone <-chan struct{}) *guestConn {
	for {
		q.lock.Lock()
		if len(q.waiting) > 0 {
			guest := q.waiting[0]
			q.waiting = q.waiting[1:]
			more := len(q.waiting) > 0
			q.lock.Unlock()
			guest.deadline.Stop()
			if more {
				q.wake()
			}
			return guest
		}
		q.lock.Unlock()
		select {
		case <-q.changed:
		case <-gone:
			return nil
		}
	}
}

// giveBack puts a connection first again: the request that took it went away.
func (q *egressQueue) giveBack(guest *guestConn) {
	q.lock.Lock()
	q.waiting = append([]*guestConn{guest}, q.waiting...)
	guest.deadline = time.AfterFunc(q.patience, func() {
		if q.remove(guest) {
			guest.Close()
		}
	})
	q.lock.Unlock()
	q.wake()
}

// drop ends what still waits; after a restore its other side may be another machine's.
func (q *egressQueue) drop() {
	q.lock.Lock()
	dropped := q.waiting
	q.waiting = nil
	q.lock.Unlock()
	for _, guest := range dropped {
		guest.deadline.Stop()
		guest.Close()
	}
}

func (a *agent) acceptEgress(w http.ResponseWriter, r *http.Request) error {
	if err := wantUpgrade(r); err != nil {
		return err
	}
	gone := r.Context().Done()
	a.egress.asking.Add(1)
	guest := a.egress.next(gone)
	a.egress.asking.Add(-1)
	if guest == nil {
		a.egress.wake() // it may have been woken instead of another one
		return nil
	}
	select {
	case <-gone:
		a.egress.giveBack(guest)
		return nil
	default:
	}
	host, reader, err := upgrade(w, r)
	if err != nil || host == nil {
		a.egress.giveBack(guest)
		return err
	}
	join(host, reader, guest.Conn)
	return nil
}

// dialGuest connects to what listens on a port of the guest's loopback: many servers listen on ::1 alone, which is what
// `localhost` means first.
func dialGuest(port int64) (net.Conn, error) {
	text := strconv.FormatInt(port, 10)
	conn, refused := net.DialTimeout("tcp", net.JoinHostPort("127.0.0.1", text), 10*time.Second)
	if refused == nil {
		return conn, nil
	}
	for _, address := range append([]string{"::1"}, listeners(port)...) {
		if conn, err := net.DialTimeout("tcp", net.JoinHostPort(address, text), 10*time.Second); err == nil {
			return conn, nil
		}
	}
	return nil, refused
}

// listeners are the other IPv4 addresses on which something listens at a port, from /proc/net/tcp (proc_net_tcp.txt).
func listeners(port int64) []string {
	const listening = "0A"
	var found []string
	content, _ := os.ReadFile("/proc/net/tcp")
	for _, line := range strings.Split(string(content), "\n") {
		fields := strings.Fields(line)
		if len(fields) < 4 || fields[3] != listening {
			continue
		}
		address, number, _ := strings.Cut(fields[1], ":")
		raw, err := hex.DecodeString(address)
		if at, bad := strconv.ParseInt(number, 16, 32); err != nil || bad != nil || at != port || len(raw) != 4 {
			continue
		}
		found = append(found, net.IPv4(raw[3], raw[2], raw[1], raw[0]).String())
	}
	return found
}

func (a *agent) connect(w http.ResponseWriter, r *http.Request) error {
	port, err := numberOf(r, "port", 0, 1, 65535)
	if err != nil {
		return err
	}
	if port == 0 {
		return fail(400, "bad_request", "port is missing.")
	}
	if err := wantUpgrade(r); err != nil {
		return err
	}
	dial := func() (net.Conn, error) { return dialGuest(port) }
	if host := r.URL.Query().Get("host"); host != "" {
		ip := net.ParseIP(host)
		if ip == nil || !ip.IsLoopback() || ip.To4() != nil && inFakeNet(ip) {
			return fail(400, "bad_request", "host is no address of the guest's own.")
		}
		dial = func() (net.Conn, error) {
			return net.DialTimeout("tcp", net.JoinHostPort(host, strconv.FormatInt(port, 10)), 10*time.Second)
		}
	}
	guest, err := dial()
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
