package main

import (
	"encoding/json"
	"fmt"
	"net"
	"testing"
)

func TestWhatKeepsAMachineBusyIsNamed(t *testing.T) {
	c := startAgent(t)
	busy := func() string {
		var answer struct {
			Idle bool
			Busy string
		}
		_, text := c.call("GET", "/v1/idle", "")
		if err := json.Unmarshal([]byte(text), &answer); err != nil || answer.Idle != (answer.Busy == "") {
			t.Fatalf("%s %v", text, err)
		}
		return answer.Busy
	}
	_, text := c.call("POST", "/v1/processes", `{"argv":["sleep","60"],"cwd":"/"}`)
	var started struct{ ID string }
	json.Unmarshal([]byte(text), &started)
	if got := busy(); got != "a command runs" {
		t.Errorf("%q", got)
	}
	c.call("POST", "/v1/processes/"+started.ID+"/signal", `{"signal":"KILL"}`)
	c.await("the command has ended", func() bool { return busy() != "a command runs" })

	port := freePort(t)
	c.call("POST", "/v1/egress/open", fmt.Sprintf(`{"port":%d}`, port))
	guest, err := net.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	c.await("a connection that leaves is seen", func() bool { return busy() == "a connection is open" })
	guest.Close()
}
