package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"sync"
)

// Frame types; see docs/agent-protocol.md.
const (
	frameStdout   = 1
	frameStderr   = 2
	frameExit     = 3
	frameError    = 4
	frameStarted  = 5
	frameStdin    = 16
	frameStdinEOF = 17
	frameResize   = 18
	frameSignal   = 19
	frameData     = 32
	frameEnd      = 33

	frameHeader     = 13
	maxFramePayload = 64 << 10
)

type frame struct {
	kind    byte
	offset  uint64
	payload []byte
}

func putFrameHeader(to []byte, kind byte, offset uint64, length int) {
	to[0] = kind
	binary.BigEndian.PutUint32(to[1:], uint32(length))
	binary.BigEndian.PutUint64(to[5:], offset)
}

func appendFrame(to []byte, kind byte, offset uint64, payload []byte) []byte {
	var head [frameHeader]byte
	putFrameHeader(head[:], kind, offset, len(payload))
	return append(append(to, head[:]...), payload...)
}

// readFrame reads one whole frame; a payload beyond the bound is an error, never an allocation.
func readFrame(r io.Reader) (frame, error) {
	var head [frameHeader]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return frame{}, err
	}
	length := binary.BigEndian.Uint32(head[1:5])
	if length > maxFramePayload {
		return frame{}, fmt.Errorf("a frame of %d bytes; %d is the bound", length, maxFramePayload)
	}
	f := frame{kind: head[0], offset: binary.BigEndian.Uint64(head[5:]), payload: make([]byte, length)}
	if _, err := io.ReadFull(r, f.payload); err != nil {
		return frame{}, io.ErrUnexpectedEOF
	}
	return f, nil
}

// frameWriter keeps frames of one stream whole when several goroutines write.
type frameWriter struct {
	lock sync.Mutex
	w    io.Writer
	buf  []byte
}

func (f *frameWriter) write(kind byte, offset uint64, payload []byte) error {
	f.lock.Lock()
	defer f.lock.Unlock()
	f.buf = appendFrame(f.buf[:0], kind, offset, payload)
	_, err := f.w.Write(f.buf)
	return err
}

func (f *frameWriter) writeJSON(kind byte, value any) error {
	payload, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return f.write(kind, 0, payload)
}
