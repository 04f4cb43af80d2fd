package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestASlowReaderLosesNothing(t *testing.T) {
	c := startAgent(t)
	body, _ := json.Marshal(map[string]any{"argv": []string{"head", "-c", "20000000", "/dev/zero"}, "cwd": "/", "output_limit": minRing})
	conn, reader, _ := c.open("POST", "/v1/processes", string(body), true)
	defer conn.Close()
	time.Sleep(200 * time.Millisecond) // the process runs full meanwhile
	if got := collect(t, reader); len(got.out) != 20000000 || got.exit == nil || got.exit.DroppedBytes != 0 {
		t.Errorf("%d bytes, %+v", len(got.out), got.exit)
	}
}

func TestWithNoFollowerTheOldestOutputIsDroppedAndCounted(t *testing.T) {
	c := startAgent(t)
	_, answer := c.call("POST", "/v1/processes", fmt.Sprintf(`{"argv":["head","-c","1000000","/dev/zero"],"cwd":"/","output_limit":%d}`, minRing))
	var started struct{ ID string }
	json.Unmarshal([]byte(answer), &started)
	c.await("it ends", func() bool {
		_, answer := c.call("GET", "/v1/processes/"+started.ID, "")
		return strings.Contains(answer, `"running":false`)
	})
	conn, reader, _ := c.open("GET", "/v1/processes/"+started.ID+"/stream?offset=0", "", true)
	defer conn.Close()
	got := collect(t, reader)
	if got.exit == nil || got.exit.DroppedBytes != 1000000-minRing || got.from != got.exit.DroppedBytes || len(got.out) != minRing {
		t.Errorf("from %d, %d bytes, %+v", got.from, len(got.out), got.exit)
	}
	if status, _ := c.call("DELETE", "/v1/processes/"+started.ID, ""); status != 200 {
		t.Errorf("forgetting it: %d", status)
	}
}

func TestAFrameThatNoClientSendsIsAnsweredWithAnError(t *testing.T) {
	c := startAgent(t)
	body, _ := json.Marshal(map[string]any{"argv": []string{"sleep", "5"}, "cwd": "/"})
	conn, reader, _ := c.open("POST", "/v1/processes", string(body), true)
	defer conn.Close()
	conn.Write(appendFrame(nil, 99, 0, nil))
	if got := collect(t, reader); got.last.kind != frameError || !bytes.Contains(got.last.payload, []byte("bad_request")) {
		t.Errorf("type %d %s", got.last.kind, got.last.payload)
	}
}

func TestWhatRunsIsNotForgotten(t *testing.T) {
	table := newProcessTable()
	table.byID["p1"] = &process{id: "p1", exit: &exitRecord{}}
	table.byID["p2"] = &process{id: "p2"}
	table.forget([]string{"p1", "p2", "", "p9"})
	if _, err := table.get("p1"); err == nil {
		t.Error("p1 has ended and is still known")
	}
	if _, err := table.get("p2"); err != nil {
		t.Error(err)
	}
}
