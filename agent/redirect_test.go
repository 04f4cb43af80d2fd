package main

import (
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"
)

// led gives a connection that the proxy leads, and the program's end of it.
func led(t *testing.T) (*ledConn, net.Conn) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	program, err := net.Dial("tcp4", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	ours, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	program.SetDeadline(time.Now().Add(10 * time.Second))
	t.Cleanup(func() { program.Close(); ours.Close() })
	return &ledConn{Conn: ours, ask: askFor("CONNECT", "example.test:443", "Pyro-Led: 1\r\n")}, program
}

func TestTheProxyIsAskedInTheProgramsPlaceHoweverItsBytesAreCut(t *testing.T) {
	for step := 1; step < 60; step += 7 {
		c, program := led(t)
		asked := ""
		for !strings.HasSuffix(asked, "\r\n\r\n") {
			part := make([]byte, step)
			n, err := c.Read(part)
			if err != nil {
				t.Fatal(err)
			}
			asked += string(part[:n])
		}
		if asked != "CONNECT example.test:443 HTTP/1.1\r\nHost: example.test:443\r\nPyro-Led: 1\r\n\r\n" {
			t.Fatalf("%q", asked)
		}
		answer := []byte("HTTP/1.1 200 Connection established\r\nX: y\r\n\r\nhello")
		for len(answer) > 0 {
			n := min(step, len(answer))
			if taken, err := c.Write(answer[:n]); err != nil || taken != n {
				t.Fatal(taken, err)
			}
			answer = answer[n:]
		}
		c.CloseWrite()
		if got, err := io.ReadAll(program); string(got) != "hello" || err != nil {
			t.Errorf("in steps of %d the program got %q %v", step, got, err)
		}
	}
}

func TestARefusalIsARefusedConnectionAndNotAnEmptyAnswer(t *testing.T) {
	for name, answer := range map[string]string{
		"refused": "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", "no end": strings.Repeat("x", maxAnswerHead),
	} {
		c, program := led(t)
		if _, err := c.Write([]byte(answer)); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%s: %v", name, err)
		}
		if got, err := io.ReadAll(program); len(got) > 0 || !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s: the program got %q %v", name, got, err)
		}
	}
	c, program := led(t)
	c.Write([]byte("HTTP/1.1 200 OK\r\n"))
	c.CloseWrite()
	c.Close() // nothing was promised yet
	if _, err := io.ReadAll(program); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("an answer that broke off: %v", err)
	}
}
