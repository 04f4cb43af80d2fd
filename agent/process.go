package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	maxLive      = 512     // processes at a time
	maxFinished  = 256     // finished ones that are remembered
	maxArguments = 1 << 20 // bytes of argv and environment together
	// counts, so that no request makes very many small allocations
	maxArgumentCount = 65536
	maxVariables     = 4096
	maxLabel         = 256                    // bytes
	maxTimeoutMS     = 30 * 24 * 3600_000     // 30 days
	drainTime        = 100 * time.Millisecond // for output that is in the pipes when a background child holds them open
	killAfter        = 2 * time.Second        // between TERM and KILL of a time-out
)

var defaultEnvironment = map[string]string{
	"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	"HOME": "/root", "USER": "root", "LOGNAME": "root", "SHELL": "/bin/bash", "LANG": "C.UTF-8",
}

type winsize struct {
	Rows uint16 `json:"rows"`
	Cols uint16 `json:"cols"`
}

type startRequest struct {
	Argv      []string          `json:"argv"`
	Cwd       string            `json:"cwd"`
	Env       map[string]string `json:"env"`
	ClearEnv  bool              `json:"clear_env"`
	Stdin     string            `json:"stdin"`
	TTY       *winsize          `json:"tty"`
	TimeoutMS int64             `json:"timeout_ms"`
	Label     string            `json:"label"`
	// OutputLimit is how much output is kept until somebody reads it, in bytes; 0 is the default.
	OutputLimit int `json:"output_limit"`
}

type process struct {
	id, label string
	argv      []string
	pid       int
	started   time.Time
	output    *ring
	stdin     *os.File
	tty       *os.File
	watcher   *os.File // tells the terminal's foreground where the kernel does not tell us
	asking    sync.Mutex
	reaped    chan syscall.WaitStatus
	ended     chan struct{}

	lock     sync.Mutex
	exit     *exitRecord
	timedOut bool
	killed   bool
	sweep    bool           // what it started ends with it
	kin      map[int]string // what it had started when it was told to end: pid, start time
}

type exitRecord struct {
	ExitCode        *int   `json:"exit_code"`
	Signal          *int   `json:"signal"`
	TimedOut        bool   `json:"timed_out"`
	KilledByRequest bool   `json:"killed_by_request"`
	OutputBytes     uint64 `json:"output_bytes"`
	DroppedBytes    uint64 `json:"dropped_bytes"`
	DurationMS      int64  `json:"duration_ms"`
}

type processRecord struct {
	ID        string      `json:"id"`
	PID       int         `json:"pid"`
	Label     string      `json:"label"`
	Argv      []string    `json:"argv"`
	StartedMS int64       `json:"started_unix_ms"`
	Running   bool        `json:"running"`
	Exit      *exitRecord `json:"exit"`
}

type processTable struct {
	lock     sync.Mutex
	byPID    map[int]*process
	byID     map[string]*process
	finished []string
	next     int
	env      map[string]string
}

func newProcessTable() *processTable {
	return &processTable{byPID: map[int]*process{}, byID: map[string]*process{}, env: defaultEnvironment}
}

func (t *processTable) running() int {
	t.lock.Lock()
	defer t.lock.Unlock()
	return len(t.byPID)
}

func (t *processTable) get(id string) (*process, error) {
	t.lock.Lock()
	defer t.lock.Unlock()
	if p := t.byID[id]; p != nil {
		return p, nil
	}
	return nil, fail(404, "not_found", "There is no process %q.", id)
}

func (t *processTable) killAll() {
	t.lock.Lock()
	defer t.lock.Unlock()
	for pid := range t.byPID {
		syscall.Kill(-pid, syscall.SIGKILL)
	}
}

func lookPath(name, cwd, path string) (string, error) {
	if strings.Contains(name, "/") {
		if !filepath.IsAbs(name) {
			name = filepath.Join(cwd, name)
		}
		return name, executable(name)
	}
	denied := false
	for _, dir := range strings.Split(path, ":") {
		candidate := filepath.Join(dir, name)
		err := executable(candidate)
		if err == nil {
			return candidate, nil
		}
		denied = denied || errors.Is(err, os.ErrPermission)
	}
	if denied {
		return "", os.ErrPermission
	}
	return "", os.ErrNotExist
}

