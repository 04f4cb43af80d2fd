package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

func queryFor(name string, kind uint16) []byte {
	query := []byte{0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0}
	query = append(query, inLabels(name)...)
	query = binary.BigEndian.AppendUint16(query, kind)
	return binary.BigEndian.AppendUint16(query, 1)
}

// addressIn gives the A record of an answer, or its code.
func addressIn(answer []byte) (net.IP, byte) {
	if binary.BigEndian.Uint16(answer[6:]) == 0 {
		return nil, answer[3] & 15
	}
	return net.IP(answer[len(answer)-4:]), answer[3] & 15
}

func TestANameKeepsItsAddressAndTheAddressItsName(t *testing.T) {
	names := newFakeNames(nil)
	seen := map[string]string{}
	for n := range 300 {
		name := fmt.Sprintf("h%d.example.com", n)
		answer, lost, _ := names.answer(queryFor(strings.ToUpper(name), typeA))
		ip, code := addressIn(answer)
		if code != 0 || lost != "" || !inFakeNet(ip) || names.name(ip) != name || seen[ip.String()] != "" {
			t.Fatalf("%s: %v %d", name, ip, code)
		}
		seen[ip.String()] = name
	}
	again, _, _ := names.answer(queryFor("h7.example.com", typeA))
	if ip, _ := addressIn(again); seen[ip.String()] != "h7.example.com" {
		t.Errorf("another address the second time: %v", ip)
	}
	ip, _ := addressIn(again)
	reversed := fmt.Sprintf("%d.%d.%d.%d.in-addr.arpa", ip[3], ip[2], ip[1], ip[0])
	back, _, _ := names.answer(queryFor(reversed, typePTR))
	if !bytes.Contains(back, inLabels("h7.example.com")) {
		t.Error("its PTR is another name")
	}
}

func TestOldNamesMakeRoomAndTheirAddressesDoNotLeadElsewhereByMistake(t *testing.T) {
	names := newFakeNames(nil)
	first := names.address("first.example.com")
	for n := range maxNames {
		names.address(fmt.Sprintf("n%d.example.com", n))
	}
	if len(names.names) != maxNames || len(names.byName) != maxNames {
		t.Errorf("%d and %d names are kept", len(names.names), len(names.byName))
	}
	if name := names.name(first); name == "first.example.com" {
		t.Error("the oldest was kept")
	}
	if ip := names.address("first.example.com"); names.name(ip) != "first.example.com" {
		t.Error("a name that came back has another's address")
	}
}

func TestWhatLeadsOutIsWhatWasPermitted(t *testing.T) {
	names := newFakeNames(nil)
	names.permit(false, []string{"host.pyro.internal", "db"})
	for name, out := range map[string]bool{
		"example.com": true, "a.b.example.com": true, "host.pyro.internal": true, "db": true,
		"x.host.pyro.internal": false, "other.internal": false, "printer.local": false, "router": false, "a.onion": false,
		"exa mple.com": false, "bad\x00.com": false, "caf\xe9.com": false, strings.Repeat("a", 60) + strings.Repeat(".b", 100): false,
	} {
		_, lost, _ := names.answer(queryFor(name, typeA))
		if (lost == "") != out {
			t.Errorf("%q: lost %q", name, lost)
		}
	}
	names.permit(true, []string{"db"})
	for _, name := range []string{"example.com", "host.pyro.internal", "db"} {
		if answer, lost, _ := names.answer(queryFor(name, typeA)); lost != name || answer[3]&15 != noSuchName {
			t.Errorf("%s leads out of a network that is off", name)
		}
	}
	if ip, _ := addressIn(func() []byte { a, _, _ := names.answer(queryFor("x.localhost", typeA)); return a }()); !ip.IsLoopback() {
		t.Error("localhost is not the loopback")
	}
}

func TestALostNameIsToldBeforeItsProgramHearsAndAFloodIsNotWaitedFor(t *testing.T) {
	told, release := make(chan string, maxNameTelling), make(chan bool)
	names := newFakeNames(func(name string) { told <- name; <-release })
	names.permit(true, nil)
	packets, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go names.answerPackets(packets)
	defer packets.Close()
	ask := func(name string) (*net.UDPConn, []byte) {
		conn, err := net.DialUDP("udp4", nil, packets.LocalAddr().(*net.UDPAddr))
		if err != nil {
			t.Fatal(err)
		}
		conn.Write(queryFor(name, typeA))
		return conn, make([]byte, 512)
	}
	conn, buffer := ask("first.example.com")
	defer conn.Close()
	if name := <-told; name != "first.example.com" {
		t.Fatal(name)
	}
	conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := conn.Read(buffer); err == nil {
		t.Error("it was answered before it was told")
	}
	for n := range maxNameTelling - 1 { // all that may wait
		more, _ := ask(fmt.Sprintf("n%d.example.com", n))
		defer more.Close()
		<-told
	}
	flood, buffer := ask("flood.example.com")
	defer flood.Close()
	flood.SetReadDeadline(time.Now().Add(10 * time.Second))
	if n, err := flood.Read(buffer); err != nil || buffer[3]&15 != noSuchName {
		t.Errorf("a flood makes everybody wait: %d %v", n, err)
	}
	close(release)
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := conn.Read(buffer); err != nil {
		t.Error("no answer after it was told")
	}
}

