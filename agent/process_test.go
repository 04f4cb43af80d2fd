package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The agent reaps every child of its process, so it runs as a process of its own: this binary, again.
func TestMain(m *testing.M) {
	if os.Getenv("PYRO_TEST_AGENT") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

type client struct {
	t    testing.TB
	base string
}

func startAgent(t testing.TB, more ...string) client {
	base := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	os.Mkdir(filepath.Join(base, "workspace"), 0o755)
	null, _ := os.Open(os.DevNull)
	defer null.Close()
	process, err := os.StartProcess(self, append([]string{
		"pyro-agent", "--no-init", "--listen", "unix:" + base + "/a.sock",
		"--workspace", base + "/workspace", "--seed", base + "/seed", "--upper", base + "/upper",
	}, more...), &os.ProcAttr{Env: append(os.Environ(), "PYRO_TEST_AGENT=1"), Files: []*os.File{null, os.Stdout, os.Stderr}})
	if err != nil {
		t.Fatal(err)
	}
	c := client{t, base}
	t.Cleanup(func() {
		c.call("POST", "/v1/shutdown", "{}")
		process.Wait()
	})
	c.await("the agent answers", func() bool {
		conn, err := net.Dial("unix", base+"/a.sock")
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return c
}

func (c client) await(what string, holds func() bool) {
	c.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			c.t.Fatalf("in 20 s it did not come to be that %s", what)
		}
	}
}

func (c client) open(method, target, body string, upgrade bool) (net.Conn, *bufio.Reader, *http.Response) {
	c.t.Helper()
	conn, err := net.Dial("unix", c.base+"/a.sock")
	if err != nil {
		c.t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	head := ""
	if upgrade {
		head = "Connection: Upgrade\r\nUpgrade: pyro-stream\r\n"
	}
	fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: a\r\n%sContent-Length: %d\r\n\r\n%s", method, target, head, len(body), body)
	reader := bufio.NewReader(conn)
	response, err := http.ReadResponse(reader, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	return conn, reader, response
}

func (c client) call(method, target, body string) (int, string) {
	c.t.Helper()
	conn, _, response := c.open(method, target, body, false)
	defer conn.Close()
	content, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(content)
}

// result is a stream as its reader saw it.
type result struct {
	started struct {
		ID  string
		PID int
	}
	out  []byte
	from uint64
	exit *exitRecord
	last frame
}

func collect(t testing.TB, reader io.Reader) (got result) {
	t.Helper()
	for {
		f, err := readFrame(reader)
		if err != nil {
			return got
		}
		got.last = f
		switch f.kind {
		case frameStarted:
			json.Unmarshal(f.payload, &got.started)
		case frameStdout, frameStderr:
			if got.out == nil {
				got.from = f.offset
			}
			if want := got.from + uint64(len(got.out)); f.offset != want {
				t.Fatalf("a frame at %d where %d follows", f.offset, want)
			}
			got.out = append(got.out, f.payload...)
		case frameExit:
			got.exit = &exitRecord{}
			json.Unmarshal(f.payload, got.exit)
			return got
		}
	}
}

func (c client) run(request map[string]any) result {
	c.t.Helper()
	if request["cwd"] == nil {
		request["cwd"] = c.base
	}
	body, _ := json.Marshal(request)
	conn, reader, response := c.open("POST", "/v1/processes", string(body), true)
	defer conn.Close()
	if response.StatusCode != 101 {
		content, _ := io.ReadAll(response.Body)
		c.t.Fatalf("%d %s", response.StatusCode, content)
	}
	return collect(c.t, reader)
}

func shell(script string) map[string]any { return map[string]any{"argv": []string{"sh", "-c", script}} }

func TestAProcessGivesItsOutputAndItsEnd(t *testing.T) {
	c := startAgent(t)
	got := c.run(shell("echo out; exit 7"))
	if string(got.out) != "out\n" || got.exit == nil || got.exit.ExitCode == nil || *got.exit.ExitCode != 7 || got.exit.OutputBytes != 4 {
		t.Errorf("%q %+v", got.out, got.exit)
	}
	if got := c.run(shell("kill -9 $$")); got.exit == nil || got.exit.Signal == nil || *got.exit.Signal != 9 {
		t.Errorf("%+v", got.exit)
	}
	tty := shell("stty size; test -t 1 && echo terminal")
	tty["tty"] = map[string]int{"rows": 33, "cols": 77}
	if got := c.run(tty); string(got.out) != "33 77\r\nterminal\r\n" {
		t.Errorf("%q", got.out)
	}
	late := shell("sleep 60")
	late["timeout_ms"] = 50
	if got := c.run(late); got.exit == nil || !got.exit.TimedOut || got.exit.Signal == nil || *got.exit.Signal != int(syscall.SIGTERM) {
		t.Errorf("%+v", got.exit)
	}
}

func TestManyProcessesAtATimeAllEnd(t *testing.T) {
	c := startAgent(t)
	ended := make(chan int, 200)
	for i := range 200 {
		go func() {
			got := c.run(shell(fmt.Sprintf("exit %d", i)))
			if got.exit == nil || got.exit.ExitCode == nil {
				ended <- -1
			} else {
				ended <- *got.exit.ExitCode - i
			}
		}()
	}
	for range 200 {
		if wrong := <-ended; wrong != 0 {
			t.Fatalf("an exit status is off by %d", wrong)
		}
	}
}

func TestWhyAProgramDoesNotStart(t *testing.T) {
	c := startAgent(t)
	plain := filepath.Join(c.base, "plain")
	os.WriteFile(plain, []byte("x"), 0o644)
	for body, code := range map[string]string{
		`{"argv":["no-such-program"],"cwd":"/"}`:                 "command_not_found",
		`{"argv":["` + plain + `"],"cwd":"/"}`:                   "permission_denied",
		`{"argv":["true"],"cwd":"/no/such/place"}`:               "cwd_missing",
		`{"argv":[],"cwd":"/"}`:                                  "bad_request",
		`{"argv":["true"],"cwd":"/","surprise":1}`:               "bad_request",
		`{"argv":["true"],"cwd":"/","stdin":"maybe"}`:            "bad_request",
		`{"argv":["true"],"cwd":"/","output_limit":1}`:           "bad_request",
		`{"argv":["true"],"cwd":"/","timeout_ms":-1}`:            "bad_request",
		`{"argv":["true"],"cwd":"/"} ]`:                          "bad_request",
		`{"argv":["true"],"cwd":"/","env":{"A=B":"x"}}`:          "bad_request",
		`{"argv":["` + strings.Repeat("x", maxArguments) + `"]}`: "too_large",
	} {
		if status, answer := c.call("POST", "/v1/processes", body); status < 400 || !strings.Contains(answer, `"`+code+`"`) {
			t.Errorf("%.80s: %d %.200s, want %s", body, status, answer, code)
		}
	}
}

func TestABackgroundChildDoesNotHoldUpTheEnd(t *testing.T) {
	c := startAgent(t)
	began := time.Now()
	got := c.run(shell("(sleep 3; echo late; touch survived) & echo early"))
	if string(got.out) != "early\n" || got.exit == nil || time.Since(began) > 2*time.Second {
		t.Errorf("%q after %v", got.out, time.Since(began))
	}
	c.await("the child that prints late gets no SIGPIPE", func() bool {
		_, err := os.Stat(filepath.Join(c.base, "survived"))
		return err == nil
	})
}

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

func freePort(t *testing.T) int {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

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
