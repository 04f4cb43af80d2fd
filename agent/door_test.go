package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestBehindTheDoorNothingOfTheAgentIsSeenAndItOutlivesTheNamespace(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("namespaces need root")
	}
	c := startAgent(t, "--behind-door")
	if got := c.run(shell("echo $$ $PPID; cat /proc/1/comm; grep -l agent /proc/[0-9]*/comm; exit 7")); string(got.out) != "2 0\nfirst\n" || got.exit == nil || *got.exit.ExitCode != 7 {
		t.Fatalf("%q %+v", got.out, got.exit)
	}
	c.run(shell("(sleep 1000; echo) >/dev/null 2>&1 & mount -t tmpfs none /mnt; echo x > /mnt/only-inside"))
	if _, err := os.Stat("/mnt/only-inside"); err == nil {
		t.Error("a mount of a command's is seen outside")
	}
	if got := c.run(shell("cat /mnt/only-inside; pgrep -fx 'sleep 1000' | wc -l")); string(got.out) != "x\n1\n" {
		t.Errorf("the next command does not find what the last one left: %q", got.out)
	}
	tty := shell("stty size; test -t 1 && echo terminal")
	tty["tty"] = map[string]int{"rows": 33, "cols": 77}
	if got := c.run(tty); string(got.out) != "33 77\r\nterminal\r\n" {
		t.Errorf("%q", got.out)
	}
	for _, blow := range []string{"kill -9 1", "kill -STOP 1", "kill -9 -1", "kill -9 $$", "kill -SEGV 1"} {
		c.run(shell(blow))
		if got := c.run(shell("echo on; exit 3")); string(got.out) != "on\n" || *got.exit.ExitCode != 3 {
			t.Errorf("after %s: %q %+v", blow, got.out, got.exit)
		}
	}
	long := strings.Repeat("x", 100_000)
	if got := c.run(map[string]any{"argv": []string{"sh", "-c", "echo ${#1} ${#2}", "sh", long, long}}); string(got.out) != "100000 100000\n" {
		t.Errorf("%.100q", got.out)
	}
	if status, answer := c.call("POST", "/v1/processes", `{"argv":["true"],"cwd":"/no/such"}`); !strings.Contains(answer, "cwd_missing") {
		t.Errorf("%d %s", status, answer)
	}
}

// Ends are told on the same way as the answers to orders, and one may come before the answer that somebody waits for.
func TestCommandsThatEndWhileOthersBeginBehindTheDoorGetTheirOwnEnds(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("namespaces need root")
	}
	c := startAgent(t, "--behind-door")
	const atOnce, each = 12, 40
	failed := make(chan string, atOnce)
	for worker := range atOnce {
		go func() {
			for i := range each {
				number := worker*each + i
				got := c.run(shell(fmt.Sprintf("echo %d; exit %d", number, number%100)))
				if string(got.out) != fmt.Sprintf("%d\n", number) || got.exit == nil || got.exit.ExitCode == nil || *got.exit.ExitCode != number%100 {
					failed <- fmt.Sprintf("command %d: %q %+v", number, got.out, got.exit)
					return
				}
				if status, _ := c.call("GET", "/v1/health", ""); status != 200 {
					failed <- fmt.Sprintf("health: %d", status)
					return
				}
			}
			failed <- ""
		}()
	}
	for range atOnce {
		if why := <-failed; why != "" {
			t.Fatal(why)
		}
	}
}

// A namespace may end at any moment; who begins a command just then gets the next one, or hears that it was ended.
func TestACommandThatBeginsWhileTheNamespaceEndsIsStartedInTheNextOne(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("namespaces need root")
	}
	c := startAgent(t, "--behind-door")
	for round := range 60 {
		blow := make(chan struct{})
		go func() {
			defer close(blow)
			c.call("POST", "/v1/processes", `{"argv":["/bin/sh","-c","kill -9 1"],"cwd":"/"}`)
		}()
		for range 3 {
			if status, answer := c.call("POST", "/v1/processes", `{"argv":["/bin/true"],"cwd":"/"}`); status != 200 && status != 201 {
				t.Fatalf("round %d: %d %s", round, status, answer)
			}
		}
		<-blow
	}
}
