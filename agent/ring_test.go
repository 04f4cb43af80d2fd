package main

import (
	"bytes"
	"testing"
)

func TestARingKeepsTheLatestAndCountsTheRest(t *testing.T) {
	r := newRing(0)
	block := bytes.Repeat([]byte("x"), maxFramePayload)
	for range ringSize/maxFramePayload + 3 {
		r.write(frameStdout, block)
	}
	end, dropped := r.counts()
	if end-dropped > ringSize || dropped == 0 {
		t.Fatalf("end %d, dropped %d", end, dropped)
	}
	r.close()
	position := r.follow(0)
	if *position != dropped {
		t.Errorf("a follower starts at %d, the first kept byte is %d", *position, dropped)
	}
	got := uint64(0)
	for {
		chunk, more := r.next(position, func() bool { return false })
		if !more {
			break
		}
		got += uint64(len(chunk.payload))
		r.advance(position, len(chunk.payload))
	}
	if got != end-dropped {
		t.Errorf("%d bytes came, %d were kept", got, end-dropped)
	}
}

func TestAFollowerInTheMiddleOfAChunkLosesNothing(t *testing.T) {
	r := newRing(minRing)
	r.write(frameStdout, []byte("abcdef"))
	position := r.follow(3)
	r.write(frameStdout, bytes.Repeat([]byte("x"), minRing-3)) // just as much as this follower leaves room for
	chunk, _ := r.next(position, func() bool { return false })
	if chunk.offset != 3 || !bytes.HasPrefix(chunk.payload, []byte("def")) {
		t.Errorf("the next chunk is at %d: %.8q", chunk.offset, chunk.payload)
	}
}
