package main

import (
	"syscall"
	"testing"
)

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
