package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestAnAgentThatCannotListenSaysSoAndEnds(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, listen := range []string{"carrier-pigeon:1", "vsock:many", "unix:/nowhere/at/all/a.sock"} {
		command := exec.Command(self, "--no-init", "--listen", listen, "--workspace", t.TempDir())
		command.Env = append(os.Environ(), "PYRO_TEST_AGENT=1")
		said, err := command.CombinedOutput()
		if command.ProcessState.ExitCode() != 1 || !strings.HasPrefix(string(said), "pyro-agent: ") {
			t.Errorf("%s: %q %v", listen, said, err)
		}
	}
}
