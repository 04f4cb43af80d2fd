package main

import (
	"bytes"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"sort"
	"strings"
	"testing"
)

// outcome is what a command line comes to: both streams, the status, and the environment of what runs, in order.
func outcome(program string, argv, environment []string, directory string) string {
	var out, err bytes.Buffer
	command := &exec.Cmd{Path: program, Args: argv, Env: environment, Dir: directory, Stdout: &out, Stderr: &err}
	failure := command.Run()
	status := "0"
	if failure != nil {
		status = failure.Error()
	}
	return sortedLines(out.String()) + "|" + err.String() + "|" + status
}

func sortedLines(text string) string {
	lines := strings.Split(text, "\n")
	sort.Strings(lines)
	return strings.Join(lines, "\n")
}

func TestAPlainCommandIsWhatBashWouldBecome(t *testing.T) {
	place, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, text string, mode os.FileMode) {
		os.MkdirAll(filepath.Dir(filepath.Join(place, name)), 0o755)
		if err := os.WriteFile(filepath.Join(place, name), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	// What is run tells all that it was given.
	show := "#!/bin/sh\n" + `printf '%s\n' "$0" "$@"; env; pwd; ls -l /proc/self/fd | wc -l; cat` + "\n"
	write("bin/show", show, 0o755)
	write("bin/test", show, 0o755)
	write("bin/plain", "x", 0o644)
	write("bin/noformat", "echo ran; exit 5\n", 0o755)
	write("later/plain", show, 0o755)
	write("later/only", show, 0o755)
	write("here", show, 0o755)
	write("a.txt", "", 0o644)
	os.Mkdir(filepath.Join(place, "bin", "folder"), 0o755)
	os.Symlink("show", filepath.Join(place, "bin", "linked"))
	base := map[string]string{"PATH": place + "/bin:" + place + "/later:/usr/bin:/bin", "HOME": "/root", "LANG": "C.UTF-8"}
	random := rand.New(rand.NewSource(int64(os.Getpid())))
	firsts := []string{"show", "show", "show", "pwd", "true", "false", "echo", "only", "plain", "linked", "test", "noformat", "folder", "here", "./here", "bin/show", place + "/here", "nosuch", "env", "ls", "git", "[", "if", "time", "%1", "-x", "A=b", "~", "show;", ".", ":", "command"}
	rest := []string{"a", "-l", "--x=y", "a=b", "=", "%s", "@", "a,b", ".", "..", "/", "*", "?", "$HOME", "'q'", `"d"`, "\\x", "{a,b}", "~", "#c", "!", "a.txt", "&", "&&", "||", "|", ";", ">f", "<a.txt", "\t", "\n", "é", "-", "--", "+", "1", "2>&1", "`a`", "$(a)", "(", "[a]", "^", ":~"}
	extras := []string{"A", "B_1", "TERM", "BASH_ENV", "ENV", "LC_ALL", "LANG", "SHLVL", "PWD", "_", "PS4", "a-b", "SHELLOPTS", "SSH_CLIENT", "IFS", "HOSTNAME", "UID", "BASH_FUNC_show%%", "TMOUT", "LINES", "OLDPWD", "EXECIGNORE", "CDPATH", "GLOBIGNORE", "TZ"}
	values := []string{"", "x", "/", "C", "de_DE.UTF-8", place + "/here", "() { echo function; }", "5"}
	taken := 0
	for try := 0; try < 1500; try++ {
		words := []string{firsts[random.Intn(len(firsts))]}
		for random.Intn(3) > 0 {
			words = append(words, rest[random.Intn(len(rest))])
		}
		text := strings.Repeat(" ", random.Intn(2)) + strings.Join(words, strings.Repeat(" ", 1+random.Intn(2)))
		environment := map[string]string{}
		for name, value := range base {
			environment[name] = value
		}
		if random.Intn(4) == 0 {
			environment[extras[random.Intn(len(extras))]] = values[random.Intn(len(values))]
		}
		plain, ok := plainly([]string{"/bin/bash", "-c", text}, place, environment)
		if !ok {
			continue
		}
		var list []string
		for name, value := range environment {
			list = append(list, name+"="+value)
		}
		program := plain.program
		if !plain.builtin && !filepath.IsAbs(program) {
			if _, err := os.Stat(filepath.Join(place, program)); err != nil {
				continue // it is not started, and bash says so
			}
		}
		got := ""
		if plain.builtin {
			got = sortedLines(plain.prints) + "||" + map[int32]string{0: "0", 1: "exit status 1"}[plain.status]
		} else {
			got = outcome(program, plain.argv, append(append([]string(nil), list...), plain.environment...), place)
		}
		if strings.Contains(got, "exec format error") || strings.Contains(got, "permission denied") {
			continue
		}
		taken++
		if want := outcome("/bin/bash", []string{"/bin/bash", "-c", text}, list, place); got != want {
			t.Errorf("%q with %v:\n%s\nbash:\n%s", text, environment, got, want)
		}
	}
	if taken < 100 {
		t.Errorf("only %d command lines were tried", taken)
	}
}

func TestWhatIsLeftToBash(t *testing.T) {
	usual := map[string]string{"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOSTNAME": "w", "SSH_AUTH_SOCK": "/run/x"}
	with := func(name, value string) map[string]string {
		all := map[string]string{name: value}
		for other, known := range usual {
			if _, is := all[other]; !is {
				all[other] = known
			}
		}
		return all
	}
	for text, yes := range map[string]bool{
		"ls": true, "ls -l /usr": true, "  ls  ": true, "true": true, "echo a b": true, "false": true, ":": true,
		"echo -n a": false, "ls *": false, "cd /": false, "A=b ls": false, "ls; ls": false, "ls $A": false, "": false,
		"ls 'a'": false, "ls\nls": false, "ls\tx": false, "nosuchprogram": false, "exec ls": false, "time ls": false,
		"kill 1": false, "[ a ]": false, "ls # x": false, "ls ~": false, "ls {a,b}": false, "! ls": false, "pwd": true, "pwd -P": false,
	} {
		if _, ok := plainly([]string{"/bin/bash", "-c", text}, "/", usual); ok != yes {
			t.Errorf("%q: %v", text, ok)
		}
	}
	for name, value := range map[string]string{
		"BASH_ENV": "/x", "LC_ALL": "C", "LANG": "de_DE", "PATH": "usr/bin", "SHLVL": "1", "PWD": "/", "a-b": "", "LD_PRELOAD": "x",
		"BASH_FUNC_ls%%": "() { :; }", "ENV": "x", "SSH_CLIENT": "x", "IFS": ":", "EXECIGNORE": "*ls",
	} {
		if _, ok := plainly([]string{"/bin/bash", "-c", "ls"}, "/", with(name, value)); ok {
			t.Errorf("%s=%s is no matter of bash's", name, value)
		}
	}
	for text, want := range map[string]plainCommand{
		"true": {builtin: true}, ": a": {builtin: true}, "false x": {builtin: true, status: 1}, "echo": {builtin: true, prints: "\n"},
		" echo  a   b=c ": {builtin: true, prints: "a b=c\n"},
		"pwd":             {builtin: true, prints: "/\n", directory: "/"},
	} {
		got, ok := plainly([]string{"/bin/bash", "-c", text}, "/", usual)
		if bash := outcome("/bin/bash", []string{"bash", "-c", text}, nil, "/"); !ok || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %v; bash: %s", text, got, bash)
		} else if code := map[int32]string{0: "0", 1: "exit status 1"}[want.status]; bash != sortedLines(want.prints)+"||"+code {
			t.Errorf("%q: bash says %q", text, bash)
		}
	}
	if _, ok := plainly([]string{"/bin/bash", "-c", "echo " + strings.Repeat("x", longestPrint)}, "/", usual); ok {
		t.Error("more than a pipe takes")
	}
	for _, argv := range [][]string{{"/bin/sh", "-c", "ls"}, {"/bin/bash", "-lc", "ls"}, {"/bin/bash", "-c", "ls", "x"}, {"/bin/bash", "ls"}} {
		if _, ok := plainly(argv, "/", usual); ok {
			t.Errorf("%q is no plain command line", argv)
		}
	}
	if _, ok := plainly([]string{"/bin/bash", "-c", "ls"}, "/usr/../tmp", usual); ok {
		t.Error("a directory by another name")
	}
}

