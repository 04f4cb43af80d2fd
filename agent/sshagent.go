package main

import (
	"log"
	"net"
	"os"
)

// Programs that log in by ssh find an agent (ssh-agent(1)) here. It has no key: what they ask goes to the host, which
// signs for the servers that its user named, and for nothing else.
const sshAgentPath = "/run/pyro-ssh-agent"

// serveKeys opens or closes the socket. The caller has the queue's lock.
func (q *egressQueue) serveKeys(path string, wanted bool) {
	if q.keys != nil && (!wanted || !exists(path)) {
		q.keys.Close() // removes the file
		q.keys = nil
	}
	if !wanted || q.keys != nil {
		return
	}
	os.Remove(path)
	listener, err := net.Listen("unix", path)
	if err == nil {
		err = os.Chmod(path, 0o666) // whoever may run commands in here may use it
	}
	if err != nil {
		log.Printf("no ssh agent: %s", err)
		return
	}
	q.keys = listener
	go q.take(listener, func(conn net.Conn) { q.put(&ledConn{Conn: conn, ask: askFor("SSH-AGENT", "keys", "")}) })
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