func executable(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case info.IsDir(), info.Mode()&0o111 == 0:
		return os.ErrPermission
	}
	return nil
}

func spawnError(request *startRequest, err error) error {
	name := request.Argv[0]
	var own *apiError
	if errors.As(err, &own) {
		return own
	}
	if info, statErr := os.Stat(request.Cwd); statErr != nil || !info.IsDir() {
		return fail(422, "cwd_missing", "The working directory %s is not there.", request.Cwd)
	}
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fail(422, "command_not_found", "The program %q was not found.", name)
	case errors.Is(err, os.ErrPermission):
		return fail(422, "permission_denied", "%q is not an executable file.", name)
	case errors.Is(err, syscall.ENOEXEC):
		return fail(422, "spawn_failed", "%q has no format that can be run; is its #! line missing?", name)
	}
	return fail(422, "spawn_failed", "%q could not be started: %s.", name, err)
}

func (t *processTable) start(request *startRequest) (*process, error) {
	size := 0
	for _, argument := range request.Argv {
		size += len(argument) + 1
	}
	if len(request.Argv) == 0 || request.Argv[0] == "" {
		return nil, fail(400, "bad_request", "argv is empty.")
	}
	switch {
	case len(request.Argv) > maxArgumentCount, len(request.Env) > maxVariables:
		return nil, fail(413, "too_large", "At most %d arguments and %d variables.", maxArgumentCount, maxVariables)
	case len(request.Label) > maxLabel:
		return nil, fail(400, "bad_request", "A label has at most %d bytes.", maxLabel)
	case request.Stdin != "" && request.Stdin != "none" && request.Stdin != "pipe":
		return nil, fail(400, "bad_request", "stdin is none or pipe.")
	case request.TimeoutMS < 0 || request.TimeoutMS > maxTimeoutMS:
		return nil, fail(400, "bad_request", "timeout_ms is 0 to %d.", int64(maxTimeoutMS))
	case request.OutputLimit != 0 && (request.OutputLimit < minRing || request.OutputLimit > maxRing):
		return nil, fail(400, "bad_request", "output_limit is 0 or %d to %d.", minRing, maxRing)
	}
	if request.Cwd == "" {
		request.Cwd = "/workspace"
	}
	merged := map[string]string{}
	t.lock.Lock()
	if !request.ClearEnv {
		for key, value := range t.env {
			merged[key] = value
		}
	}
	t.lock.Unlock()
	for key, value := range request.Env {
		merged[key] = value
	}
	environment := make([]string, 0, len(merged))
	for key, value := range merged {
		if key == "" || strings.ContainsAny(key, "=\x00") || strings.Contains(value, "\x00") {
			return nil, fail(400, "bad_request", "%q is not the name of an environment variable.", key)
		}
		environment = append(environment, key+"="+value)
		size += len(key) + len(value) + 2
	}
	if size > maxArguments {
		return nil, fail(413, "too_large", "Arguments and environment have %d bytes; %d is the most.", size, maxArguments)
	}
	program, err := lookPath(request.Argv[0], request.Cwd, merged["PATH"])
	if err != nil {
		return nil, spawnError(request, err)
	}
	p := &process{
		label: request.Label, argv: request.Argv, started: time.Now(), output: newRing(request.OutputLimit),
		reaped: make(chan syscall.WaitStatus, 1), ended: make(chan struct{}),
	}
	var files childFiles
	if request.TTY != nil {
		files, err = openTTY(p, *request.TTY)
	} else {
		files, err = openPipes(p, request.Stdin == "pipe")
	}
	if err != nil {
		return nil, err
	}
	attributes := &syscall.ProcAttr{
		Dir: request.Cwd, Env: environment, Files: files.fds(),
		Sys: &syscall.SysProcAttr{Setsid: true, Setctty: request.TTY != nil},
	}
	argv := p.argv
	if p.watcher != nil {
		argv = append([]string{"pyro-agent", inTerminal, program}, argv...)
		program = "/proc/self/exe"
	}
	err = t.fork(p, program, argv, attributes)
	files.closeChild()
	if err != nil {
		files.closeOurs()
		if p.watcher != nil {
			p.watcher.Close()
		}
		if p.stdin != nil {
			p.stdin.Close()
		}
		return nil, spawnError(request, err)
	}
	drained := files.pump(p.output)
	go p.attend(t, drained, files, time.Duration(request.TimeoutMS)*time.Millisecond)
	return p, nil
}