func TestAPlainCommandThatCannotBeStartedIsTriedByBash(t *testing.T) {
	c := startAgent(t)
	os.WriteFile(filepath.Join(c.base, "script"), []byte("echo no format; exit 3\n"), 0o755)
	link := filepath.Join(c.base, "link")
	os.Symlink(c.base, link)
	for text, want := range map[string]string{
		"./script":  "no format\n",
		"./nothing": "/bin/bash: line 1: ./nothing: No such file or directory\n",
		c.base:      "/bin/bash: line 1: " + c.base + ": Is a directory\n",
	} {
		got := c.run(map[string]any{"argv": []string{"/bin/bash", "-c", text}, "cwd": c.base})
		if string(got.out) != want || got.exit == nil {
			t.Errorf("%s: %q", text, got.out)
		}
	}
	got := c.run(map[string]any{"argv": []string{"/bin/bash", "-c", "env"}, "cwd": link})
	if own, _ := filepath.EvalSymlinks(c.base); !strings.Contains(string(got.out), "PWD="+own+"\n") {
		t.Errorf("PWD is not the directory's own name: %q", got.out)
	}
	os.WriteFile(filepath.Join(c.base, "bash"), []byte("#!/bin/sh\necho another\n"), 0o755)
	got = c.run(map[string]any{"argv": []string{"bash", "-c", "true"}, "env": map[string]string{"PATH": c.base + ":/usr/bin:/bin"}})
	if string(got.out) != "another\n" {
		t.Errorf("a bash of the user's own: %q", got.out)
	}
}
