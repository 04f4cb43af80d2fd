package main

import (
	"encoding/json"
	"net"
	"testing"
)

func TestAProcessOutlivesAFreezeAndGoesOnAtItsOffset(t *testing.T) {
	c := startAgent(t)
	request := shell("echo one; read x; echo $x; read y; echo $y")
	request["stdin"], request["cwd"] = "pipe", c.base
	body, _ := json.Marshal(request)
	conn, reader, _ := c.open("POST", "/v1/processes", string(body), true)
	defer conn.Close()
	started, _ := readFrame(reader)
	var process struct{ ID string }
	json.Unmarshal(started.payload, &process)
	if f, _ := readFrame(reader); string(f.payload) != "one\n" {
		t.Fatalf("%q", f.payload)
	}
	if status, _ := c.call("POST", "/v1/freeze", "{}"); status != 200 {
		t.Fatal(status)
	}
	if rest := collect(t, reader); rest.exit != nil || len(rest.out) != 0 {
		t.Errorf("the stream ended with %+v", rest)
	}
	c.await("it listens again", func() bool {
		conn, err := net.Dial("unix", c.base+"/a.sock")
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	c.call("PUT", "/v1/processes/"+process.ID+"/stdin", "two\n")
	c.call("PUT", "/v1/processes/"+process.ID+"/stdin?close=1", "three\n")
	conn, reader, _ = c.open("GET", "/v1/processes/"+process.ID+"/stream?offset=4", "", true)
	defer conn.Close()
	if got := collect(t, reader); string(got.out) != "two\nthree\n" || got.from != 4 || got.exit == nil {
		t.Errorf("%q from %d, %+v", got.out, got.from, got.exit)
	}
}
