package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// groupOf is a control group as the kernel shows it, with so many processes and threads.
func groupOf(t *testing.T, processes, all string) string {
	place := t.TempDir()
	for name, text := range map[string]string{"cgroup.procs": processes, "pids.current": all, "pids.max": "max\n"} {
		if err := os.WriteFile(filepath.Join(place, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return place
}

// Here stands nothing that stops or ends: outside of a machine, that would be this computer's processes.
func TestTheCommandWithTheMostProcessesIsFoundAndThreadsAreTakenForWhatTheyAre(t *testing.T) {
	many := groupOf(t, strings.Repeat("7\n", 70), "70\n")
	threads := groupOf(t, "8\n", "900\n") // one process of many threads keeps nobody from their turn
	few := groupOf(t, "9\n10\n", "2\n")
	c := &crowd{groups: map[string]*group{many: {}, threads: {}, few: {}}}
	if place, most, all := c.see(); place != many || most != 70 || all != 972 {
		t.Errorf("%s with %d of %d", place, most, all)
	}
	if got := processesIn(few); len(got) != 2 || got[0] != "9" {
		t.Errorf("%v", got)
	}
	gone := filepath.Join(few, "gone")
	if countIn(gone) != 0 || len(processesIn(gone)) != 0 {
		t.Error("a group that went away has nobody")
	}
	if err := setLimit(few, 0); err != nil || readText(few+"/pids.max") != "0" {
		t.Errorf("%v %q", err, readText(few+"/pids.max"))
	}
}

func TestHowManyAreACrowdGoesByTheMemory(t *testing.T) {
	for memory, want := range map[int64]int{0: pidsOfOne / 2, 128 << 20: crowdMany, 1 << 30: 146, 1 << 40: pidsOfOne / 2} {
		if got := (&crowd{memory: memory}).many(); got != want {
			t.Errorf("with %d bytes %d are, not %d", memory, got, want)
		}
	}
}

func TestOutsideOfAMachineNothingIsCountedAndNothingEnded(t *testing.T) {
	p := &process{}
	place := groupOf(t, strings.Repeat("7\n", 100), "100\n")
	c := &crowd{counting: true, groups: map[string]*group{place: {p: p}}}
	c.watch(&door{})
	if c.watching || c.of(p) != "" || c.endOf(p) {
		t.Error("it would stop what is not the machine's")
	}
	if ended, why := c.relieve(1 << 30); ended != 0 || why != "" {
		t.Errorf("%d %s", ended, why)
	}
	if (&crowd{}).group(p) != nil {
		t.Error("one that counts nothing makes a control group")
	}
}