func TestSlowAndHostileClientsOfTheNamesKeepNobodyOut(t *testing.T) {
	names := newFakeNames(nil)
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go names.answerStreams(listener)
	defer listener.Close()
	for range 20 { // they say half a query, and nothing more
		conn, err := net.Dial("tcp4", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.Write([]byte{0, 40, 1})
	}
	conn, err := net.Dial("tcp4", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	query := queryFor("example.com", typeA)
	conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(query))), query...))
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	answer := make([]byte, 2)
	if _, err := io.ReadFull(conn, answer); err != nil {
		t.Fatal(err)
	}
}

func FuzzNames(f *testing.F) {
	f.Add(queryFor("example.com", typeA))
	f.Add(queryFor("1.0.64.127.in-addr.arpa", typePTR))
	f.Add(queryFor("x.local", typeANY))
	f.Add([]byte{0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 12})
	names := newFakeNames(nil)
	f.Fuzz(func(t *testing.T, query []byte) {
		answer, lost, _ := names.answer(query)
		if answer == nil {
			return
		}
		if !bytes.Equal(answer[:2], query[:2]) || answer[2]&0x80 == 0 || len(answer) > len(query)+2+2+2+4+2+255 {
			t.Fatalf("%x is no answer to %x", answer, query)
		}
		name, end := questionName(answer, 12)
		if asked, at := questionName(query, 12); asked != name || at != end {
			t.Fatal("the question was changed")
		}
		if lost != "" && binary.BigEndian.Uint16(answer[6:]) != 0 {
			t.Fatal("lost, and answered")
		}
		if ip, _ := addressIn(answer); ip != nil && binary.BigEndian.Uint16(query[end:]) == typeA && !ip.IsLoopback() {
			t.Fatalf("%v is not an address of this machine", ip)
		}
	})
}

// pieces is a host's answer, cut as the network cuts it.
func FuzzLedAnswers(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 Connection established\r\n\r\nhello"), 3)
	f.Add([]byte("HTTP/1.1 403 Forbidden\r\n\r\n"), 1)
	f.Add(bytes.Repeat([]byte("x"), maxAnswerHead+5), 1000)
	f.Fuzz(func(t *testing.T, answer []byte, step int) {
		step = max(1, min(step, 4096))
		mine, theirs := net.Pipe()
		var got []byte
		var reading sync.WaitGroup
		reading.Add(1)
		go func() { defer reading.Done(); got, _ = io.ReadAll(mine) }()
		led := &ledConn{Conn: theirs}
		var failed error
		for at := 0; at < len(answer) && failed == nil; at += step {
			_, failed = led.Write(answer[at:min(len(answer), at+step)])
		}
		theirs.Close()
		reading.Wait()
		end := bytes.Index(answer, []byte("\r\n\r\n"))
		granted := bytes.HasPrefix(answer, []byte("HTTP/1.1 200")) && end >= 0 && end < maxAnswerHead
		if !granted && len(got) > 0 && end < maxAnswerHead-4096 {
			t.Fatalf("a program read %q of a refusal", got)
		}
		if granted && failed == nil && !bytes.Equal(got, answer[end+4:]) {
			t.Fatalf("%q instead of %q", got, answer[end+4:])
		}
	})
}

func TestABurstOfConnectionsIsBoundedAndEachIsServedOrClosed(t *testing.T) {
	q := newEgressQueue()
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go q.take(listener, q.put)
	gone := make(chan struct{})
	defer close(gone)
	for range 4 {
		go func() {
			for guest := q.next(gone); guest != nil; guest = q.next(gone) {
				guest.Write([]byte("x"))
				guest.Close()
			}
		}()
	}
	const burst = 2000
	var all sync.WaitGroup
	results := make(chan bool, burst)
	slots := make(chan bool, 200)
	for range burst {
		all.Add(1)
		go func() {
			defer all.Done()
			slots <- true
			defer func() { <-slots }()
			conn, err := net.Dial("tcp4", listener.Addr().String())
			if err != nil {
				results <- false
				return
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(20 * time.Second))
			n, _ := conn.Read(make([]byte, 1))
			results <- n == 1
		}()
	}
	all.Wait()
	close(results)
	good := 0
	for ok := range results {
		if ok {
			good++
		}
	}
	if good < burst*9/10 {
		t.Errorf("%d of %d were served", good, burst)
	}
}
