package main

import (
	"bytes"
	"encoding/binary"
	"testing"
)

func FuzzFrames(f *testing.F) {
	f.Add(appendFrame(nil, frameStdout, 7, []byte("hello")))
	f.Add([]byte{frameStdin, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{1, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		reader := bytes.NewReader(data)
		for {
			got, err := readFrame(reader)
			if err != nil {
				return
			}
			if len(got.payload) > maxFramePayload {
				t.Fatalf("a payload of %d bytes", len(got.payload))
			}
			again := appendFrame(nil, got.kind, got.offset, got.payload)
			if binary.BigEndian.Uint32(again[1:5]) != uint32(len(got.payload)) {
				t.Fatal("a frame does not survive being written again")
			}
		}
	})
}
