package main

import (
	"fmt"
	"testing"
)

func TestManyProcessesAtATimeAllEnd(t *testing.T) {
	c := startAgent(t)
	ended := make(chan int, 200)
	for i := range 200 {
		go func() {
			got := c.run(shell(fmt.Sprintf("exit %d", i)))
			if got.exit == nil || got.exit.ExitCode == nil {
				ended <- -1
			} else {
				ended <- *got.exit.ExitCode - i
			}
		}()
	}
	for range 200 {
		if wrong := <-ended; wrong != 0 {
			t.Fatalf("an exit status is off by %d", wrong)
		}
	}
}
