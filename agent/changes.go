package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"strings"
	"syscall"
)

const maxChangesListed = 200_000

type side struct {
	Kind string   `json:"kind"`
	Mode uint32   `json:"mode"`
	Size int64    `json:"size"`
	Link wireName `json:"link,omitempty"`
	// Mark tells one state of a file from another without reading it; given when asked for, of what is there now.
	Mark string `json:"mark,omitempty"`
}

type treeChange struct {
	Path   wireName `json:"path"`
	Change string   `json:"change"`
	Old    *side    `json:"old"`
	New    *side    `json:"new"`
}

// special is a FIFO, socket or device: no diff has it, but who asks for one is told.
type special struct {
	Path wireName `json:"path"`
	Kind string   `json:"kind"`
}

// differ compares the overlay's upper layer with the seed below it. Only the upper is walked, so the cost
// grows with what was changed and not with the tree.
type differ struct {
	upper, lower *os.Root
	upperPath    string
	limit        int
	changes      []treeChange
	specials     []special
	truncated    bool
	// seed, where what a set-up made lies beneath it (prepared.go), and who asks wants what differs from the project:
	// what is only in the lower layer was made, so it is new when it was changed, and nothing when it was deleted.
	seed *os.Root
	// marks: only what somebody wrote, not git's own files and what tools make, each with its mark.
	marks bool
}

func (a *agent) changes(w http.ResponseWriter, r *http.Request) error {
	limit, err := numberOf(r, "limit", maxChangesListed, 1, maxChangesListed)
	if err != nil {
		return err
	}
	lower, err := a.layer("lower")
	if err != nil {
		return err
	}
	defer lower.Close()
	upperPath := path.Join(a.upper, "u")
	upper, err := os.OpenRoot(upperPath)
	if err != nil {
		return err
	}
	defer upper.Close()
	d := &differ{upper: upper, lower: lower, upperPath: upperPath, limit: int(limit), changes: []treeChange{}, specials: []special{}, marks: r.URL.Query().Get("marks") == "1"}
	if lower.Name() == mergedLower && !d.marks {
		if d.seed, err = os.OpenRoot(a.seed); err != nil {
			return err
		}
		defer d.seed.Close()
	}
	look := uint64(0)
	if d.marks {
		look = a.lookedWhole() // before: what comes meanwhile is in the next delta
	}
	if err := d.directory(".", true, false); err != nil {
		return err
	}
	writeJSON(w, 200, map[string]any{"changes": d.changes, "specials": d.specials, "truncated": d.truncated, "look": look})
	return nil
}

func sideOf(root *os.Root, name string) *side {
	info, err := root.Lstat(name)
	if err != nil {
		return nil
	}
	s := &side{Kind: kindOf(info.Mode()), Mode: permissions(info.Mode())}
	switch s.Kind {
	case "file":
		s.Size = info.Size()
	case "symlink":
		link, _ := root.Readlink(name)
		s.Link = wireName(link)
	case "other":
		return nil // sockets, FIFOs and devices are not part of a diff
	}
	return s
}

// before is what the seed has of a name; made tells that only a set-up's layer has it.
func (d *differ) before(name string) (before *side, made bool) {
	before = sideOf(d.lower, name)
	if before != nil && d.seed != nil {
		if _, err := d.seed.Lstat(name); err != nil {
			return nil, true
		}
	}
	return before, false
}

func (d *differ) note(name string, before, after *side) {
	if len(d.changes) >= d.limit {
		d.truncated = true
		return
	}
	what := "modified"
	switch {
	case before == nil:
		what = "added"
	case after == nil:
		what = "deleted"
	}
	d.changes = append(d.changes, treeChange{wireName(name), what, before, after})
}

func (d *differ) special(name string, info fs.FileInfo) {
	if len(d.specials) >= d.limit {
		d.truncated = true
		return
	}
	d.specials = append(d.specials, special{wireName(name), specialKind(info.Mode())})
}

// isWhiteout tells an overlay's mark for «deleted»: a character device 0:0, or in an overlay that is itself on
// an overlay an empty file with an attribute (Documentation/filesystems/overlayfs.rst, "Nesting overlayfs mounts").
func (d *differ) isWhiteout(name string, info fs.FileInfo) bool {
	if info.Mode()&fs.ModeCharDevice != 0 {
		stat, ok := info.Sys().(*syscall.Stat_t)
		return ok && stat.Rdev == 0
	}
	if !info.Mode().IsRegular() || info.Size() != 0 {
		return false
	}
	_, found := d.attribute(name, "overlay.whiteout")
	return found
}

func (d *differ) isOpaque(name string) bool {
	value, found := d.attribute(name, "overlay.opaque")
	return found && value == 'y'
}

