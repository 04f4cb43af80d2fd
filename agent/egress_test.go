package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"testing"
	"time"
)

func TestConnectPassesHalfClosesOn(t *testing.T) {
	c := startAgent(t)
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		all, _ := io.ReadAll(conn) // until the client's half close
		fmt.Fprintf(conn, "got %d", len(all))
		conn.Close()
	}()
	conn, reader, _ := c.open("GET", fmt.Sprintf("/v1/connect?port=%d", listener.Addr().(*net.TCPAddr).Port), "", true)
	defer conn.Close()
	for range 5 {
		conn.Write(appendFrame(nil, frameData, 0, make([]byte, 60_000)))
	}
	conn.Write(appendFrame(nil, frameEnd, 0, nil))
	var answer bytes.Buffer
	if err := unframe(&answer, reader); err != nil || answer.String() != "got 300000" {
		t.Errorf("%q %v", answer.String(), err)
	}
	if _, err := reader.ReadByte(); err != io.EOF {
		t.Errorf("both directions have ended, the connection has not: %v", err)
	}
	if status, answer := c.call("GET", "/v1/connect?port=1", ""); status != 426 {
		t.Errorf("%d %s", status, answer)
	}
	_, _, response := c.open("GET", fmt.Sprintf("/v1/connect?port=%d", freePort(t)), "", true)
	if response.StatusCode != 502 {
		t.Errorf("%d", response.StatusCode)
	}
	for host, status := range map[string]int{"10.0.0.1": 400, "127.64.0.20": 400, "localhost": 400, "127.0.0.7": 502, "::1": 502} {
		_, _, response := c.open("GET", fmt.Sprintf("/v1/connect?port=%d&host=%s", freePort(t), host), "", true)
		if response.StatusCode != status {
			t.Errorf("%s: %d", host, response.StatusCode)
		}
	}
}

func TestABrokenConnectionIsNoEnd(t *testing.T) {
	c := startAgent(t)
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	seen := make(chan error, 1)
	go func() {
		for range 2 {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			io.WriteString(conn, "half of it")
			conn.(*net.TCPConn).SetLinger(0)
			_, err = conn.Read(make([]byte, 1))
			conn.Close() // a reset, because of SO_LINGER 0
			seen <- err
		}
	}()
	target := fmt.Sprintf("/v1/connect?port=%d", listener.Addr().(*net.TCPAddr).Port)
	conn, reader, _ := c.open("GET", target, "", true)
	conn.Write(appendFrame(nil, frameData, 0, []byte("x")))
	var answer bytes.Buffer
	if err := unframe(&answer, reader); err == nil || answer.String() != "half of it" {
		t.Errorf("a reset in the guest looks like an end: %q %v", answer.String(), err)
	}
	<-seen
	conn, _, _ = c.open("GET", target, "", true)
	conn.Close() // without an end
	if err := <-seen; err == nil {
		t.Error("the guest saw bytes that were never sent")
	}
	conn, reader, _ = c.open("GET", target, "", true)
	conn.Write([]byte("GET / HTTP/1.1\r\n\r\n")) // no frame
	if _, err := io.ReadAll(reader); err != nil {
		t.Errorf("%v", err)
	}
}

func TestAnEgressConnectionOutlivesARequestThatGaveUp(t *testing.T) {
	c := startAgent(t)
	port := freePort(t)
	if status, answer := c.call("POST", "/v1/egress/open", fmt.Sprintf(`{"port":%d}`, port)); status != 200 {
		t.Fatal(answer)
	}
	gaveUp, err := net.Dial("unix", c.base+"/a.sock")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(gaveUp, "GET /v1/egress/accept HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: pyro-stream\r\n\r\n")
	gaveUp.Close()
	for i := range 3 { // as many at once as wait
		guest, err := net.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Fatal(err)
		}
		defer guest.Close()
		fmt.Fprintf(guest, "hello %d", i)
		guest.(*net.TCPConn).CloseWrite()
	}
	greetings := map[string]bool{} // in whatever order they were queued
	for range 3 {
		conn, reader, _ := c.open("GET", "/v1/egress/accept", "", true)
		var greeting bytes.Buffer
		if err := unframe(&greeting, reader); err != nil {
			t.Error(err)
		}
		greetings[greeting.String()] = true
		conn.Close()
	}
	for i := range 3 {
		if !greetings[fmt.Sprintf("hello %d", i)] {
			t.Errorf("connection %d was lost: %v", i, greetings)
		}
	}
}

func TestAQueuedEgressConnectionIsClosedWhenNobodyTakesIt(t *testing.T) {
	q := newEgressQueue()
	q.patience = time.Millisecond
	ours, theirs := net.Pipe()
	q.put(ours)
	theirs.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := theirs.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("%v", err)
	}
	if len(q.waiting) != 0 {
		t.Error("it still stands in the queue")
	}
}
