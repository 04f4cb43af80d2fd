package main

import (
	"bytes"
	"encoding/json"
	"io"
	"testing"
)

// terminal starts a program with a terminal, and gives the way to type and what it shows until its end.
func (c client) terminal(script string) (io.WriteCloser, *bytes.Buffer, func() result) {
	body, _ := json.Marshal(map[string]any{"argv": []string{"sh", "-c", script}, "cwd": "/", "tty": map[string]int{"rows": 24, "cols": 80}})
	conn, reader, response := c.open("POST", "/v1/processes", string(body), true)
	if response.StatusCode != 101 {
		c.t.Fatal(response.Status)
	}
	shown := &bytes.Buffer{}
	for !bytes.Contains(shown.Bytes(), []byte("ready")) {
		f, err := readFrame(reader)
		if err != nil {
			c.t.Fatal(err)
		}
		if f.kind == frameStdout {
			shown.Write(f.payload)
		}
	}
	return conn, shown, func() result { defer conn.Close(); return collect(c.t, reader) }
}

func TestAProgramSeesTheNewSizeOfItsTerminal(t *testing.T) {
	c := startAgent(t)
	in, _, rest := c.terminal("echo ready; read go; stty size")
	in.Write(appendFrame(nil, frameResize, 0, []byte(`{"rows":7,"cols":1000}`)))
	in.Write(appendFrame(nil, frameStdin, 0, []byte("go\r")))
	if got := rest(); !bytes.HasSuffix(got.out, []byte("7 1000\r\n")) || got.exit == nil {
		t.Errorf("%q %+v", got.out, got.exit)
	}
	for _, size := range []string{`{"rows":0,"cols":80}`, `{"rows":24,"cols":1001}`, `{"rows":-1,"cols":80}`} {
		in, _, rest := c.terminal("echo ready; read go")
		in.Write(appendFrame(nil, frameResize, 0, []byte(size)))
		if got := rest(); got.last.kind != frameError {
			t.Errorf("%s was taken", size)
		}
	}
}

func TestKeysInterruptAndEndTheInput(t *testing.T) {
	c := startAgent(t)
	in, _, rest := c.terminal("trap 'echo interrupted; exit 5' INT; echo ready; while :; do read line; done")
	in.Write(appendFrame(nil, frameStdin, 0, []byte{3})) // ^C
	if got := rest(); !bytes.Contains(got.out, []byte("interrupted")) || got.exit == nil || got.exit.ExitCode == nil || *got.exit.ExitCode != 5 {
		t.Errorf("%q %+v", got.out, got.exit)
	}
	in, _, rest = c.terminal("echo ready; cat; echo after")
	in.Write(appendFrame(nil, frameStdinEOF, 0, nil))
	if got := rest(); !bytes.HasSuffix(got.out, []byte("after\r\n")) {
		t.Errorf("%q", got.out)
	}
}

func TestAProgramWithoutATerminalHasNoSize(t *testing.T) {
	c := startAgent(t)
	_, text := c.call("POST", "/v1/processes", `{"argv":["sleep","60"],"cwd":"/"}`)
	var started struct{ ID string }
	json.Unmarshal([]byte(text), &started)
	if status, answer := c.call("POST", "/v1/processes/"+started.ID+"/resize", `{"rows":24,"cols":80}`); status != 409 {
		t.Errorf("%d %s", status, answer)
	}
	c.call("POST", "/v1/processes/"+started.ID+"/signal", `{"signal":"KILL"}`)
}
