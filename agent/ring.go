package main

import (
	"sort"
	"sync"
)

// Bytes of output kept for each process, read or not; a request may choose another bound within these.
const (
	ringSize = 4 << 20
	minRing  = 64 << 10 // more than one read of a pipe
	maxRing  = 16 << 20
)

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
	limit     uint64
	seen      uint64 // how far the follower that came furthest has read
	dropped   uint64 // bytes that went away before anybody had read them
	followers map[*uint64]struct{}
	closed    bool
}

// newRing makes a ring of `limit` bytes; 0 is ringSize.
func newRing(limit int) *ring {
	if limit == 0 {
		limit = ringSize
	}
	r := &ring{limit: uint64(limit), followers: map[*uint64]struct{}{}}
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
		if !followed || r.end-position+uint64(len(data)) <= r.limit {
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
	for r.end-r.begin > r.limit {
		r.evict(r.end - r.begin - r.limit)
	}
	r.changed.Broadcast()
}

// evict takes at most `over` bytes of the oldest chunk: a whole chunk could hold bytes that a follower has not
// read yet, since a chunk grows after a part of it was read.
func (r *ring) evict(over uint64) {
	first := &r.chunks[0]
	if size := uint64(len(first.payload)); over >= size {
		over = size
		*first = frame{}
		r.chunks = r.chunks[1:]
	} else {
		first.payload = first.payload[over:]
		first.offset += over
	}
	r.begin += over
	if r.begin > r.seen {
		r.dropped += r.begin - max(r.seen, r.begin-over)
	}
}

// follow registers a reader at an offset; `leave` must be called.
func (r *ring) follow(offset uint64) *uint64 {
	r.lock.Lock()
	defer r.lock.Unlock()
	position := min(max(offset, r.begin), r.end)
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
		i := sort.Search(len(r.chunks), func(i int) bool {
			return r.chunks[i].offset+uint64(len(r.chunks[i].payload)) > *position
		})
		if i < len(r.chunks) {
			c := &r.chunks[i]
			cut := *position - c.offset
			return frame{kind: c.kind, offset: *position, payload: c.payload[cut:len(c.payload):len(c.payload)]}, true
		}
		if r.closed {
			return frame{}, false
		}
		r.changed.Wait()
	}
}

// advance tells that the follower has passed on n bytes.
func (r *ring) advance(position *uint64, n int) {
	r.lock.Lock()
	defer r.lock.Unlock()
	*position += uint64(n)
	r.seen = max(r.seen, *position)
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
