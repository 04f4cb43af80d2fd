package main

import (
	"io"
	"os"
	"path"
	"strings"
)

// The kernel takes no argument longer than this (MAX_ARG_STRLEN of include/uapi/linux/binfmts.h, with its NUL).
const (
	longestArgument  = 128<<10 - 1
	longestScript    = 16 << 20
	scriptDescriptor = 3
)

// readScript has bash evaluate what comes from a descriptor, which it closes first. As with `bash -c`, standard input
// is the caller's, $0 is the shell, and there is nothing that a script file would have.
const readScript = `eval "exec 3<&-; $(</dev/fd/3)"`

// readScriptPlainly is the same for a shell that is no bash, with cat.
const readScriptPlainly = `eval "exec 3<&-; $(cat <&3)"`

// longCommand takes a command line out of an argv that is too long for the kernel: `bash -c TEXT` reads it from a
// descriptor. Gives the argv to run, and the text, empty where none was taken out.
func longCommand(argv []string, terminal bool) ([]string, string, error) {
	for i, argument := range argv {
		if len(argument) <= longestArgument {
			continue
		}
		reader := map[string]string{"bash": readScript, "sh": readScriptPlainly, "dash": readScriptPlainly}[path.Base(argv[0])]
		if !terminal && reader != "" && isScript(argv, i) {
			if len(argument) > longestScript {
				return nil, "", fail(413, "too_large", "The command has %d bytes; %d is the most.", len(argument), longestScript)
			}
			short := append([]string(nil), argv...)
			short[i] = reader
			for j, other := range short[i:] {
				if len(other) > longestArgument {
					return nil, "", fail(413, "too_large", "Argument %d has %d bytes; the kernel takes at most %d. Give it through standard input or a file.", i+j, len(other), longestArgument)
				}
			}
			return short, argument, nil
		}
		return nil, "", fail(413, "too_large", "Argument %d has %d bytes; the kernel takes at most %d. Give it through standard input or a file.", i, len(argument), longestArgument)
	}
	return argv, "", nil
}

// isScript says whether word i of a shell's command line is what `-c` (or `-lc`, as Codex has it) runs.
func isScript(argv []string, i int) bool {
	if i < 2 {
		return false
	}
	for _, word := range argv[1:i] {
		if !strings.HasPrefix(word, "-") && !strings.HasPrefix(word, "+") && word != "pipefail" {
			return false
		}
	}
	flag := argv[i-1]
	return strings.HasPrefix(flag, "-") && !strings.HasPrefix(flag, "--") && strings.HasSuffix(flag, "c")
}

// scriptPipe gives the reading end of a pipe through which a text comes; nobody waits for it to be read.
func scriptPipe(text string) (*os.File, error) {
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	go func() {
		defer writer.Close()
		io.WriteString(writer, text) // an error means that the shell reads no more
	}()
	return reader, nil
}
