package main

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A daemon's side: takes a connection that the agent dialled, and asks on it.
type daemonSide struct {
	t        *testing.T
	listener net.Listener
}

func listenFor(t *testing.T, path string) daemonSide {
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return daemonSide{t, listener}
}

func (d daemonSide) take() net.Conn {
	d.t.Helper()
	d.listener.(*net.UnixListener).SetDeadline(time.Now().Add(20 * time.Second))
	conn, err := d.listener.Accept()
	if err != nil {
		d.t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	return conn
}

func ask(t *testing.T, conn net.Conn, method, path string) (int, string) {
	t.Helper()
	io.WriteString(conn, method+" "+path+" HTTP/1.1\r\nHost: agent\r\nContent-Length: 0\r\n\r\n")
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(body)
}

func serveDialling(t *testing.T, path string) {
	a := newAgent(config{listen: "dial:" + path, workspace: t.TempDir()})
	go a.serveForever()
}

func TestTheAgentDialsOutAndReplacesEachConnectionThatIsUsed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.sock")
	serveDialling(t, path) // before anybody listens
	d := listenFor(t, path)
	var open []net.Conn
	for range 50 { // many more than are kept dialled, all open at the same time
		conn := d.take()
		defer conn.Close()
		if status, body := ask(t, conn, "GET", "/v1/health"); status != 200 || !strings.Contains(body, "protocol") {
			t.Fatal(status, body)
		}
		open = append(open, conn)
	}
	if len(open) != 50 {
		t.Fatal(len(open))
	}
}

func TestAFreezeAnswersWhenNothingElseIsOpenAndTheAgentComesToTheNextDaemon(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.sock")
	serveDialling(t, path)
	d := listenFor(t, path)
	var idle []net.Conn
	for range dialled {
		idle = append(idle, d.take())
	}
	d.listener.Close()
	if status, body := ask(t, idle[0], "POST", "/v1/freeze"); status != 200 || body != `{"frozen":true}` {
		t.Fatal(status, body)
	}
	for _, conn := range idle { // all are at their end by now: no wait
		conn.SetReadDeadline(time.Now().Add(time.Second))
		if n, err := conn.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("%d, %v", n, err)
		}
	}
	os.Remove(path)
	again := listenFor(t, path)
	conn := again.take()
	defer conn.Close()
	if status, _ := ask(t, conn, "GET", "/v1/health"); status != 200 {
		t.Fatal(status)
	}
}

func TestADaemonThatDiesIsFollowedByTheNext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.sock")
	serveDialling(t, path)
	for range 3 {
		d := listenFor(t, path)
		conn := d.take()
		if status, _ := ask(t, conn, "GET", "/v1/health"); status != 200 {
			t.Fatal(status)
		}
		conn.Close()
		d.listener.Close()
		os.Remove(path)
	}
}
