package main

import (
	"bytes"
	"testing"
)

func FuzzDuplex(f *testing.F) {
	f.Add(appendFrame(appendFrame(nil, frameData, 0, []byte("hello")), frameEnd, 0, nil))
	f.Add(appendFrame(nil, frameData, 0, nil))
	f.Add([]byte{frameData, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Add(appendFrame(nil, frameStdin, 0, []byte("x")))
	f.Fuzz(func(t *testing.T, data []byte) {
		var out bytes.Buffer
		err := unframe(&out, bytes.NewReader(data))
		if out.Len() > len(data) {
			t.Fatalf("%d bytes came out of %d", out.Len(), len(data))
		}
		if err != nil {
			return
		}
		var again, back bytes.Buffer
		if err := inFrames(&again, bytes.NewReader(out.Bytes())); err != nil {
			t.Fatal(err)
		}
		if err := unframe(&back, &again); err != nil || !bytes.Equal(back.Bytes(), out.Bytes()) {
			t.Fatalf("what was framed again came back as other bytes (%v)", err)
		}
	})
}
