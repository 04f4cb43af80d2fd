package main

import (
	"encoding/binary"
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

// The names that programs ask for, answered without asking anybody: each gets an address of `fakeNet`, which leads a
// connection to `redirectPort`. It is one of the loopback: a restored kernel has no other, and would not come up with
// a connection that was open to one. Whether the name exists is seen when something connects.
const (
	typeA, typePTR, typeAAAA, typeANY = 1, 12, 28, 255
	noSuchName                        = 3
	firstFake                         = 16
	maxNames                          = 1 << 16
	nameTTL                           = 60
	maxQuery                          = 4096
	maxNameClients                    = 64
	maxNameTelling                    = 64
	maxLocalNames                     = 256
)

var (
	fakeNet = &net.IPNet{IP: net.IPv4(127, 64, 0, 0).To4(), Mask: net.CIDRMask(15, 32)}
	// Of the local network, or nobody's: the policy refuses them, and an answer at once is the kindest.
	localSuffixes = []string{".local", ".internal", ".home.arpa", ".invalid", ".onion"}
)

func inFakeNet(ip net.IP) bool { return fakeNet.Contains(ip) }

// fakeNames keeps the last `maxNames` names that were asked for.
type fakeNames struct {
	lock    sync.Mutex
	byName  map[string]uint32
	names   []string
	next    uint32
	off     bool
	local   map[string]bool // names of the local network that the user let in
	tell    func(name string)
	telling chan struct{}
	serving bool // by the queue's lock
}

func newFakeNames(tell func(string)) *fakeNames {
	return &fakeNames{byName: map[string]uint32{}, tell: tell, telling: make(chan struct{}, maxNameTelling)}
}

// permit says which names lead somewhere from now on.
func (f *fakeNames) permit(off bool, local []string) {
	f.lock.Lock()
	defer f.lock.Unlock()
	f.off, f.local = off, map[string]bool{}
	for _, name := range local {
		f.local[name] = true
	}
}

func (f *fakeNames) leadsOut(name string) bool {
	f.lock.Lock()
	defer f.lock.Unlock()
	return !f.off && (f.local[name] || resolvable(name))
}

// heard is called for a name that leads nowhere, and returns when the host knows.
func (f *fakeNames) heard(name string, kind uint16) {
	if f.tell == nil || !sayable(name) || kind != typeA && kind != typeAAAA && kind != typeANY {
		return
	}
	select {
	case f.telling <- struct{}{}:
		f.tell(name)
		<-f.telling
	default: // a flood: the answer does not wait
	}
}

func (f *fakeNames) address(name string) net.IP {
	f.lock.Lock()
	defer f.lock.Unlock()
	at, known := f.byName[name]
	if !known {
		at = f.next % maxNames
		f.next++
		if int(at) < len(f.names) {
			delete(f.byName, f.names[at])
			f.names[at] = name
		} else {
			f.names = append(f.names, name)
		}
		f.byName[name] = at
	}
	ip := make(net.IP, 4)
	binary.BigEndian.PutUint32(ip, binary.BigEndian.Uint32(fakeNet.IP)+firstFake+at)
	return ip
}

func (f *fakeNames) name(ip net.IP) string {
	at := binary.BigEndian.Uint32(ip.To4()) - binary.BigEndian.Uint32(fakeNet.IP) - firstFake
	f.lock.Lock()
	defer f.lock.Unlock()
	if int64(at) >= int64(len(f.names)) {
		return ""
	}
	return f.names[at]
}

// serveNames has names answered, and every program ask here. The caller has the queue's lock.
func (q *egressQueue) serveNames() error {
	if q.names.serving {
		return nil
	}
	packets, err := net.ListenPacket("udp4", "127.0.0.1:53")
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp4", "127.0.0.1:53")
	if err != nil {
		packets.Close()
		return err
	}
	q.names.serving = true
	go q.names.answerPackets(packets)
	go q.names.answerStreams(listener)
	return pointResolver()
}

func (f *fakeNames) answerPackets(packets net.PacketConn) {
	buffer := make([]byte, maxQuery)
	for {
		n, from, err := packets.ReadFrom(buffer)
		if err != nil {
			time.Sleep(time.Millisecond)
			continue
		}
		answer, lost, kind := f.answer(buffer[:n])
		switch {
		case lost != "" && len(f.telling) < maxNameTelling:
			go func() {
				f.heard(lost, kind)
				packets.WriteTo(answer, from)
			}()
		case answer != nil:
			packets.WriteTo(answer, from)
		}
	}
}

func (f *fakeNames) answerStreams(listener net.Listener) {
	slots := make(chan struct{}, maxNameClients)
	for {
		slots <- struct{}{}
		conn, err := listener.Accept()
		if err != nil {
			<-slots
			time.Sleep(10 * time.Millisecond)
			continue
		}
		go func() { defer func() { <-slots }(); f.serve(conn) }()
	}
}

func (f *fakeNames) serve(conn net.Conn) {
	defer conn.Close()
	for {
		conn.SetDeadline(time.Now().Add(5 * time.Second))
		var size [2]byte
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			return
		}
		query := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(conn, query); err != nil {
			return
		}
		answer, lost, kind := f.answer(query)
		if answer == nil {
			return
		}
		if lost != "" {
			f.heard(lost, kind)
		}
		if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...)); err != nil {
			return
		}
	}
}

