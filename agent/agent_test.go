package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// testAgent serves a workspace in temporary directories, without acting as a first process.
func testAgent(t testing.TB) (*agent, http.Handler) {
	base := t.TempDir()
	workspace, lower, upper := filepath.Join(base, "workspace"), filepath.Join(base, "lower"), filepath.Join(base, "upper")
	for _, directory := range []string{workspace, lower, filepath.Join(upper, "u")} {
		if err := os.MkdirAll(directory, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	a := newAgent(config{workspace: workspace, seed: lower, upper: upper})
	a.lower.Store(&lower)
	return a, a.routes()
}

func call(h http.Handler, method, target string, body io.Reader) *httptest.ResponseRecorder {
	recorder := httptest.NewRecorder()
	h.ServeHTTP(recorder, httptest.NewRequest(method, target, body))
	return recorder
}

func apply(t testing.TB, h http.Handler, changes ...change) *httptest.ResponseRecorder {
	body, err := json.Marshal(applyRequest{Changes: changes})
	if err != nil {
		t.Fatal(err)
	}
	return call(h, "POST", "/v1/files/apply", bytes.NewReader(body))
}

func snapshotOf(t testing.TB, directory string) map[string]string {
	found := map[string]string{}
	err := filepath.WalkDir(directory, func(name string, entry os.DirEntry, err error) error {
		if err != nil || name == directory {
			return err
		}
		info, _ := entry.Info()
		text := info.Mode().String()
		if info.Mode().IsRegular() {
			content, _ := os.ReadFile(name)
			text += " " + string(content)
		}
		relative, _ := filepath.Rel(directory, name)
		found[relative] = text
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// MarshalJSON sends what a test writes in Path, To and Link.
func (c change) MarshalJSON() ([]byte, error) {
	type plain change
	c.WirePath, c.WireTo, c.WireLink = wireName(c.Path), wireName(c.To), wireName(c.Link)
	return json.Marshal(plain(c))
}

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

func freePort(t *testing.T) int {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}
