package main

import (
	"errors"
	"io"
	"os"
	"syscall"
	"testing"
	"time"
)

// vsockPair is a connection as `vsockListener` gives it, over a pair of sockets: few computers have vsock.
func vsockPair(t *testing.T) (*vsockConn, *os.File) {
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "vsock"), os.NewFile(uintptr(pair[1]), "peer")
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	theirs.SetDeadline(time.Now().Add(10 * time.Second))
	return &vsockConn{ours}, theirs
}

func TestAHalfCloseIsPassedOnOverVsock(t *testing.T) {
	conn, peer := vsockPair(t)
	io.WriteString(conn, "said")
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(peer); string(got) != "said" || err != nil {
		t.Errorf("%q %v", got, err)
	}
	io.WriteString(peer, "answered")
	answer := make([]byte, 8)
	if _, err := io.ReadFull(conn, answer); string(answer) != "answered" {
		t.Errorf("%q %v", answer, err)
	}
}

func TestAReadOverVsockEndsAtItsDeadline(t *testing.T) {
	conn, _ := vsockPair(t)
	if err := conn.SetDeadline(time.Now().Add(time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

func TestAPortThatIsNoNumberIsRefused(t *testing.T) {
	for _, port := range []string{"", "x", "-1", "4294967296"} {
		if listener, err := listenVsock(port); err == nil {
			listener.Close()
			t.Errorf("%q was taken", port)
		}
	}
}