// answer gives the reply to one query (RFC 1035, 4), nil for what is none, and a name that leads nowhere.
func (f *fakeNames) answer(query []byte) (answer []byte, lost string, asked uint16) {
	if len(query) < 12 || query[2]&0x80 != 0 || binary.BigEndian.Uint16(query[4:]) != 1 {
		return nil, "", 0
	}
	name, end := questionName(query, 12)
	if end < 0 || end+4 > len(query) {
		return nil, "", 0
	}
	kind := binary.BigEndian.Uint16(query[end:])
	question := query[12 : end+4]
	var data []byte
	code := byte(0)
	switch {
	case query[2]&0x78 != 0:
		code = 4 // not implemented: no query
	case name == "localhost" || strings.HasSuffix(name, ".localhost"):
		if kind == typeA || kind == typeANY {
			data, kind = []byte{127, 0, 0, 1}, typeA
		}
	case strings.HasSuffix(name, ".in-addr.arpa") || strings.HasSuffix(name, ".ip6.arpa"):
		if kind != typePTR {
			break
		}
		if known := f.reverse(name); known != "" {
			data = inLabels(known)
		} else {
			code = noSuchName
		}
	case !f.leadsOut(name):
		code, lost, asked = noSuchName, name, kind
	case kind == typeA || kind == typeANY:
		data, kind = f.address(name), typeA
	}
	answer = append([]byte{query[0], query[1], 0x80 | query[2]&0x79, 0x80 | code, 0, 1, 0, 0, 0, 0, 0, 0}, question...)
	if data != nil {
		answer[7] = 1
		answer = append(answer, 0xc0, 12)
		answer = binary.BigEndian.AppendUint16(answer, kind)
		answer = binary.BigEndian.AppendUint16(answer, 1)
		answer = binary.BigEndian.AppendUint32(answer, nameTTL)
		answer = binary.BigEndian.AppendUint16(answer, uint16(len(data)))
		answer = append(answer, data...)
	}
	return answer, lost, asked
}

// resolvable is what may be a public host's name: with a dot, in characters that a CONNECT can carry.
func resolvable(name string) bool {
	if !strings.Contains(name, ".") || len(name) > 253 {
		return false
	}
	for _, suffix := range localSuffixes {
		if strings.HasSuffix(name, suffix) {
			return false
		}
	}
	return sayable(name)
}

// sayable is what can stand in a request.
func sayable(name string) bool {
	for _, c := range []byte(name) {
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.') {
			return false
		}
	}
	return name != "" && len(name) <= 253
}

func (f *fakeNames) reverse(name string) string {
	parts := strings.Split(strings.TrimSuffix(name, ".in-addr.arpa"), ".")
	if len(parts) != 4 {
		return ""
	}
	ip := net.ParseIP(parts[3] + "." + parts[2] + "." + parts[1] + "." + parts[0])
	if ip == nil || !inFakeNet(ip) {
		return ""
	}
	return f.name(ip)
}

// questionName reads a name without pointers, which no question has; -1 for what is none.
func questionName(message []byte, at int) (string, int) {
	var labels []string
	for at < len(message) {
		size := int(message[at])
		at++
		if size == 0 {
			return strings.ToLower(strings.Join(labels, ".")), at
		}
		if size > 63 || at+size > len(message) {
			break
		}
		labels = append(labels, string(message[at:at+size]))
		at += size
	}
	return "", -1
}

func inLabels(name string) []byte {
	var wire []byte
	for _, label := range strings.Split(name, ".") {
		wire = append(append(wire, byte(len(label))), label...)
	}
	return append(wire, 0)
}
