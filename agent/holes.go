package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"os"
	"strings"
	"syscall"
)

const (
	// A member of which only parts are in the archive, in their order: the file's size, then offset and length of each
	// part. What is not in one is zeros.
	partsRecord = "PYRO.parts"
	holeBytes   = 64 << 10 // no smaller hole is looked for
	worthBytes  = 1 << 20  // of holes, together, for which a file is sent in parts
	seekData    = 3        // include/uapi/linux/fs.h
)

// mostParts: with so many the record stays below half a MiB. The tests set it.
var mostParts = 16384

// part is where a file has data.
type part struct{ offset, length int64 }

// partsOf reads a file once and gives where its first `size` bytes are not zeros; it calls `working` all the time. gVisor
// knows no SEEK_DATA, and counts the blocks of holes as well; but it reads them at gigabytes a second.
func partsOf(file *os.File, size int64, working func()) ([]part, error) {
	var parts []part
	tells := true
	buffer, zero := make([]byte, 16*holeBytes), make([]byte, holeBytes)
	for offset := int64(0); offset < size; {
		working()
		if tells {
			next, err := syscall.Seek(int(file.Fd()), offset, seekData)
			if err == syscall.ENXIO {
				break // a hole up to the end
			}
			if tells = err == nil; tells {
				if offset = next; offset >= size {
					break
				}
			}
		}
		n, err := file.ReadAt(buffer[:min(int64(len(buffer)), size-offset)], offset)
		if n == 0 {
			return nil, err
		}
		for at := 0; at < n; at += holeBytes {
			block := buffer[at:min(at+holeBytes, n)]
			if bytes.Equal(block, zero[:len(block)]) {
				continue
			}
			from, to := offset+int64(at), offset+int64(at+len(block))
			if last := len(parts) - 1; last >= 0 && (parts[last].offset+parts[last].length == from || len(parts) == mostParts) {
				parts[last].length = to - parts[last].offset
			} else {
				parts = append(parts, part{from, to - from})
			}
		}
		offset += int64(n)
	}
	return parts, nil
}

func stored(parts []part) (length int64) {
	for _, p := range parts {
		length += p.length
	}
	return length
}

func recordOf(parts []part, size int64) string {
	var text strings.Builder
	fmt.Fprint(&text, size)
	for _, p := range parts {
		fmt.Fprintf(&text, " %d %d", p.offset, p.length)
	}
	return text.String()
}

// readParts gives a file's parts, one after the other.
func readParts(file *os.File, parts []part) io.Reader {
	readers := make([]io.Reader, len(parts))
	for i, p := range parts {
		readers[i] = io.NewSectionReader(file, p.offset, p.length)
	}
	return io.MultiReader(readers...)
}

// sumOf is that of the file's first `size` bytes, its holes by where they are.
func sumOf(file *os.File, size int64, inParts bool, working func()) ([]byte, error) {
	parts := []part{{0, size}}
	if inParts {
		var err error
		if parts, err = partsOf(file, size, working); err != nil {
			return nil, err
		}
	}
	sum := newSum(parts, size)
	if n, err := io.Copy(sum, readParts(file, parts)); err != nil || n != stored(parts) {
		return nil, fmt.Errorf("%d bytes: %w", n, err)
	}
	return sum.Sum(nil), nil
}

func newSum(parts []part, size int64) hash.Hash {
	sum := sha256.New()
	io.WriteString(sum, recordOf(parts, size))
	return sum
}
