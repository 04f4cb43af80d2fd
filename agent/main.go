// The guest agent: the first process of a pyro machine and its only link to the daemon.
//
// It serves docs/agent-protocol.md on connections that it dials to the daemon (gVisor) or on vsock (Firecracker).
// Standard library only.
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime/debug"
)

// Version of the protocol that this agent speaks.
const protocolVersion = 1

// Version of this program, for people; nothing depends on it.
const agentVersion = "1.1"

func main() {
	if len(os.Args) > 5 && os.Args[1] == inTerminal {
		becomeInTerminal(os.Args[2:])
	}
	listen := flag.String("listen", "dial:/pyro/run/agent.sock", "dial:PATH, vsock:PORT or unix:PATH")
	workspace := flag.String("workspace", "/workspace", "the directory that file operations are confined to")
	seed := flag.String("seed", "/pyro/seed/tree", "where the seed appears")
	upper := flag.String("upper", "/pyro/upper", "a writable file system for what changes")
	noInit := flag.Bool("no-init", false, "do not act as the first process: no overlay, no identity")
	behind := flag.Bool("behind-door", false, "with no-init: commands in namespaces of their own all the same")
	booting := flag.Bool("boot", false, "this is the init of an initramfs: make a machine of it first")
	flag.Parse()
	drive := ""
	if *booting {
		drive = seedDevice
		if err := boot(); err != nil {
			fmt.Fprintln(os.Stderr, "pyro-agent: boot:", err)
			powerOff()
		}
	}
	// An idle agent should be small; its work is short-lived buffers.
	debug.SetGCPercent(50)
	os.MkdirAll(*workspace, 0o755)
	agent := newAgent(config{listen: *listen, workspace: *workspace, seed: *seed, upper: *upper, seedDevice: drive, init: !*noInit})
	if !*noInit {
		raiseLoopback()
		agent.rehearse()
	}
	go agent.processes.reap()
	if *behind {
		if err := agent.processes.closeIn(false, 0); err != nil {
			fmt.Fprintln(os.Stderr, "pyro-agent:", err)
			os.Exit(1)
		}
	}
	if err := agent.serveForever(); err != nil {
		fmt.Fprintln(os.Stderr, "pyro-agent:", err)
		os.Exit(1)
	}
}
