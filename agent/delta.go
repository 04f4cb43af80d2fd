package main

import (
	"fmt"
	"maps"
	"os"
	"path"
	"syscall"
)

const (
	deltaFiles = 20
	deltaBytes = 24 << 10 // of names and contents: the end of a command is one frame
)

// delta is what files have become between two looks, with their contents: the end of a command that changed little
// carries it, so that whoever keeps checkpoints need not look again.
type delta struct {
	Since uint64      `json:"since"`
	Look  uint64      `json:"look"`
	Files []deltaFile `json:"files"`
}

type deltaFile struct {
	Path    wireName `json:"path"`
	Kind    string   `json:"kind"` // file, symlink, absent; same: as in the baseline
	Mode    uint32   `json:"mode"`
	Content *[]byte  `json:"content,omitempty"`
	Link    wireName `json:"link,omitempty"`
	Mark    string   `json:"mark,omitempty"`
}

// lookedWhole begins a look at all changes: later deltas count from here. 0 where there can be none.
func (a *agent) lookedWhole() uint64 {
	if a.lower.Load() == nil {
		return 0
	}
	a.watch.lock.Lock()
	defer a.watch.lock.Unlock()
	now, whole := lookAt(a.upperTree(), lookEntriesMax)
	if !whole {
		a.watch.kept = nil
		return 0
	}
	a.watch.kept = now
	a.watch.look++
	return a.watch.look
}

// deltaTo says how files got from the last look that was kept to this one; nil where a look at all is simpler: many
// files or large ones, directories that came, went or changed. The lock is held.
func (a *agent) deltaTo(now map[string]mark) *delta {
	w := &a.watch
	if w.kept == nil {
		return nil
	}
	names, doubtful, plain := differing(w.kept, now)
	if !plain {
		return nil
	}
	made := &delta{Since: w.look, Look: w.look, Files: []deltaFile{}}
	if len(names)+len(doubtful) > 0 && !a.describe(made, names, doubtful) {
		return nil
	}
	if len(made.Files) == 0 {
		return made // the same look: whoever drops the word that nothing changed can take the next delta all the same
	}
	w.kept = maps.Clone(now) // the other one is written to: see `noticed`
	w.look++
	made.Look = w.look
	return made
}

// differing are the entries other than directories that differ, and the directories that may have to be named
// themselves; false where there are too many, or directories that went, were replaced, or have other rights.
func differing(before, now map[string]mark) (names, doubtful []string, plain bool) {
	children := map[string]int{} // of the directories that differ
	for name, m := range now {
		old, known := before[name]
		if known && old == m || madeNames[path.Base(name)] {
			continue
		}
		if known && old.isDir() != m.isDir() {
			return nil, nil, false
		}
		if m.isDir() {
			if known && (old.ino != m.ino || old.mode != m.mode) {
				return nil, nil, false
			}
			children[name] = 0
			continue
		}
		if names = append(names, name); len(names) > deltaFiles {
			return nil, nil, false
		}
		if !known {
			children[path.Dir(name)] = 0 // within one tick of the clock its own mark may stay
		}
	}
	for name, m := range before {
		if _, there := now[name]; there || madeNames[path.Base(name)] {
			continue
		}
		if names = append(names, name); m.isDir() || len(names) > deltaFiles {
			return nil, nil, false
		}
		children[path.Dir(name)] = 0
	}
	delete(children, ".")
	if len(children) == 0 {
		return names, nil, true
	}
	was := map[string]bool{}
	for name, m := range before {
		if m.fills(name) {
			was[path.Dir(name)] = true
		}
	}
	for name, m := range now {
		if count, differs := children[path.Dir(name)]; differs && m.fills(name) {
			children[path.Dir(name)] = count + 1
		}
	}
	for name, count := range children {
		if _, known := before[name]; count == 0 || known && !was[name] {
			doubtful = append(doubtful, name)
		}
	}
	return names, doubtful, true
}

// fills tells that a directory that holds the entry is not looked at as an empty one.
func (m mark) fills(name string) bool {
	switch m.mode & syscall.S_IFMT {
	case syscall.S_IFREG, syscall.S_IFLNK, syscall.S_IFDIR:
		return !madeNames[path.Base(name)]
	}
	return false
}

// describe reads what stands at the names; false where that is no simple thing.
func (a *agent) describe(made *delta, names, doubtful []string) bool {
	lower, err := a.layer("lower")
	if err != nil {
		return false
	}
	defer lower.Close()
	upper, err := os.OpenRoot(a.upperTree())
	if err != nil {
		return false
	}
	defer upper.Close()
	d := &differ{upper: upper, lower: lower, upperPath: a.upperTree(), marks: true}
	for _, name := range doubtful {
		if before := sideOf(lower, name); before == nil || !d.plainDirectory(name) {
			return false // an empty directory that is new, or no more
		}
	}
	seen := map[string]bool{}
	left := int64(deltaBytes)
	for _, name := range names {
		for up := path.Dir(name); up != "." && !seen[up]; up = path.Dir(up) {
			if seen[up] = true; !d.plainDirectory(up) {
				return false
			}
		}
		file, good := d.described(name, left)
		if !good {
			return false
		}
		left -= int64(file.Path.written() + file.Link.written())
		if file.Content != nil {
			left -= int64(len(*file.Content))
		}
		if left < 0 {
			return false
		}
		made.Files = append(made.Files, file)
	}
	return true
}

// plainDirectory tells of a directory that is as the seed has it but for what is in it, or that is new.
func (d *differ) plainDirectory(name string) bool {
	if d.isOpaque(name) {
		return false
	}
	before, after := sideOf(d.lower, name), sideOf(d.upper, name)
	return after != nil && after.Kind == "dir" && (before == nil || *before == *after)
}

func (d *differ) described(name string, bound int64) (deltaFile, bool) {
	file := deltaFile{Path: wireName(name), Kind: "same"}
	before := sideOf(d.lower, name)
	if before != nil && before.Kind == "dir" {
		return file, false
	}
	info, err := d.upper.Lstat(name)
	if err != nil {
		return file, before == nil // it was there for a moment
	}
	if d.isWhiteout(name, info) {
		if before != nil {
			file.Kind = "absent"
		}
		return file, true
	}
	after := sideOf(d.upper, name)
	if after == nil || after.Kind == "dir" || after.Size > bound {
		return file, false
	}
	if d.same(name, before, after) {
		return file, true
	}
	m, err := markOf(path.Join(d.upperPath, name))
	if err != nil {
		return file, false
	}
	state, err := stateOf(d.upper, name, bound)
	if err != nil || state.Kind != after.Kind || state.Kind == "file" && state.Content == nil {
		return file, false
	}
	file.Kind, file.Mode, file.Content, file.Link = state.Kind, state.Mode, state.Content, state.Link
	file.Mark = fmt.Sprintf("%d.%d.%d", m.ctime, m.ino, m.size)
	return file, true
}
