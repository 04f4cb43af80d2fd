package main

import (
	"errors"
	"os"
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
	// User is who it runs as (user.go); empty is who the agent is.
	User string `json:"user"`
	// OutputLimit is how much output is kept until somebody reads it, in bytes; 0 is the default.
	OutputLimit int `json:"output_limit"`
	keeps       bool
}

type process struct {
	id, label string
	argv      []string
	pid       int
	started   time.Time
	output    *ring
	stdin     *os.File
	tty       *os.File
	door      *door
	crowd     *crowd
	watcher   *os.File // tells the terminal's foreground where the kernel does not tell us
	keeps     bool     // its end says what files it changed have become
	asking    sync.Mutex
	reaped    chan syscall.WaitStatus
	ended     chan struct{}

	lock     sync.Mutex
	exit     *exitRecord
	timedOut bool
	killed   bool
	sweep    bool           // what it started ends with it
	kin      map[int]string // what it had started when it was told to end: pid, start time
	reason   string         // why the agent ended one of its processes
	hangUp   string         // why it was hung up, if it was
	hungAt   time.Time      // when all was stopped last
	sent     uint64         // a bit for each signal that was sent on request
}

type exitRecord struct {
	ExitCode        *int       `json:"exit_code"`
	Signal          *int       `json:"signal"`
	TimedOut        bool       `json:"timed_out"`
	KilledByRequest bool       `json:"killed_by_request"`
	OutputBytes     uint64     `json:"output_bytes"`
	DroppedBytes    uint64     `json:"dropped_bytes"`
	DurationMS      int64      `json:"duration_ms"`
	OutputHeld      bool       `json:"output_held,omitempty"` // a process that it left behind may still print; that is not kept
	Cause           string     `json:"cause,omitempty"`       // why it ended, where the status alone does not say it
	Changed         *changedBy `json:"changed,omitempty"`     // files of the workspace; nothing where it is not known
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
	forking  sync.Mutex // one fork at a time; taken before `lock`
	lock     sync.Mutex
	byPID    map[int]*process
	byID     map[string]*process
	finished []string
	next     int
	env      map[string]string
	given    map[string]string // of `env`, what is not a default of ours
	// workspace is the directory in which a user whose it is not may make files all the same.
	workspace string
	door      *door // where commands live, once the machine has its identity
	behind    bool
	crowd     crowd
	// changedSince says which files were changed since a process began; nil where that is not known.
	changedSince func(time.Time, bool) *changedBy
	carries      *process // the last whose end carries contents; under `lock`
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
	if t.door != nil {
		syscall.Kill(t.door.first, syscall.SIGKILL) // and with it all that is in there
		syscall.Kill(t.door.pid, syscall.SIGKILL)
	}
}

