package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	maxJSON       = 24 << 20 // bytes of one JSON request: 16 MiB of content in base64
	maxHeader     = 64 << 10
	upgradeName   = "pyro-stream"
	connectionCap = 1024
)

type config struct {
	listen, workspace, seed, upper string
	seedDevice                     string // the drive that the seed arrives on; none in gVisor
	init                           bool
}

type agent struct {
	config
	started    time.Time
	processes  *processTable
	resources  resources
	egress     *egressQueue
	configured atomic.Bool
	setupLock  sync.Mutex
	applyLock  sync.Mutex
	lower      atomic.Pointer[string]
	freeze     chan net.Conn
	serving    atomic.Pointer[trackingListener]
	watch      watch
}

func newAgent(c config) *agent {
	a := &agent{config: c, started: time.Now(), processes: newProcessTable(), egress: newEgressQueue(), freeze: make(chan net.Conn, 4)}
	a.watch.known = map[string]mark{}
	a.processes.workspace = c.workspace
	a.processes.changedSince = a.changedSince
	a.processes.crowd.meanwhile = a.resources.refresh
	return a
}

// apiError is an error with its place in the protocol.
type apiError struct {
	status  int
	code    string
	message string
}

func (e *apiError) Error() string { return e.message }

func fail(status int, code, format string, args ...any) *apiError {
	return &apiError{status, code, fmt.Sprintf(format, args...)}
}

// fileError names what went wrong with a path, without the host's view of it.
func fileError(err error, path string) error {
	var own *apiError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &own):
		return err
	case errors.Is(err, os.ErrNotExist):
		return fail(404, "not_found", "There is no %s in the workspace.", shown(path))
	case errors.Is(err, os.ErrExist):
		return fail(409, "exists", "%s exists already.", shown(path))
	case strings.Contains(err.Error(), "escapes"):
		return fail(422, "outside_workspace", "%s leads out of the workspace through a symbolic link.", shown(path))
	}
	var underlying *os.PathError
	if errors.As(err, &underlying) {
		err = underlying.Err
	}
	return fail(422, "bad_path", "%s: %s.", shown(path), err)
}

func shown(path string) string { return "/workspace/" + strings.TrimPrefix(path, "./") }

type handler func(w http.ResponseWriter, r *http.Request) error

func writeJSON(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(value)
}

func writeError(w http.ResponseWriter, err error) {
	var own *apiError
	if !errors.As(err, &own) {
		own = fail(500, "agent_failed", "%s", err)
	}
	writeJSON(w, own.status, errorRecord(own))
}

func errorRecord(err error) map[string]any {
	own := &apiError{code: "agent_failed", message: err.Error()}
	errors.As(err, &own)
	return map[string]any{"error": map[string]string{"code": own.code, "message": own.message}}
}

func decode(r io.Reader, into any) error {
	limited := &io.LimitedReader{R: r, N: maxJSON + 1}
	decoder := json.NewDecoder(limited)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		if limited.N == 0 {
			return fail(413, "too_large", "The request is longer than %d bytes.", maxJSON)
		}
		return fail(400, "bad_request", "The request is not the JSON that is expected here: %s.", err)
	}
	if _, err := decoder.Token(); err != io.EOF { // More() would let a closing bracket through
		return fail(400, "bad_request", "There is more after the request's JSON.")
	}
	return nil
}

func (a *agent) routes() http.Handler {
	mux := http.NewServeMux()
	add := func(pattern string, h handler) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if err := h(w, r); err != nil {
				writeError(w, err)
			}
		})
	}
	add("GET /v1/health", a.health)
	add("GET /v1/idle", a.showIdle)
	add("POST /v1/setup", a.setup)
	add("POST /v1/identify", a.identify)
	add("POST /v1/freeze", a.startFreeze)
	add("POST /v1/relieve", a.relieve)
	add("POST /v1/shutdown", a.shutdown)
	add("POST /v1/processes", a.startProcess)
	add("GET /v1/processes", a.listProcesses)
	add("GET /v1/processes/{id}", a.showProcess)
	add("DELETE /v1/processes/{id}", a.forgetProcess)
	add("GET /v1/processes/{id}/stream", a.streamProcess)
	add("POST /v1/processes/{id}/signal", a.signalProcess)
	add("PUT /v1/processes/{id}/stdin", a.feedProcess)
	add("POST /v1/processes/{id}/resize", a.resizeProcess)
	add("GET /v1/files/stat", a.statFile)
	add("GET /v1/files/list", a.listFiles)
	add("GET /v1/files/read", a.readFile)
	add("POST /v1/files/read-many", a.readMany)
	add("POST /v1/files/search", a.searchFiles)
	add("POST /v1/files/apply", a.applyFiles)
	add("POST /v1/files/stage", a.stageFiles)
	add("GET /v1/tar", a.tarOut)
	add("PUT /v1/tar", a.tarIn)
	add("GET /v1/changes", a.changes)
	add("GET /v1/root", a.rootOut)
	add("GET /v1/prepared", a.preparedOut)
	add("GET /v1/connect", a.connect)
	add("POST /v1/egress/open", a.openEgress)
	add("GET /v1/egress/accept", a.acceptEgress)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		writeError(w, fail(404, "unknown_route", "This agent has no %s %s.", r.Method, r.URL.Path))
	})
	return mux
}

func (a *agent) health(w http.ResponseWriter, r *http.Request) error {
	writeJSON(w, 200, map[string]any{
		"protocol": protocolVersion, "version": agentVersion, "frozen": false, "pid": os.Getpid(), "configured": a.configured.Load(),
		"uptime_ms": time.Since(a.started).Milliseconds(), "processes": a.processes.running(),
	})
	return nil
}

// upgrade turns the request's connection into a byte stream of its own.
func upgrade(w http.ResponseWriter, r *http.Request) (net.Conn, io.Reader, error) {
	if err := wantUpgrade(r); err != nil {
		return nil, nil, err
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, nil, err
	}
	conn.SetDeadline(time.Time{})
	if _, err := io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+upgradeName+"\r\n\r\n"); err != nil {
		conn.Close()
		return nil, nil, nil
	}
	if buffered.Reader.Buffered() > 0 {
		return conn, buffered.Reader, nil
	}
	return conn, conn, nil
}

func isUpgrade(r *http.Request) bool { return r.Header.Get("Upgrade") != "" }

// wantUpgrade refuses before anything was done for a stream that then cannot be had.
func wantUpgrade(r *http.Request) error {
	if !strings.EqualFold(r.Header.Get("Upgrade"), upgradeName) {
		return fail(426, "upgrade_required", "This is a stream; ask for it with Upgrade: %s.", upgradeName)
	}
	return nil
}

func numberOf(r *http.Request, name string, fallback, low, high int64) (int64, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return fallback, nil
	}
	value, err := strconv.ParseInt(text, 10, 64)
	if err != nil || value < low || value > high {
		return 0, fail(400, "bad_request", "%s must be a number from %d to %d.", name, low, high)
	}
	return value, nil
}
