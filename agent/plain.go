package main

import (
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"unsafe"
)

// A command line of one program and plain words needs no shell: `bash -c 'git status'` becomes that program without a
// fork, after bash itself was loaded, which takes longer under gVisor than many a command. So the agent starts the
// program at once where bash certainly would, with the words and the environment that bash would give it. In any doubt,
// or if it cannot be started so, bash does it, and says what it says.
//
// What can make a difference, and is left to bash: any character but those of plainCharacters; keywords, builtins; an
// environment that bash reads or changes (BASH_ENV, LC_ALL, SHLVL, exported functions, …); a PATH of unusual form.
// HOSTNAME, which each machine has, is none of these: bash sets it only where it is not there, and exports it as it was.

const plainCharacters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-./:,+@%="

// inPlaces are builtins whose result is known: without options, with any words.
var inPlaces = map[string]bool{"true": true, "false": true, ":": true, "echo": true, "pwd": true}

// bashWords are keywords and builtins (`compgen -kb` of bash 5.2).
var bashWords = wordSet(`. : [ alias bg bind break builtin caller cd command compgen complete compopt continue declare
	dirs disown echo enable eval exec exit export false fc fg getopts hash help history jobs kill let local logout
	mapfile popd printf pushd pwd read readarray readonly return set shift shopt source suspend test times trap true
	type typeset ulimit umask unalias unset wait
	if then else elif fi case esac for select while until do done in function time { } ! [[ ]] coproc`)

// bashVariables are those that bash sets, reads or drops when it starts (bash(1), "Shell Variables").
var bashVariables = wordSet(`_ AUTO_RESUME CHILD_MAX COLUMNS COMPREPLY COPROC DIRSTACK EMACS ENV EPOCHREALTIME EPOCHSECONDS
	EUID EXECIGNORE FCEDIT FIGNORE FUNCNAME FUNCNEST GLOBIGNORE GROUPS HISTCMD HOSTFILE HOSTTYPE IFS IGNOREEOF
	INPUTRC INSIDE_EMACS LINENO LINES MACHTYPE MAILCHECK MAPFILE OLDPWD OPTARG OPTERR OPTIND OSTYPE PIPESTATUS
	POSIXLY_CORRECT POSIX_PEDANTIC PPID PROMPT_COMMAND PROMPT_DIRTRIM PS0 PS1 PS2 PS3 PS4 PWD RANDOM READLINE_LINE REPLY
	SECONDS SHELLOPTS SHLVL SRANDOM TIMEFORMAT TMOUT UID auto_resume histchars`)

// bashPrefixes begin the names of others, and of what the loader or the C library reads, once for bash and once for the
// program.
var bashPrefixes = []string{"BASH", "COMP_", "HIST", "READLINE_", "LC_", "LANGUAGE", "LD_", "GLIBC_", "MALLOC_", "SSH_C", "SSH2_", "TEXTDOMAIN", "LOCPATH", "NLSPATH"}

// plainCommand is what bash would become.
type plainCommand struct {
	program     string
	argv        []string
	environment []string // beside what there is
	// What must hold where the command lives, which the guest may have mounted otherwise than the agent sees it: the
	// directory's own name, and places in which bash would find another program.
	directory string
	absent    []string
	// A builtin is no program: its process prints this, and ends with this status.
	builtin bool
	prints  string
	status  int32
}

// longestPrint fits into a pipe that nobody reads yet: the door waits for whoever prints it (PIPE_BUF).
const longestPrint = 4096

// plainly gives the program of `bash -c TEXT` where that is certain.
func plainly(argv []string, cwd string, environment map[string]string) (plainCommand, bool) {
	var none plainCommand
	if len(argv) != 3 || argv[1] != "-c" || (argv[0] != "/bin/bash" && argv[0] != "/usr/bin/bash") {
		return none, false
	}
	for _, r := range []byte(argv[2]) {
		if r != ' ' && strings.IndexByte(plainCharacters, r) < 0 {
			return none, false
		}
	}
	words := strings.Fields(argv[2])
	if len(words) == 0 || strings.ContainsAny(words[0], "=%") || !leavesAlone(environment) {
		return none, false
	}
	own := path.Clean(cwd) == cwd && path.IsAbs(cwd) // the directory's own name, as far as it tells
	if inPlaces[words[0]] && (words[0] != "pwd" || own) {
		return inPlace(words, cwd)
	}
	if bashWords[words[0]] || !own {
		return none, false
	}
	program, absent := words[0], []string(nil)
	if !strings.Contains(program, "/") {
		var ok bool
		if program, absent, ok = onPath(program, environment["PATH"]); !ok {
			return none, false
		}
	}
	return plainCommand{
		program: program, argv: words, environment: []string{"PWD=" + cwd, "SHLVL=0", "_=" + program},
		directory: cwd, absent: absent,
	}, true
}