// attend sees a process to its end: time-out, exit status, the rest of its output.
func (p *process) attend(t *processTable, drained <-chan struct{}, files childFiles, timeout time.Duration) {
	var expired <-chan time.Time
	if timeout > 0 {
		timer := time.NewTimer(timeout)
		defer timer.Stop()
		expired = timer.C
	}
	var status syscall.WaitStatus
	for waiting := true; waiting; {
		select {
		case status = <-p.reaped:
			waiting = false
		case <-expired:
			p.lock.Lock()
			first := !p.timedOut
			p.timedOut = true
			p.lock.Unlock()
			p.gather(p.pid)
			if first {
				syscall.Kill(-p.pid, syscall.SIGTERM)
				expired = time.After(killAfter)
			} else {
				syscall.Kill(-p.pid, syscall.SIGKILL)
				expired = nil
			}
		}
	}
	if p.watcher != nil {
		p.watcher.Close()
	}
	p.lock.Lock()
	record := &exitRecord{TimedOut: p.timedOut, KilledByRequest: p.killed}
	sweep := p.sweep
	p.lock.Unlock()
	if sweep {
		// What it had started must not outlive a command that was ended.
		syscall.Kill(-p.pid, syscall.SIGKILL)
		p.endKin()
	}
	select {
	case <-drained:
	case <-time.After(drainTime):
	}
	record.DurationMS = time.Since(p.started).Milliseconds()
	if status.Signaled() {
		number := int(status.Signal())
		record.Signal = &number
	} else {
		code := status.ExitStatus()
		record.ExitCode = &code
	}
	p.output.close()
	record.OutputBytes, record.DroppedBytes = p.output.counts()
	p.lock.Lock()
	p.exit = record
	p.lock.Unlock()
	if p.stdin != nil {
		p.stdin.Close()
	}
	close(p.ended)
	t.lock.Lock()
	t.finished = append(t.finished, p.id)
	for len(t.finished) > maxFinished {
		delete(t.byID, t.finished[0])
		t.finished = t.finished[1:]
	}
	t.lock.Unlock()
}

func (p *process) record() processRecord {
	p.lock.Lock()
	defer p.lock.Unlock()
	return processRecord{p.id, p.pid, p.label, p.argv, p.started.UnixMilli(), p.exit == nil, p.exit}
}

// childFiles are the ends of pipes or of a terminal: the child's, and ours.
type childFiles struct {
	child []*os.File
	ours  []*os.File // readers, with the stream each one is
	kinds []byte
}

func (f childFiles) fds() []uintptr {
	fds := make([]uintptr, len(f.child))
	for i, file := range f.child {
		fds[i] = file.Fd()
	}
	return fds
}

func (f childFiles) closeChild() {
	closed := map[*os.File]bool{}
	for _, file := range f.child {
		if !closed[file] {
			closed[file] = true
			file.Close()
		}
	}
}

func (f childFiles) closeOurs() {
	for _, file := range f.ours {
		file.Close()
	}
}

func (f childFiles) closeAll() { f.closeChild(); f.closeOurs() }

// pump reads the output until its end; the channel closes when all of it was read. It goes on reading for
// children in the background, so that they neither block nor get SIGPIPE; what they print then is dropped.
func (f childFiles) pump(output *ring) <-chan struct{} {
	drained := make(chan struct{})
	var group sync.WaitGroup
	for i, file := range f.ours {
		group.Add(1)
		go func(file *os.File, kind byte) {
			defer group.Done()
			defer file.Close()
			buffer := make([]byte, 32<<10)
			for {
				n, err := file.Read(buffer)
				if n > 0 {
					output.write(kind, buffer[:n])
				}
				if err != nil {
					return
				}
			}
		}(file, f.kinds[i])
	}
	go func() { group.Wait(); close(drained) }()
	return drained
}

