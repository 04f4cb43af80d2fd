package main

import (
	"strings"
	"testing"
)

func TestTheMachinesOwnMemoryIsShownInTheKernelsForm(t *testing.T) {
	actual := "MemTotal:       24684092 kB\nMemFree:        24584092 kB\nMemAvailable:   24584092 kB\nActive:           90000 kB\nSwapTotal:             0 kB\n"
	got, used := meminfo(actual, 256<<20)
	if used != 100000<<10 {
		t.Errorf("%d bytes are used", used)
	}
	for _, want := range []string{"MemTotal:         262144 kB\n", "MemFree:          162144 kB\n", "MemAvailable:     162144 kB\n", "Active:            90000 kB\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in %q", want, got)
		}
	}
	if full, _ := meminfo(strings.Replace(actual, "24584092", "0", 2), 256<<20); !strings.Contains(full, "MemFree:               0 kB\n") || len(full) != len(got) {
		t.Errorf("%q", full)
	}
}
