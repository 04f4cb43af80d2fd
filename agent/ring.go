package main

import "sync"

const ringSize = 4 << 20 // bytes of output kept for each process until somebody reads them

// ring holds the latest output of a process: chunks of either stream at absolute offsets.
//
// While a follower reads, a full ring makes the writer wait, so the process is slowed and nothing is lost.
// With no follower the oldest bytes are dropped and counted.
type ring struct {
	lock      sync.Mutex
	changed   *sync.Cond
	chunks    []frame
	begin     uint64 // offset of the first kept byte
	end       uint64 // offset behind the last byte ever written
	dropped   uint64
	followers map[*uint64]struct{}
	closed    bool
}

func newRing() *ring {
	r := &ring{followers: map[*uint64]struct{}{}}
	r.changed = sync.NewCond(&r.lock)
	return r
}

// slowest is the position of the follower that is furthest behind; false without one.
func (r *ring) slowest() (uint64, bool) {
	var position uint64
	found := false
	for follower := range r.followers {
		if !found || *follower < position {
			position, found = *follower, true
		}
	}
	return position, found
}

func (r *ring) write(kind byte, data []byte) {
	r.lock.Lock()
	defer r.lock.Unlock()
	for {
		if r.closed {
			return // after the end of the main process; see docs/agent-protocol.md
		}
		position, followed := r.slowest()
		if !followed || r.end-position+uint64(len(data)) <= ringSize {
			break
		}
		r.changed.Wait()
	}
	if last := len(r.chunks) - 1; last >= 0 && r.chunks[last].kind == kind && len(r.chunks[last].payload)+len(data) <= maxFramePayload {
		r.chunks[last].payload = append(r.chunks[last].payload, data...)
	} else {
		r.chunks = append(r.chunks, frame{kind: kind, offset: r.end, payload: append(make([]byte, 0, max(len(data), 512)), data...)})
	}
	r.end += uint64(len(data))
	for r.end-r.begin > ringSize {
		size := uint64(len(r.chunks[0].payload))
		r.begin += size
		r.dropped += size
		r.chunks[0] = frame{}
		r.chunks = r.chunks[1:]
	}
	r.changed.Broadcast()
}

// follow registers a reader at an offset; `leave` must be called.
func (r *ring) follow(offset uint64) *uint64 {
	r.lock.Lock()
	defer r.lock.Unlock()
	position := max(offset, r.begin)
	r.followers[&position] = struct{}{}
	return &position
}

func (r *ring) leave(position *uint64) {
	r.lock.Lock()
	defer r.lock.Unlock()
	delete(r.followers, position)
	r.changed.Broadcast()
}

// next gives the chunk at the follower's position, waiting for one; false at the end or when `stop` says so.
func (r *ring) next(position *uint64, stop func() bool) (frame, bool) {
	r.lock.Lock()
	defer r.lock.Unlock()
	for {
		if stop() {
			return frame{}, false
		}
		if *position < r.begin {
			*position = r.begin
		}
		for i := range r.chunks {
			c := &r.chunks[i]
			end := c.offset + uint64(len(c.payload))
			if *position < end {
				cut := *position - c.offset
				return frame{kind: c.kind, offset: *position, payload: c.payload[cut:len(c.payload):len(c.payload)]}, true
			}
		}
		if r.closed {
			return frame{}, false
		}
		r.changed.Wait()
	}
}

// advance tells that the follower has passed on n bytes; bytes that all followers have are dropped.
func (r *ring) advance(position *uint64, n int) {
	r.lock.Lock()
	defer r.lock.Unlock()
	*position += uint64(n)
	r.changed.Broadcast()
}

func (r *ring) close() {
	r.lock.Lock()
	defer r.lock.Unlock()
	r.closed = true
	r.changed.Broadcast()
}

func (r *ring) wake() {
	r.lock.Lock()
	r.changed.Broadcast()
	r.lock.Unlock()
}

func (r *ring) counts() (end, dropped uint64) {
	r.lock.Lock()
	defer r.lock.Unlock()
	return r.end, r.dropped
}