func openPipes(p *process, wantStdin bool) (childFiles, error) {
	var stdin *os.File
	var err error
	if wantStdin {
		var reader *os.File
		if reader, p.stdin, err = os.Pipe(); err != nil {
			return childFiles{}, err
		}
		stdin = reader
	} else if stdin, err = os.Open("/dev/null"); err != nil {
		return childFiles{}, err
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		stdin.Close()
		return childFiles{}, noPipes(p, err)
	}
	errR, errW, err := os.Pipe()
	if err != nil {
		stdin.Close()
		outR.Close()
		outW.Close()
		return childFiles{}, noPipes(p, err)
	}
	return childFiles{
		child: []*os.File{stdin, outW, errW}, ours: []*os.File{outR, errR}, kinds: []byte{frameStdout, frameStderr},
	}, nil
}

func noPipes(p *process, err error) error {
	if p.stdin != nil {
		p.stdin.Close()
	}
	return fail(500, "spawn_failed", "No pipes for another process: %s.", err)
}

// -- routes

func (a *agent) startProcess(w http.ResponseWriter, r *http.Request) error {
	var request startRequest
	if err := decode(r.Body, &request); err != nil {
		return err
	}
	if isUpgrade(r) {
		if err := wantUpgrade(r); err != nil {
			return err
		}
	}
	p, err := a.processes.start(&request)
	if err != nil {
		return err
	}
	if !isUpgrade(r) {
		writeJSON(w, 200, map[string]any{"id": p.id, "pid": p.pid})
		return nil
	}
	return p.stream(w, r, 0, true)
}

func (a *agent) streamProcess(w http.ResponseWriter, r *http.Request) error {
	p, err := a.processes.get(r.PathValue("id"))
	if err != nil {
		return err
	}
	offset, err := numberOf(r, "offset", 0, 0, 1<<62)
	if err != nil {
		return err
	}
	return p.stream(w, r, uint64(offset), false)
}

// stream sends output from an offset on and the end; what comes in is input, size and signals.
func (p *process) stream(w http.ResponseWriter, r *http.Request, offset uint64, announce bool) error {
	position := p.output.follow(offset)
	defer p.output.leave(position)
	conn, reader, err := upgrade(w, r)
	if err != nil || conn == nil {
		return err
	}
	defer conn.Close()
	out := &frameWriter{w: conn}
	if announce {
		if out.writeJSON(frameStarted, map[string]any{"id": p.id, "pid": p.pid}) != nil {
			return nil
		}
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		for {
			f, err := readFrame(reader)
			if err != nil {
				break
			}
			if err := p.obey(f); err != nil {
				out.writeJSON(frameError, errorRecord(err))
				conn.Close()
				break
			}
		}
		p.output.wake()
	}()
	left := func() bool {
		select {
		case <-gone:
			return true
		default:
			return false
		}
	}
	for {
		chunk, more := p.output.next(position, left)
		if !more {
			break
		}
		if out.write(chunk.kind, chunk.offset, chunk.payload) != nil {
			return nil
		}
		p.output.advance(position, len(chunk.payload))
	}
	if left() {
		return nil
	}
	<-p.ended
	out.writeJSON(frameExit, p.record().Exit)
	return nil
}

func (p *process) obey(f frame) error {
	switch f.kind {
	case frameStdin:
		if p.tty != nil {
			p.typed(f.payload)
		} else if in := p.input(); in != nil {
			in.Write(f.payload) // an error means that it reads no more, which is its own affair
		}
	case frameStdinEOF:
		p.endInput()
	case frameResize:
		var size winsize
		if err := decode(bytes.NewReader(f.payload), &size); err != nil {
			return err
		}
		return p.resize(size)
	case frameSignal:
		var request signalRequest
		if err := decode(bytes.NewReader(f.payload), &request); err != nil {
			return err
		}
		// That it has ended just now, or that the kernel refuses, does not break the stream.
		if err := p.signal(request); err != nil && signals[request.Signal] == 0 {
			return err
		}
	default:
		return fail(400, "bad_request", "A client sends no frames of type %d.", f.kind)
	}
	return nil
}

func (p *process) input() *os.File {
	if p.tty != nil {
		return p.tty
	}
	return p.stdin
}

