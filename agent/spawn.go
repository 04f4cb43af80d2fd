package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
)

func lookPath(name, cwd, path string, as *user) (string, error) {
	if strings.Contains(name, "/") {
		if !filepath.IsAbs(name) {
			name = filepath.Join(cwd, name)
		}
		return name, executable(name, as)
	}
	denied := false
	for _, dir := range strings.Split(path, ":") {
		candidate := filepath.Join(dir, name)
		err := executable(candidate, as)
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

func executable(path string, as *user) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case info.IsDir(), info.Mode()&0o111 == 0, as != nil && !(as.mayExecute(info) && as.mayReach(path)):
		return os.ErrPermission
	}
	return nil
}

// ofTheShell are words that no program is named after: they mean something in a command line only.
var ofTheShell = []string{
	".", "alias", "bg", "cd", "eval", "exec", "exit", "export", "fg", "for", "if", "jobs", "popd", "pushd",
	"set", "shopt", "source", "trap", "ulimit", "umask", "unset", "wait", "while",
}

func spawnError(request *startRequest, err error) error {
	name := request.Argv[0]
	var own *apiError
	if errors.As(err, &own) {
		return own
	}
	who := ""
	if request.User != "" {
		who = " by the user " + shownName(request.User)
	}
	var closed *noDirectory
	if errors.As(err, &closed) && errors.Is(err, syscall.EACCES) {
		return fail(422, "cwd_closed", "The working directory %s cannot be entered%s.", request.Cwd, who)
	}
	if info, statErr := os.Stat(request.Cwd); statErr != nil || !info.IsDir() {
		return fail(422, "cwd_missing", "The working directory %s is not there.", request.Cwd)
	}
	switch {
	case errors.Is(err, os.ErrNotExist) && strings.ContainsAny(name, " \n"):
		return fail(422, "command_not_found", "The program %.100q was not found. A list is one program and its arguments: give a command line as text.", name)
	case errors.Is(err, os.ErrNotExist) && slices.Contains(ofTheShell, name):
		return fail(422, "command_not_found", "%q is no program but a word of the shell. Give the whole command line as one text.", name)
	case errors.Is(err, os.ErrNotExist):
		return fail(422, "command_not_found", "The program %q was not found.", name)
	case errors.Is(err, os.ErrPermission):
		return fail(422, "permission_denied", "%q is not a file that can be executed%s.", name, who)
	case errors.Is(err, syscall.ENOEXEC):
		return fail(422, "spawn_failed", "%q has no format that can be run; is its #! line missing?", name)
	}
	return fail(422, "spawn_failed", "%q could not be started: %s.", name, err)
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
