package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"sort"
	"strings"
	"syscall"
	"time"
)

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
	a.resources.refresh()
	request.keeps = r.Header.Get("Pyro-Keeps") == "1"
	a.processes.forget(strings.Split(r.Header.Get("Pyro-Forget"), ","))
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

// forget drops processes that have ended, of which the client has kept all; others stay.
func (t *processTable) forget(ids []string) {
	t.lock.Lock()
	defer t.lock.Unlock()
	for _, id := range ids {
		if p := t.byID[id]; p != nil && !p.record().Running {
			delete(t.byID, id)
		}
	}
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
	// Sweep says that the process is meant to end, and what it started with it; TERM and KILL always say so.
	Sweep bool `json:"sweep"`
}

var signals = map[string]syscall.Signal{
	"HUP": syscall.SIGHUP, "INT": syscall.SIGINT, "QUIT": syscall.SIGQUIT, "KILL": syscall.SIGKILL,
	"TERM": syscall.SIGTERM, "TSTP": syscall.SIGTSTP, "STOP": syscall.SIGSTOP, "CONT": syscall.SIGCONT,
	"USR1": syscall.SIGUSR1, "USR2": syscall.SIGUSR2, "WINCH": syscall.SIGWINCH,
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
	if request.Sweep {
		p.gather(p.pid)
	}
	if !request.Foreground && number == syscall.SIGHUP && p.tty != nil {
		p.gather(p.pid) // the terminal is hung up
	}
	target := -p.pid
	if request.Group != nil && !*request.Group {
		target = p.pid
	}
	p.lock.Lock()
	p.sent |= 1 << number
	p.lock.Unlock()
	if !p.record().Running {
		return fail(409, "not_running", "Process %s has ended.", p.id)
	}
	if request.Foreground && p.signalForeground(number) {
		return nil
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