func (p *process) endInput() {
	if p.tty != nil {
		p.tty.Write([]byte{4}) // ^D
	} else if p.stdin != nil {
		p.stdin.Close()
	}
}

func (a *agent) listProcesses(w http.ResponseWriter, r *http.Request) error {
	a.processes.lock.Lock()
	all := make([]*process, 0, len(a.processes.byID))
	for _, p := range a.processes.byID {
		all = append(all, p)
	}
	a.processes.lock.Unlock()
	sort.Slice(all, func(i, j int) bool { return all[i].started.Before(all[j].started) })
	records := make([]processRecord, len(all))
	for i, p := range all {
		records[i] = p.record()
	}
	writeJSON(w, 200, map[string]any{"processes": records})
	return nil
}

func (a *agent) showProcess(w http.ResponseWriter, r *http.Request) error {
	p, err := a.processes.get(r.PathValue("id"))
	if err == nil {
		writeJSON(w, 200, p.record())
	}
	return err
}

func (a *agent) forgetProcess(w http.ResponseWriter, r *http.Request) error {
	p, err := a.processes.get(r.PathValue("id"))
	if err != nil {
		return err
	}
	if p.record().Running {
		return fail(409, "still_running", "Process %s still runs.", p.id)
	}
	a.processes.lock.Lock()
	delete(a.processes.byID, p.id)
	a.processes.lock.Unlock()
	writeJSON(w, 200, map[string]bool{"forgotten": true})
	return nil
}

type signalRequest struct {
	Signal     string `json:"signal"`
	Group      *bool  `json:"group"`
	Foreground bool   `json:"foreground"`
}

var signals = map[string]syscall.Signal{
	"HUP": syscall.SIGHUP, "INT": syscall.SIGINT, "QUIT": syscall.SIGQUIT, "KILL": syscall.SIGKILL,
	"TERM": syscall.SIGTERM, "TSTP": syscall.SIGTSTP, "STOP": syscall.SIGSTOP, "CONT": syscall.SIGCONT,
	"USR1": syscall.SIGUSR1, "USR2": syscall.SIGUSR2, "WINCH": syscall.SIGWINCH,
}

// gather remembers what the process has started, which ends with it from now on: its session, and whatever
// descends from it, the root.
func (p *process) gather(root int) {
	all := processes()
	started := map[int]string{}
	mine := map[int]bool{root: true}
	for grown := true; grown; {
		grown = false
		for pid, found := range all {
			if !mine[pid] && (mine[found.parent] || found.session == p.pid) {
				mine[pid], grown = true, true
				started[pid] = found.started
			}
		}
	}
	p.lock.Lock()
	defer p.lock.Unlock()
	p.sweep = true
	if p.kin == nil {
		p.kin = map[int]string{}
	}
	for pid, when := range started {
		p.kin[pid] = when
	}
}

// endKin ends what gather found and still runs, and what else is in the session by now.
func (p *process) endKin() {
	for passes := 0; passes < 5; passes++ { // one may fork while it is looked for
		p.gather(-1) // its own pid may be another's by now
		p.lock.Lock()
		kin := maps.Clone(p.kin)
		p.lock.Unlock()
		ended := 0
		for pid, found := range processes() {
			if when, known := kin[pid]; known && when == found.started && !found.dead {
				syscall.Kill(pid, syscall.SIGKILL)
				ended++
			}
		}
		if ended == 0 {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

type processStat struct {
	parent, session int
	started         string
	dead            bool
}

// processes are those of the whole machine, by pid.
func processes() map[int]processStat {
	all := map[int]processStat{}
	entries, _ := os.ReadDir("/proc")
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		text := readText("/proc/" + entry.Name() + "/stat")
		fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:]) // a name may have blanks and brackets
		if len(fields) < 20 {
			continue
		}
		parent, _ := strconv.Atoi(fields[1])
		session, _ := strconv.Atoi(fields[3])
		all[pid] = processStat{parent, session, fields[19], fields[0] == "Z" || fields[0] == "X"}
	}
	return all
}

