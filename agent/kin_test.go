package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in 20 s it did not come to be that %s", what)
		}
	}
}

func TestAProcessIsKnownWhateverItsNameIs(t *testing.T) {
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	odd := filepath.Join(t.TempDir(), "a) b (S 1")
	if err := os.Symlink(sleep, odd); err != nil {
		t.Fatal(err)
	}
	command := exec.Command(odd, "60")
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { command.Process.Kill(); command.Wait() }()
	pid := command.Process.Pid
	await(t, "it has its name", func() bool { return readText("/proc/self/stat") != "" && processes()[pid].started != "" })
	if found := processes()[pid]; found.parent != os.Getpid() || found.dead {
		t.Errorf("%+v", found)
	}
	command.Process.Kill()
	await(t, "it is seen to be dead", func() bool { return processes()[pid].dead })
}

func TestWhatAProcessStartedEndsWithItEvenInASessionOfItsOwn(t *testing.T) {
	command := exec.Command("sh", "-c", "sleep 60 & setsid sh -c 'sleep 60 & echo $!; sleep 60' & wait")
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	pid := command.Process.Pid
	io.ReadAtLeast(out, make([]byte, 1), 1) // the innermost runs
	stranger := exec.Command("sleep", "60")
	stranger.Start()
	defer func() { stranger.Process.Kill(); stranger.Wait() }()

	p := &process{pid: pid}
	p.gather(pid)
	if len(p.kin) < 3 || p.kin[stranger.Process.Pid] != "" || !p.sweep {
		t.Errorf("its kin: %v", p.kin)
	}
	kin := p.kin
	command.Process.Kill()
	p.endKin()
	command.Wait()
	for each, started := range kin {
		await(t, "its kin has ended", func() bool {
			found, there := processes()[each]
			return !there || found.dead || found.started != started
		})
	}
	if found := processes()[stranger.Process.Pid]; found.dead || found.started == "" {
		t.Error("a stranger was ended")
	}
}
