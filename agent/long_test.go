package main

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestACommandLineThatIsTooLongForTheKernelRunsAllTheSame(t *testing.T) {
	text := "cat; echo $0; : '" + strings.Repeat("x", 300<<10) + "'; echo end"
	for _, shell := range []string{"bash", "sh"} {
		program, err := exec.LookPath(shell)
		if err != nil {
			continue
		}
		argv, script, err := longCommand([]string{program, "-c", text}, false)
		if err != nil || script != text {
			t.Fatalf("%s: %d bytes, %v", shell, len(script), err)
		}
		pipe, err := scriptPipe(script)
		if err != nil {
			t.Fatal(err)
		}
		command := exec.Command(argv[0], argv[1:]...)
		command.Stdin = strings.NewReader("input\n")
		command.ExtraFiles = []*os.File{pipe}
		got, err := command.CombinedOutput()
		pipe.Close()
		if err != nil || string(got) != "input\n"+program+"\nend\n" {
			t.Errorf("%s: %.200q %v", shell, got, err)
		}
	}
}

func TestWhatNoShellCouldReadIsRefused(t *testing.T) {
	long := strings.Repeat("x", longestArgument+1)
	fits := []string{"echo", long[:longestArgument]}
	if argv, script, err := longCommand(fits, false); err != nil || script != "" || len(argv) != 2 {
		t.Errorf("%v %q", err, script)
	}
	for name, argv := range map[string][]string{
		"a program": {"echo", long}, "another shell": {"fish", "-c", long}, "a second long word": {"sh", "-c", long, long},
		"a script's own -c":          {"sh", "script", "-c", long},
		"a script beyond all bounds": {"sh", "-c", strings.Repeat("x", longestScript+1)},
	} {
		_, _, err := longCommand(argv, false)
		var own *apiError
		if !errors.As(err, &own) || own.status != 413 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if argv, script, err := longCommand([]string{"sh", "-c", long, "name", "word"}, false); err != nil || script != long || argv[3] != "name" || argv[4] != "word" {
		t.Errorf("words behind the text: %v %v", argv, err)
	}
	if _, _, err := longCommand([]string{"sh", "-c", long}, true); err == nil {
		t.Error("a terminal's shell has no such descriptor")
	}
}
