package main

import (
	"os"
	"path"
	"sort"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	changedNamed = 20 // paths that a command's end names
	changedBytes = 16 << 10
	// A look may always take in so many entries, 5 to 10 microseconds each, and more the longer the command ran, about a
	// twentieth of its time. They are counted, not timed: on a busy machine a clock would end every look at once.
	lookEntries    = 400
	lookEntriesMS  = 5 // for each millisecond
	lookEntriesMax = 20_000
	lookMost       = 500 * time.Millisecond // however busy the machine is
	checkEntries   = 64                     // between two looks at the clock
	clockSlack     = 20 * time.Millisecond  // a file's time may lag behind the clock (current_time in fs/inode.c)
)

// madeNames are directories of what tools make: looked at as one thing, not inside.
var madeNames = map[string]bool{
	"node_modules": true, "__pycache__": true, ".venv": true, "venv": true, ".tox": true, ".nox": true, ".pytest_cache": true,
	".mypy_cache": true, ".ruff_cache": true, ".hypothesis": true,
}

// mark is what tells one state of a file from another, without reading it.
type mark struct {
	ctime int64
	ino   uint64
	size  int64
	mode  uint32
}

func (m mark) isDir() bool { return m.mode&syscall.S_IFMT == syscall.S_IFDIR }

// watch remembers how the overlay's upper layer last looked, so that the end of a command can say what it changed.
// Only what was ever changed stands there, so a look costs as much as the work so far, not as the whole tree.
type watch struct {
	lock  sync.Mutex
	known map[string]mark // nil: not known
	// For deltas: the look that whoever keeps checkpoints had last, nil where there is none, and its number.
	kept map[string]mark
	look uint64
}

// changedBy is what a command's end says of the files.
type changedBy struct {
	Paths []wireName `json:"paths"`
	Count int        `json:"count"`
	Kept  *delta     `json:"kept,omitempty"`
}

func (a *agent) upperTree() string { return path.Join(a.upper, "u") }

// changedSince compares with the last look; nil when that would have taken too long. A process that runs beside
// others is told of what they changed as well: nobody can tell the writers apart.
//
// With `keeps` it says, where that is little, what the files have become.
func (a *agent) changedSince(started time.Time, keeps bool) *changedBy {
	if a.lower.Load() == nil {
		return nil
	}
	entries := min(lookEntries+int(time.Since(started).Milliseconds())*lookEntriesMS, lookEntriesMax)
	a.watch.lock.Lock()
	defer a.watch.lock.Unlock()
	before := a.watch.known
	now, whole := lookAt(a.upperTree(), entries)
	if !whole {
		a.watch.known, a.watch.kept = nil, nil
		return nil
	}
	a.watch.known = now
	said := a.difference(before, now, started.Add(-clockSlack).UnixNano())
	if keeps {
		said.Kept = a.deltaTo(now)
	}
	return said
}

func (a *agent) difference(before, now map[string]mark, since int64) *changedBy {
	found := []string{}
	below := map[string]bool{} // directories in which something is named
	for name, m := range now {
		old, known := before[name]
		if known && old == m || m.ctime < since {
			continue
		}
		if m.isDir() && !madeNames[path.Base(name)] {
			continue
		}
		found = append(found, name)
		for up := path.Dir(name); up != "." && !below[up]; up = path.Dir(up) {
			below[up] = true
		}
	}
	for name, m := range now {
		if _, known := before[name]; !known && m.isDir() && m.ctime >= since && !below[name] && !madeNames[path.Base(name)] {
			if _, err := os.Lstat(path.Join(*a.lower.Load(), name)); err != nil {
				found = append(found, name+"/") // an empty directory that is new
			}
		}
	}
	for name, m := range before {
		if _, there := now[name]; !there && !m.isDir() {
			found = append(found, name)
		}
	}
	sort.Strings(found)
	said := &changedBy{Paths: []wireName{}, Count: len(found)}
	left := changedBytes
	for _, name := range found[:min(len(found), changedNamed)] {
		if left -= wireName(name).written(); left < 0 {
			break
		}
		if m, there := now[name]; there && m.isDir() {
			name += "/"
		}
		said.Paths = append(said.Paths, wireName(name))
	}
	return said
}

// noticed takes over what the agent itself changed, so that no command is said to have done it.
func (a *agent) noticed(names ...string) {
	if a.lower.Load() == nil {
		return
	}
	a.watch.lock.Lock()
	defer a.watch.lock.Unlock()
	for _, name := range names {
		for ; a.watch.known != nil && name != "." && name != ""; name = path.Dir(name) {
			if m, err := markOf(path.Join(a.upperTree(), name)); err == nil {
				a.watch.known[name] = m
			} else {
				delete(a.watch.known, name)
				for below := range a.watch.known {
					if strings.HasPrefix(below, name+"/") {
						delete(a.watch.known, below)
					}
				}
			}
		}
	}
}

func (a *agent) noticedMuch() {
	a.watch.lock.Lock()
	defer a.watch.lock.Unlock()
	if a.lower.Load() != nil {
		if now, whole := lookAt(a.upperTree(), lookEntriesMax); whole {
			a.watch.known = now
		} else {
			a.watch.known = nil
		}
	}
}

func markOf(name string) (mark, error) {
	var stat syscall.Stat_t
	if err := syscall.Lstat(name, &stat); err != nil {
		return mark{}, err
	}
	m := mark{ctime: stat.Ctim.Nano(), ino: stat.Ino, mode: stat.Mode}
	if stat.Mode&syscall.S_IFMT != syscall.S_IFDIR {
		m.size = stat.Size
	}
	return m, nil
}

// lookAt walks a tree, not below what tools make; false when it has more entries than that, or takes too long.
func lookAt(tree string, entries int) (map[string]mark, bool) {
	deadline := time.Now().Add(lookMost)
	found := map[string]mark{}
	count := 0
	var walk func(directory string) bool
	walk = func(directory string) bool {
		d, err := os.Open(path.Join(tree, directory))
		if err != nil {
			return true // it went away
		}
		names, err := d.Readdirnames(entries + 1) // no more than are looked at: a directory may have very many
		d.Close()
		if err != nil {
			return true
		}
		for _, base := range names {
			if base == ".git" || strings.HasPrefix(base, stagePrefix) {
				continue
			}
			if count++; count > entries || count%checkEntries == 0 && time.Now().After(deadline) {
				return false
			}
			name := path.Join(directory, base)
			m, err := markOf(path.Join(tree, name))
			if err != nil {
				continue
			}
			found[name] = m
			if m.isDir() && !madeNames[base] && !walk(name) {
				return false
			}
		}
		return true
	}
	return found, walk(".")
}