// inPlace is a builtin whose result is known.
func inPlace(words []string, cwd string) (plainCommand, bool) {
	done := plainCommand{builtin: true}
	switch words[0] {
	case "false":
		done.status = 1
	case "echo":
		if len(words) > 1 && words[1][0] == '-' {
			return done, false // an option, or not
		}
		done.prints = strings.Join(words[1:], " ") + "\n"
	case "pwd":
		if len(words) > 1 {
			return done, false
		}
		done.directory, done.prints = cwd, cwd+"\n"
	}
	return done, len(done.prints) <= longestPrint
}

// leavesAlone says whether bash starts with this environment as with none of it.
func leavesAlone(environment map[string]string) bool {
	for name, value := range environment {
		if !isVariable(name) || bashVariables[name] {
			return false
		}
		for _, prefix := range bashPrefixes {
			if strings.HasPrefix(name, prefix) {
				return false
			}
		}
		if name == "LANG" && value != "C.UTF-8" && value != "C" && value != "POSIX" {
			return false
		}
	}
	return true
}

func isVariable(name string) bool {
	for i, r := range []byte(name) {
		if r != '_' && (r|32 < 'a' || r|32 > 'z') && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return name != ""
}

// onPath finds a program as bash does, in a PATH of plain absolute directories; gives it, and where else it would have
// been found first.
func onPath(name, places string) (string, []string, bool) {
	for _, place := range strings.Split(places, ":") {
		if !path.IsAbs(place) || path.Clean(place) != place {
			return "", nil, false
		}
		for _, r := range []byte(place) {
			if strings.IndexByte(plainCharacters, r) < 0 {
				return "", nil, false
			}
		}
	}
	var absent []string
	for _, place := range strings.Split(places, ":") {
		found := place + "/" + name
		info, err := os.Stat(found)
		switch {
		case os.IsNotExist(err):
			absent = append(absent, found)
			continue
		case err != nil, !info.Mode().IsRegular(), info.Mode()&0o111 == 0:
			return "", nil, false // bash has rules for these
		}
		return found, absent, true
	}
	return "", nil, false
}

// holdsHere is `holds` of the door, where commands live with the agent.
func (c *plainCommand) holdsHere() bool {
	own, err := filepath.EvalSymlinks(c.directory)
	return !c.builtin && err == nil && own == c.directory
}

func wordSet(text string) map[string]bool {
	set := map[string]bool{}
	for _, word := range strings.Fields(text) {
		set[word] = true
	}
	return set
}

// -- what follows runs after the door's fork: system calls only, no memory of Go's

// holds says whether what was found out about a plain command is so here, too.
//
//go:nosplit
//go:norace
func holds(o *order) bool {
	if o.name != 0 {
		is, said := unsafe.Add(unsafe.Pointer(o), o.room), unsafe.Add(unsafe.Pointer(o), o.name)
		if _, _, errno := syscall.RawSyscall(syscall.SYS_GETCWD, uintptr(is), longestName, 0); errno != 0 {
			return false
		}
		for i := uintptr(0); i < longestName; i++ {
			if *(*byte)(unsafe.Add(is, i)) != *(*byte)(unsafe.Add(said, i)) {
				return false
			}
			if *(*byte)(unsafe.Add(is, i)) == 0 {
				break
			}
		}
	}
	for at := o.absent; at != 0; at += 8 {
		path := *(*uintptr)(unsafe.Add(unsafe.Pointer(o), at))
		if path == 0 {
			break
		}
		_, _, errno := syscall.RawSyscall6(syscall.SYS_FACCESSAT, atCwd, path, 0, 0, 0, 0)
		if errno != syscall.ENOENT {
			return false
		}
	}
	return true
}
