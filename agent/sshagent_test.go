package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestKeysAreAskedForOutside(t *testing.T) {
	q := newEgressQueue()
	path := filepath.Join(t.TempDir(), "agent")
	serve := func(wanted bool) {
		q.lock.Lock()
		defer q.lock.Unlock()
		q.serveKeys(path, wanted)
	}
	for range 2 { // the second time, the file is gone: a guest removed it
		serve(true)
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		guest := q.next(nil)
		buffer := make([]byte, 200)
		n, err := guest.Read(buffer)
		if err != nil || !strings.HasPrefix(string(buffer[:n]), "SSH-AGENT keys HTTP/1.1\r\n") {
			t.Errorf("%q %v", buffer[:n], err)
		}
		conn.Close()
		guest.Close()
		os.Remove(path)
	}
	serve(false)
	if _, err := net.Dial("unix", path); err == nil || exists(path) || q.keys != nil {
		t.Errorf("it still listens: %v", err)
	}
}