func (t *processTable) start(request *startRequest) (*process, error) {
	argv, script, err := longCommand(request.Argv, request.TTY != nil)
	if err != nil {
		return nil, err
	}
	size := 0
	for _, argument := range argv {
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
	as, err := lookUp(request.User)
	if err != nil {
		return nil, err
	}
	merged := map[string]string{}
	t.lock.Lock()
	if !request.ClearEnv {
		for key, value := range t.env {
			merged[key] = value
		}
		if as != nil {
			as.variables(t.given, request.Env, merged)
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
		if len(key)+1+len(value) > longestArgument {
			return nil, fail(413, "too_large", "The environment variable %.64s has %d bytes; the kernel takes at most %d. Give it through standard input or a file.", key, len(value), longestArgument-1-len(key))
		}
		environment = append(environment, key+"="+value)
		size += len(key) + len(value) + 2
	}
	if size > maxArguments {
		return nil, fail(413, "too_large", "Arguments and environment have %d bytes; %d is the most.", size, maxArguments)
	}
	program, err := lookPath(request.Argv[0], request.Cwd, merged["PATH"], as)
	if err != nil {
		return nil, spawnError(request, err)
	}
	shownArgv := request.Argv
	if script != "" {
		shownArgv = append([]string(nil), argv...)
		for i, word := range shownArgv {
			if word == readScript || word == readScriptPlainly {
				shownArgv[i] = script[:1024]
			}
		}
	}
	p := &process{
		label: request.Label, argv: shownArgv, started: time.Now(), output: newRing(request.OutputLimit), crowd: &t.crowd, keeps: request.keeps,
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
	if script != "" {
		text, err := scriptPipe(script)
		if err != nil {
			files.closeAll()
			return nil, noPipes(p, err)
		}
		files.child = append(files.child, text) // descriptor 3
	}
	attributes := &syscall.ProcAttr{
		Dir: request.Cwd, Env: environment, Files: files.fds(),
		Sys: &syscall.SysProcAttr{Setsid: true, Setctty: request.TTY != nil},
	}
	if as != nil {
		as.owns(files.child)
		as.welcome(t.workspace)
	}
	if p.watcher != nil {
		// It stays who it is until the watcher is there, who must be able to signal what the user makes others of.
		argv = append([]string{"terminal", inTerminal, as.words(), request.Cwd, program}, argv...)
		program, as = "/proc/self/exe", nil
	}
	bare, plain := plainCommand{}, false
	if request.TTY == nil && script == "" && as == nil {
		bare, plain = plainly(append([]string{program}, argv[1:]...), request.Cwd, merged) // `bash` may be another
	}
	if plain {
		sparing := *attributes
		sparing.Env = append(append([]string(nil), environment...), bare.environment...)
		err = t.fork(p, &bare, bare.program, bare.argv, &sparing, nil)
	}
	if !plain || errors.As(err, new(syscall.Errno)) { // any other error may be of one that has begun, too late
		err = t.fork(p, nil, program, argv, attributes, as)
	}
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
				t.crowd.endOf(p)
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
		if !t.crowd.endOf(p) {
			p.endKin()
		}
	}
	select {
	case <-drained:
	case <-time.After(drainTime):
		record.OutputHeld = true
	}
	record.DurationMS = time.Since(p.started).Milliseconds()
	if status.Signaled() {
		number := int(status.Signal())
		record.Signal = &number
	} else {
		code := status.ExitStatus()
		record.ExitCode = &code
	}
	t.crowd.settled()
	p.afterAll(status)
	record.Cause = p.why(status, timeout)
	if t.changedSince != nil {
		record.Changed = t.changedSince(p.started, p.keeps)
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
	t.carried(p, record)
	t.lock.Lock()
	t.finished = append(t.finished, p.id)
	for len(t.finished) > maxFinished {
		delete(t.byID, t.finished[0])
		t.finished = t.finished[1:]
	}
	t.lock.Unlock()
}

// carried remembers whose end carries contents: only the last one does.
func (t *processTable) carried(p *process, record *exitRecord) {
	if record.Changed == nil || record.Changed.Kept == nil {
		return
	}
	t.lock.Lock()
	before := t.carries
	t.carries = p
	t.lock.Unlock()
	if before != nil {
		before.lighten()
	}
}

// lighten lets go of what an end carried for a look that is over: ends are remembered for long.
func (p *process) lighten() {
	p.lock.Lock()
	defer p.lock.Unlock()
	if p.exit == nil || p.exit.Changed == nil {
		return
	}
	exit, changed := *p.exit, *p.exit.Changed
	changed.Kept, exit.Changed = nil, &changed
	p.exit = &exit
}

func (p *process) running() bool {
	p.lock.Lock()
	defer p.lock.Unlock()
	return p.pid > 0 && p.exit == nil
}

func (p *process) record() processRecord {
	p.lock.Lock()
	defer p.lock.Unlock()
	return processRecord{p.id, p.pid, p.label, p.argv, p.started.UnixMilli(), p.exit == nil, p.exit}
}
