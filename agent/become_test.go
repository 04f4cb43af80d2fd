package main

import (
	"os"
	"strings"
	"testing"
)

func TestAProgramBeginsASessionOfItsOwnWithNoSignalBlocked(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("namespaces need root")
	}
	c := startAgent(t, "--behind-door")
	alone := map[string]any{"argv": []string{"/usr/bin/awk", "{print $1 == $6}", "/proc/self/stat"}}
	if got := c.run(alone); string(got.out) != "1\n" {
		t.Errorf("%q", got.out)
	}
	masked := map[string]any{"argv": []string{"/bin/grep", "SigBlk", "/proc/self/status"}}
	if got := c.run(masked); !strings.HasSuffix(string(got.out), "0000000000000000\n") {
		t.Errorf("%q", got.out)
	}
}
