package main

import (
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestTheReasonOfAnEndIsTheFirstThatIsKnown(t *testing.T) {
	killed := syscall.WaitStatus(9)
	p := &process{}
	if why := p.why(killed, 0); !strings.Contains(why, "SIGKILL") || !strings.Contains(why, "inside") {
		t.Error(why)
	}
	if why := p.why(syscall.WaitStatus(139<<8), 0); !strings.Contains(why, "SIGSEGV") {
		t.Error(why)
	}
	for _, plain := range []int{0, 1, 2, 126, 127, 128, 200} {
		if why := p.why(syscall.WaitStatus(plain<<8), 0); why != "" {
			t.Errorf("%d: %s", plain, why)
		}
	}
	p.sent = 1 << syscall.SIGINT
	for _, status := range []syscall.WaitStatus{2, 130 << 8} {
		if why := p.why(status, 0); !strings.Contains(why, "request") {
			t.Error(why)
		}
	}
	p.timedOut = true
	if why := p.why(killed, 3*time.Second); !strings.Contains(why, "3 s") {
		t.Error(why)
	}
	p.because("memory")
	p.because("later")
	if why := p.why(killed, time.Second); why != "memory" {
		t.Error(why)
	}
}

func TestAGrandchildsEndIsTheCommandsAffair(t *testing.T) {
	table := newProcessTable()
	mine, other := &process{}, &process{}
	table.byPID[10], table.byPID[20] = mine, other
	all := map[int]processStat{10: {parent: 1, session: 10}, 11: {parent: 10, session: 10}, 12: {parent: 11, session: 12}, 13: {parent: 1, session: 10}}
	table.blame(12, all, "grandchild")
	if mine.reason != "grandchild" || other.reason != "" {
		t.Errorf("%q %q", mine.reason, other.reason)
	}
	mine.reason = ""
	if table.blame(13, all, "orphan"); mine.reason != "orphan" {
		t.Errorf("%q", mine.reason)
	}
}
