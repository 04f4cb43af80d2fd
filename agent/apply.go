package main

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net/http"
	"os"
	"path"
	"syscall"
)

const (
	maxChanges = 50000
	maxContent = 16 << 20 // bytes of file content in one request
)

type change struct {
	Op             string   `json:"op"`
	WirePath       wireName `json:"path"`
	WireTo         wireName `json:"to"`
	WireLink       wireName `json:"link"`
	Path, To, Link string   `json:"-"`
	Mode           *uint32  `json:"mode"`
	Content        []byte   `json:"content"`
	MakeParents    bool     `json:"make_parents"`
	// PruneParents removes the directories that a deletion leaves empty.
	PruneParents bool   `json:"prune_parents"`
	Expect       string `json:"expect"`
	// Staged is the name of the content in the request's stage, instead of Content.
	Staged string `json:"staged"`
}

type applyRequest struct {
	Changes []change `json:"changes"`
	// Stage was filled before; it goes with this request, whatever comes of it.
	Stage string `json:"stage"`
}

// applied tells what became of one change.
type applied struct {
	Path   wireName `json:"path"`
	Action string   `json:"action"` // created, replaced, deleted, renamed or changed
}

func actionOf(root *os.Root, c *change) string {
	switch c.Op {
	case "delete", "rmdir":
		return "deleted"
	case "rename":
		return "renamed"
	case "chmod":
		return "changed"
	}
	if _, err := root.Lstat(c.Path); err == nil {
		return "replaced"
	}
	return "created"
}

// journal knows how to take back what was done, newest first.
type journal struct {
	root   *os.Root
	stage  string
	number int
	undo   []func()
	// last is set for the last change of all: nothing can fail after it, so that it need not be taken back.
	last bool
}

func newJournal(root *os.Root) (*journal, error) {
	stage := stagePrefix + randomName()
	if err := root.Mkdir(stage, 0o700); err != nil {
		return nil, err
	}
	return &journal{root: root, stage: stage}, nil
}

func randomName() string {
	var raw [8]byte
	rand.Read(raw[:])
	return hex.EncodeToString(raw[:])
}

func (j *journal) temporary() string {
	j.number++
	return path.Join(j.stage, "n"+hex.EncodeToString([]byte{byte(j.number >> 16), byte(j.number >> 8), byte(j.number)}))
}

func (j *journal) rollback() {
	for i := len(j.undo) - 1; i >= 0; i-- {
		j.undo[i]()
	}
}

func (j *journal) finish() { j.root.RemoveAll(j.stage) }

func (j *journal) did(undo func()) { j.undo = append(j.undo, undo) }

// setAside moves what stands at a path into the stage, so that it can be put back.
func (j *journal) setAside(name string) error {
	kept := j.temporary()
	if err := j.move(name, kept); err != nil {
		return err
	}
	j.did(func() { j.move(kept, name) })
	return nil
}

// move renames. Linux refuses (EXDEV) to rename a directory that has a part in an overlay's lower layer: then
// the directory is made anew and its entries are moved one by one.
func (j *journal) move(from, to string) error {
	err := j.root.Rename(from, to)
	if !errors.Is(err, syscall.EXDEV) {
		return err
	}
	info, err := j.root.Lstat(from)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return syscall.EXDEV
	}
	if err := j.root.Mkdir(to, 0o700); err != nil {
		return err
	}
	j.give(to, info)
	directory, err := j.root.Open(from)
	if err != nil {
		return err
	}
	names, err := directory.Readdirnames(-1)
	directory.Close()
	if err != nil {
		return err
	}
	for i, base := range names {
		if err := j.move(path.Join(from, base), path.Join(to, base)); err != nil {
			for _, moved := range names[:i] {
				j.move(path.Join(to, moved), path.Join(from, moved))
			}
			j.root.Remove(to)
			return err
		}
	}
	if err := j.root.Chmod(to, info.Mode()); err != nil {
		return err
	}
	j.root.Chtimes(to, info.ModTime(), info.ModTime())
	return j.root.Remove(from)
}

func (j *journal) makeParents(name string) error {
	parent := path.Dir(name)
	if parent == "." {
		return nil
	}
	if _, err := j.root.Lstat(parent); err == nil {
		return nil
	}
	if err := j.makeParents(parent); err != nil {
		return err
	}
	if err := j.makeDirectory(parent); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	j.did(func() { j.root.Remove(parent) })
	return nil
}

// place puts a staged thing at its path in one rename, so that a reader finds the old file or the new one at every
// moment; a directory there is never replaced.
func (j *journal) place(staged, name string) error {
	info, err := j.root.Lstat(name)
	if err != nil {
		if err := j.root.Rename(staged, name); err != nil {
			return err
		}
		j.did(func() { j.root.RemoveAll(name) })
		return nil
	}
	if info.IsDir() {
		return fail(409, "is_directory", "%s is a directory.", shown(name))
	}
	kept := ""
	if !j.last {
		if kept, err = j.keep(name, info); err != nil {
			return err
		}
	}
	if err := j.root.Rename(staged, name); err != nil {
		return err
	}
	if kept != "" {
		j.did(func() { j.root.Rename(kept, name) })
	}
	return nil
}

// keep gives what stands at a path a second name in the stage, from which it can be put back.
func (j *journal) keep(name string, info os.FileInfo) (string, error) {
	kept := j.temporary()
	if j.root.Link(name, kept) == nil {
		return kept, nil
	}
	// Some file systems link nothing, and some no symbolic links.
	if info.Mode()&os.ModeSymlink != 0 {
		target, err := j.root.Readlink(name)
		if err != nil {
			return "", err
		}
		return kept, j.root.Symlink(target, kept)
	}
	if !info.Mode().IsRegular() {
		return kept, j.setAside(name) // a pipe or a device: nobody reads it as a file
	}
	content, err := j.root.ReadFile(name)
	if err != nil {
		return "", err
	}
	if err := j.root.WriteFile(kept, content, 0o600); err != nil {
		return "", err
	}
	if err := j.chown(kept, name); err != nil {
		return "", err
	}
	if err := j.root.Chmod(kept, info.Mode()); err != nil {
		return "", err
	}
	return kept, j.root.Chtimes(kept, info.ModTime(), info.ModTime())
}

// alone opens the workspace for a change; no other one of the agent's is made until `release`.
func (a *agent) alone() (root *os.Root, release func(), err error) {
	if root, err = a.root(); err != nil {
		return nil, nil, err
	}
	a.applyLock.Lock()
	return root, func() {
		a.applyLock.Unlock()
		root.Close()
	}, nil
}

func (a *agent) applyFiles(w http.ResponseWriter, r *http.Request) error {
	var request applyRequest
	if err := decode(r.Body, &request); err != nil {
		return err
	}
	for i := range request.Changes {
		c := &request.Changes[i]
		c.Path, c.To, c.Link = string(c.WirePath), string(c.WireTo), string(c.WireLink)
	}
	size := 0
	for i := range request.Changes {
		size += len(request.Changes[i].Content)
	}
	if len(request.Changes) == 0 || len(request.Changes) > maxChanges || size > maxContent {
		return fail(413, "too_large", "A request holds 1 to %d changes with at most %d bytes.", maxChanges, maxContent)
	}
	root, release, err := a.alone()
	if err != nil {
		return err
	}
	defer release()
	stage := ""
	if request.Stage != "" {
		if stage, err = stageDir(request.Stage); err != nil {
			return err
		}
		defer root.RemoveAll(stage)
	}
	asked := make([]string, len(request.Changes))
	for i := range request.Changes {
		asked[i] = request.Changes[i].Path
		if err := check(root, &request.Changes[i]); err != nil {
			return err
		}
	}
	j, err := newJournal(root)
	if err != nil {
		return fileError(err, ".")
	}
	defer j.finish()
	staged := make([]string, len(request.Changes))
	for i := range request.Changes {
		if staged[i], err = j.stageContent(&request.Changes[i], stage); err != nil {
			return fileError(err, request.Changes[i].Path)
		}
	}
	results := make([]applied, len(request.Changes))
	for i := range request.Changes {
		c := &request.Changes[i]
		results[i] = applied{wireName(asked[i]), actionOf(root, c)}
		j.last = i == len(request.Changes)-1
		if err := j.carryOut(c, staged[i]); err != nil {
			j.rollback()
			return fileError(err, request.Changes[i].Path)
		}
	}
	for i := range request.Changes {
		a.noticed(request.Changes[i].Path, request.Changes[i].To)
	}
	writeJSON(w, 200, map[string]any{"applied": len(request.Changes), "results": results})
	return nil
}

// check looks at paths and expectations before anything changes.
func check(root *os.Root, c *change) error {
	name, err := cleanPath(c.Path)
	if err != nil {
		return err
	}
	if name == "." {
		return fail(422, "bad_path", "The workspace itself cannot be changed by this.")
	}
	// A write goes through a last link, as that of any program does; what replaces the link expects it.
	if c.Path, err = resolve(root, name, c.Op == "write" && c.Expect == "" || c.Op == "chmod"); err != nil {
		return err
	}
	if c.Mode != nil && *c.Mode > 0o7777 {
		return fail(400, "bad_request", "mode holds the permission bits, at most %d.", 0o7777)
	}
	if c.Op == "rename" {
		if c.To, err = cleanPath(c.To); err != nil {
			return err
		}
		if c.To, err = resolve(root, c.To, false); err != nil {
			return err
		}
		if c.To == "." {
			return fail(422, "bad_path", "The workspace itself cannot be changed by this.")
		}
	}
	if c.Expect == "" {
		return nil
	}
	state, err := stateOf(root, c.Path, maxContent)
	if err != nil {
		return fileError(err, c.Path)
	}
	holds := state.SHA256 == c.Expect
	switch c.Expect {
	case "absent":
		holds = state.Kind == "absent"
	case "present":
		holds = state.Kind != "absent"
	}
	if !holds {
		return fail(409, "expectation_failed", "%s has changed in the meantime; nothing was changed.", shown(c.Path))
	}
	return nil
}

func (j *journal) stageContent(c *change, stage string) (string, error) {
	switch c.Op {
	case "write":
		mode := uint32(0o644)
		if c.Mode != nil {
			mode = *c.Mode
		} else if info, err := j.root.Lstat(c.Path); err == nil && info.Mode().IsRegular() {
			mode = permissions(info.Mode())
		}
		staged := j.temporary()
		if c.Staged != "" {
			if stage == "" || !stagedName.MatchString(c.Staged) {
				return "", fail(400, "bad_request", "Nothing was staged under %q.", c.Staged)
			}
			if err := j.root.Rename(path.Join(stage, c.Staged), staged); err != nil {
				return "", err
			}
		} else if err := j.root.WriteFile(staged, c.Content, 0o600); err != nil {
			return "", err
		}
		if err := j.chown(staged, c.Path); err != nil { // before the mode: it takes setuid away
			return "", err
		}
		return staged, j.root.Chmod(staged, fileMode(mode))
	case "symlink":
		staged := j.temporary()
		if err := j.root.Symlink(c.Link, staged); err != nil {
			return "", err
		}
		return staged, j.chown(staged, c.Path)
	case "delete", "mkdir", "rmdir", "chmod", "rename":
		return "", nil
	}
	return "", fail(400, "bad_request", "There is no change %q.", c.Op)
}

func (j *journal) carryOut(c *change, staged string) error {
	switch c.Op {
	case "write", "symlink":
		if c.MakeParents {
			if err := j.makeParents(c.Path); err != nil {
				return err
			}
		}
		return j.place(staged, c.Path)
	case "mkdir":
		if c.MakeParents {
			if err := j.makeParents(c.Path); err != nil {
				return err
			}
		}
		if err := j.makeDirectory(c.Path); err != nil {
			return err
		}
		j.did(func() { j.root.Remove(c.Path) })
		if c.Mode != nil {
			return j.root.Chmod(c.Path, fileMode(*c.Mode))
		}
		return nil
	case "rmdir": // one that is not empty stays
		info, err := j.root.Lstat(c.Path)
		if err == nil && info.IsDir() && j.root.Remove(c.Path) == nil {
			j.did(func() {
				j.root.Mkdir(c.Path, 0o700)
				j.give(c.Path, info)
			})
			if c.PruneParents {
				j.pruneParents(c.Path)
			}
		}
		return nil
	case "delete":
		if _, err := j.root.Lstat(c.Path); err != nil {
			return err
		}
		if err := j.setAside(c.Path); err != nil {
			return err
		}
		if c.PruneParents {
			j.pruneParents(c.Path)
		}
		return nil
	case "chmod":
		info, err := j.root.Lstat(c.Path)
		if err != nil {
			return err
		}
		if c.Mode == nil {
			return fail(400, "bad_request", "chmod needs a mode.")
		}
		if err := j.root.Chmod(c.Path, fileMode(*c.Mode)); err != nil {
			return err
		}
		j.did(func() { j.root.Chmod(c.Path, info.Mode()) })
		return nil
	case "rename":
		if c.MakeParents {
			if err := j.makeParents(c.To); err != nil {
				return err
			}
		}
		if _, err := j.root.Lstat(c.To); err == nil {
			return fail(409, "exists", "%s exists already.", shown(c.To))
		}
		if err := j.move(c.Path, c.To); err != nil {
			return err
		}
		j.did(func() { j.move(c.To, c.Path) })
		if c.PruneParents {
			j.pruneParents(c.Path)
		}
		return nil
	}
	return nil
}

func (j *journal) pruneParents(name string) {
	for parent := path.Dir(name); parent != "."; parent = path.Dir(parent) {
		info, err := j.root.Lstat(parent)
		if err != nil || j.root.Remove(parent) != nil {
			return // not empty
		}
		removed := parent
		j.did(func() {
			j.root.Mkdir(removed, 0o700)
			j.give(removed, info)
		})
	}
}