func (p *process) signal(request signalRequest) error {
	number, known := signals[request.Signal]
	if !known {
		return fail(400, "bad_request", "%q is not a signal that can be sent.", request.Signal)
	}
	if !request.Foreground && (number == syscall.SIGTERM || number == syscall.SIGKILL) {
		p.lock.Lock()
		p.killed = true
		p.lock.Unlock()
		p.gather(p.pid)
	}
	if !request.Foreground && number == syscall.SIGHUP && p.tty != nil {
		p.gather(p.pid) // the terminal is hung up
	}
	target := -p.pid
	if request.Group != nil && !*request.Group {
		target = p.pid
	}
	if request.Foreground {
		if group := p.foreground(); group > 0 {
			target = -group
		}
	}
	if !p.record().Running {
		return fail(409, "not_running", "Process %s has ended.", p.id)
	}
	if err := syscall.Kill(target, number); err != nil && err != syscall.ESRCH {
		return fail(422, "signal_failed", "Process %s could not be signalled: %s.", p.id, err)
	}
	return nil
}

func (a *agent) signalProcess(w http.ResponseWriter, r *http.Request) error {
	p, err := a.processes.get(r.PathValue("id"))
	if err != nil {
		return err
	}
	var request signalRequest
	if err := decode(r.Body, &request); err != nil {
		return err
	}
	if err := p.signal(request); err != nil {
		return err
	}
	writeJSON(w, 200, map[string]bool{"sent": true})
	return nil
}

func (a *agent) feedProcess(w http.ResponseWriter, r *http.Request) error {
	p, err := a.processes.get(r.PathValue("id"))
	if err != nil {
		return err
	}
	in := p.input()
	if in == nil {
		return fail(409, "no_input", "Process %s was started without an input.", p.id)
	}
	var n int64
	if p.tty != nil {
		n, err = p.takeTyped(r)
	} else {
		n, err = io.Copy(in, r.Body)
	}
	if err != nil {
		return fail(409, "input_closed", "Process %s reads no more: %s.", p.id, err)
	}
	if r.URL.Query().Get("close") == "1" {
		p.endInput()
	}
	writeJSON(w, 200, map[string]int64{"written": n})
	return nil
}

// maxTyped bounds what one request types into a terminal, in bytes.
const maxTyped = 1 << 20

// takeTyped types a request's body. Nobody may read the terminal: what is not taken when the client leaves is dropped.
func (p *process) takeTyped(r *http.Request) (int64, error) {
	data, err := io.ReadAll(io.LimitReader(r.Body, maxTyped))
	if err != nil {
		return 0, err
	}
	done := make(chan struct{})
	stop := context.AfterFunc(r.Context(), func() {
		defer close(done)
		p.tty.SetWriteDeadline(time.Now())
	})
	err = p.typed(data)
	if !stop() {
		<-done
		p.tty.SetWriteDeadline(time.Time{})
	}
	return int64(len(data)), err
}

func (a *agent) resizeProcess(w http.ResponseWriter, r *http.Request) error {
	p, err := a.processes.get(r.PathValue("id"))
	if err != nil {
		return err
	}
	var size winsize
	if err := decode(r.Body, &size); err != nil {
		return err
	}
	if err := p.resize(size); err != nil {
		return err
	}
	writeJSON(w, 200, map[string]bool{"resized": true})
	return nil
}

// relieve ends the largest process of the machine, which uses more memory than it may.
func (a *agent) relieve(w http.ResponseWriter, r *http.Request) error {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return err
	}
	largest, pages := 0, int64(0)
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || pid == os.Getpid() || pid == 1 {
			continue
		}
		fields := strings.Fields(readText("/proc/" + entry.Name() + "/statm"))
		if len(fields) < 2 {
			continue
		}
		if resident, _ := strconv.ParseInt(fields[1], 10, 64); resident > pages {
			largest, pages = pid, resident
		}
	}
	if largest == 0 {
		return fail(409, "nothing_to_end", "No process is left to be ended.")
	}
	command := strings.ReplaceAll(readText("/proc/"+strconv.Itoa(largest)+"/cmdline"), "\x00", " ")
	syscall.Kill(largest, syscall.SIGKILL)
	writeJSON(w, 200, map[string]any{"pid": largest, "command": command[:min(len(command), 200)], "resident_bytes": pages * int64(os.Getpagesize())})
	return nil
}

func readText(path string) string {
	data, _ := os.ReadFile(path)
	return string(data)
}