// attribute is the first byte of an overlay's mark.
func (d *differ) attribute(name, attribute string) (byte, bool) {
	var value [8]byte
	for _, space := range []string{"trusted.", "user."} {
		if n, err := syscall.Getxattr(path.Join(d.upperPath, name), space+attribute, value[:]); err == nil {
			if n == 0 {
				return 0, true
			}
			return value[0], true
		}
	}
	return 0, false
}

// directory compares a directory of the upper layer; `merged` tells that the seed has one at this path, `opaque`
// that it is hidden by a directory above. Below an opaque directory the overlay marks nothing more.
func (d *differ) directory(name string, merged, opaque bool) error {
	names, err := readNames(d.upper, name)
	for range readAttempts {
		if err == nil || name == "." {
			break
		}
		if info, failed := d.upper.Lstat(name); failed != nil || !info.IsDir() {
			return nil // something else has its name by now
		}
		names, err = readNames(d.upper, name)
	}
	if err != nil {
		return err
	}
	opaque = opaque || name != "." && d.isOpaque(name)
	if merged && opaque {
		// Made anew where one was deleted: all of the old is gone but what stands here again.
		if err := d.hidden(name, names); err != nil {
			return err
		}
	}
	for _, base := range names {
		if d.marks && (base == ".git" || madeNames[base] || strings.HasPrefix(base, stagePrefix)) {
			continue
		}
		child := path.Join(name, base)
		info, err := d.upper.Lstat(child)
		if err != nil {
			continue
		}
		var before *side
		made := false
		if merged {
			before, made = d.before(child)
		}
		if d.isWhiteout(child, info) {
			d.gone(child, before)
			continue
		}
		after := sideOf(d.upper, child)
		switch {
		case after == nil:
			if kindOf(info.Mode()) == "other" {
				d.special(child, info)
			}
			d.gone(child, before)
		case after.Kind == "dir":
			if err := d.subdirectory(child, before, after, opaque, made); err != nil {
				return err
			}
		default:
			if before != nil && before.Kind == "dir" {
				d.gone(child, before)
				before = nil
			}
			if made && d.same(child, sideOf(d.lower, child), after) {
				break // only touched
			}
			if !d.same(child, before, after) {
				if stat, ok := info.Sys().(*syscall.Stat_t); ok && d.marks {
					after.Mark = fmt.Sprintf("%d.%d.%d", stat.Ctim.Nano(), stat.Ino, stat.Size)
				}
				d.note(child, before, after)
			}
		}
		if d.truncated {
			return nil
		}
	}
	return nil
}

func (d *differ) subdirectory(name string, before, after *side, opaque, made bool) error {
	if before != nil && before.Kind != "dir" {
		d.note(name, before, nil)
		before = nil
	}
	count := len(d.changes)
	if before != nil && before.Mode != after.Mode {
		d.note(name, before, after)
	}
	if err := d.directory(name, before != nil || made, opaque); err != nil {
		return err
	}
	if before == nil && !made && len(d.changes) == count {
		d.note(name, nil, after) // a new directory with nothing in it
	}
	return nil
}

// hidden notes what an opaque directory no longer shows of the one below it.
func (d *differ) hidden(name string, present []string) error {
	names, err := readNames(d.lower, name)
	if err != nil {
		return nil
	}
	still := map[string]bool{}
	for _, base := range present {
		still[base] = true
	}
	for _, base := range names {
		if !still[base] {
			child := path.Join(name, base)
			before, _ := d.before(child)
			d.gone(child, before)
		}
	}
	return nil
}

// gone notes a deletion, of a directory with all files in it.
func (d *differ) gone(name string, before *side) {
	if before == nil || d.truncated {
		return
	}
	if before.Kind != "dir" {
		d.note(name, before, nil)
		return
	}
	names, err := readNames(d.lower, name)
	if err != nil || len(names) == 0 {
		d.note(name, before, nil)
		return
	}
	for _, base := range names {
		child := path.Join(name, base)
		was, _ := d.before(child)
		d.gone(child, was)
	}
}

// same tells that a copied-up entry is what it was: a touch, or a change that was taken back.
func (d *differ) same(name string, before, after *side) bool {
	if before == nil || *before != *after {
		return false
	}
	if after.Kind != "file" {
		return true
	}
	old, err := d.lower.Open(name)
	if err != nil {
		return false
	}
	defer old.Close()
	now, err := d.upper.Open(name)
	if err != nil {
		return false
	}
	defer now.Close()
	return sameBytes(old, now)
}

func sameBytes(a, b io.Reader) bool {
	left, right := make([]byte, 64<<10), make([]byte, 64<<10)
	for {
		n, errA := io.ReadFull(a, left)
		m, errB := io.ReadFull(b, right)
		if n != m || !bytes.Equal(left[:n], right[:m]) {
			return false
		}
		if errA != nil || errB != nil {
			return ended(errA) && ended(errB)
		}
	}
}

func ended(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }
