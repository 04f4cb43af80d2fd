package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"sort"
	"strconv"
	"strings"
	"syscall"
)

const (
	maxPath      = 4096
	maxName      = 255
	maxList      = 20000
	maxRead      = 64 << 20
	maxReadMany  = 10000 // paths in one request
	maxManyBytes = 48 << 20
	stagePrefix  = ".pyro-stage-" // never shown, listed or exported
)

// cleanPath checks a path below the workspace: relative, no `..`, no NUL. "." is the workspace itself.
func cleanPath(text string) (string, error) {
	if len(text) > maxPath || strings.ContainsRune(text, 0) {
		return "", fail(422, "bad_path", "The path is too long or holds a NUL byte.")
	}
	if strings.HasPrefix(text, "/") {
		return "", fail(422, "outside_workspace", "%q is absolute; paths here are below the workspace.", text)
	}
	for _, part := range strings.Split(text, "/") {
		if part == ".." {
			return "", fail(422, "outside_workspace", "%q leads upwards.", text)
		}
		if len(part) > maxName {
			return "", fail(422, "bad_path", "A part of the path is longer than %d bytes.", maxName)
		}
		if strings.HasPrefix(part, stagePrefix) {
			return "", fail(422, "bad_path", "Names that begin with %s are pyro's own.", stagePrefix)
		}
	}
	return path.Clean("./" + text), nil
}

const maxLinks = 40 // as many as the kernel follows (MAXSYMLINKS in include/linux/namei.h)

// resolve follows the symbolic links of a clean path inside the workspace and refuses those that lead out.
//
// os.Root does this by itself, but not under gVisor: there, openat(2) with O_NOFOLLOW and O_DIRECTORY follows
// a last symbolic link all the same (release 20240729), and os.Root relies on that it does not. What is given
// here has no link left in it, except for the last name when `last` is false.
func resolve(root *os.Root, name string, last bool) (string, error) {
	done, rest := ".", strings.Split(name, "/")
	for links := 0; len(rest) > 0; {
		part := rest[0]
		rest = rest[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			if done == "." {
				return "", fail(422, "outside_workspace", "%s leads out of the workspace through a symbolic link.", shown(name))
			}
			done = path.Dir(done)
			continue
		}
		next := path.Join(done, part)
		info, err := root.Lstat(next)
		if err != nil || info.Mode()&fs.ModeSymlink == 0 || (len(rest) == 0 && !last) {
			done = next // what is missing is for the caller to say
			continue
		}
		if links++; links > maxLinks {
			return "", fail(422, "bad_path", "%s is a loop of symbolic links.", shown(name))
		}
		target, err := root.Readlink(next)
		if err != nil {
			return "", fileError(err, name)
		}
		if path.IsAbs(target) {
			inside, ok := strings.CutPrefix(path.Clean(target)+"/", "/workspace/")
			if !ok {
				return "", fail(422, "outside_workspace", "%s leads out of the workspace through a symbolic link.", shown(name))
			}
			done, target = ".", inside
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return done, nil
}

func (a *agent) root() (*os.Root, error) { return os.OpenRoot(a.workspace) }

// layer opens the tree that a request is about: the workspace, or the seed below it.
func (a *agent) layer(name string) (*os.Root, error) {
	switch name {
	case "", "merged":
		return a.root()
	case "lower":
		if lower := a.lower.Load(); lower != nil {
			return os.OpenRoot(*lower)
		}
		return nil, fail(409, "not_configured", "This machine has no lower layer yet.")
	}
	return nil, fail(400, "bad_request", "A layer is merged or lower.")
}

// opened cleans a client's path, opens the tree and finds what the path leads to in it. The root is the caller's to close.
func opened(open func() (*os.Root, error), text string, last bool) (*os.Root, string, error) {
	name, err := cleanPath(text)
	if err != nil {
		return nil, "", err
	}
	root, err := open()
	if err != nil {
		return nil, "", err
	}
	if name, err = resolve(root, name, last); err != nil {
		root.Close()
		return nil, "", err
	}
	return root, name, nil
}

// found is `opened`, with what is there.
func found(open func() (*os.Root, error), text string, last bool) (*os.Root, string, fs.FileInfo, error) {
	root, name, err := opened(open, text, last)
	if err != nil {
		return nil, "", nil, err
	}
	info, err := root.Lstat(name)
	if err != nil {
		root.Close()
		return nil, "", nil, fileError(err, name)
	}
	return root, name, info, nil
}

func kindOf(mode fs.FileMode) string {
	switch {
	case mode.IsRegular():
		return "file"
	case mode.IsDir():
		return "dir"
	case mode&fs.ModeSymlink != 0:
		return "symlink"
	}
	return "other"
}

// permissions are the bits as chmod(2) has them, setuid, setgid and sticky included.
func permissions(mode fs.FileMode) uint32 {
	bits := uint32(mode.Perm())
	for flag, bit := range map[fs.FileMode]uint32{fs.ModeSetuid: 0o4000, fs.ModeSetgid: 0o2000, fs.ModeSticky: 0o1000} {
		if mode&flag != 0 {
			bits |= bit
		}
	}
	return bits
}

func fileMode(bits uint32) fs.FileMode {
	mode := fs.FileMode(bits & 0o777)
	for flag, bit := range map[fs.FileMode]uint32{fs.ModeSetuid: 0o4000, fs.ModeSetgid: 0o2000, fs.ModeSticky: 0o1000} {
		if bits&bit != 0 {
			mode |= flag
		}
	}
	return mode
}

type entry struct {
	Path    string `json:"path"`
	Kind    string `json:"kind"`
	Size    int64  `json:"size"`
	Mode    uint32 `json:"mode"`
	MtimeNS int64  `json:"mtime_ns"`
	Link    string `json:"link,omitempty"`
}

func describe(root *os.Root, name string, info fs.FileInfo) entry {
	e := entry{Path: name, Kind: kindOf(info.Mode()), Mode: permissions(info.Mode()), MtimeNS: info.ModTime().UnixNano()}
	if e.Kind == "file" {
		e.Size = info.Size()
	}
	if e.Kind == "symlink" {
		e.Link, _ = root.Readlink(name)
	}
	return e
}

func (a *agent) statFile(w http.ResponseWriter, r *http.Request) error {
	root, name, info, err := found(a.root, r.URL.Query().Get("path"), false)
	if err != nil {
		return err
	}
	defer root.Close()
	writeJSON(w, 200, describe(root, name, info))
	return nil
}

func (a *agent) listFiles(w http.ResponseWriter, r *http.Request) error {
	query := r.URL.Query()
	limit, err := numberOf(r, "limit", 1000, 1, maxList)
	if err != nil {
		return err
	}
	root, name, info, err := found(a.root, query.Get("path"), true)
	if err != nil {
		return err
	}
	defer root.Close()
	entries := []entry{}
	if !info.IsDir() {
		entries = append(entries, describe(root, name, info))
		writeJSON(w, 200, map[string]any{"entries": entries, "truncated": false})
		return nil
	}
	truncated := false
	var walk func(directory string) error
	walk = func(directory string) error {
		names, err := readNames(root, directory)
		if err != nil {
			return err
		}
		for _, base := range names {
			child := path.Join(directory, base)
			info, err := root.Lstat(child)
			if err != nil {
				continue // it went away in between
			}
			if int64(len(entries)) >= limit {
				truncated = true
				return nil
			}
			entries = append(entries, describe(root, child, info))
			if info.IsDir() && query.Get("recursive") == "1" {
				if err := walk(child); err != nil {
					return err
				}
			}
			if truncated {
				return nil
			}
		}
		return nil
	}
	if err := walk(name); err != nil {
		return fileError(err, name)
	}
	writeJSON(w, 200, map[string]any{"entries": entries, "truncated": truncated})
	return nil
}

// readNames are the names in a directory, sorted, without pyro's own.
func readNames(root *os.Root, directory string) ([]string, error) {
	d, err := root.Open(directory)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	kept := names[:0]
	for _, name := range names {
		if !strings.HasPrefix(name, stagePrefix) {
			kept = append(kept, name)
		}
	}
	sort.Strings(kept)
	return kept, nil
}

// openRegular opens a regular file at a resolved path, without ever blocking on a FIFO or opening a device.
func openRegular(root *os.Root, name string) (*os.File, fs.FileInfo, error) {
	info, err := root.Lstat(name)
	if err != nil {
		return nil, nil, err
	}
	if info.IsDir() {
		return nil, nil, fail(409, "is_directory", "%s is a directory.", shown(name))
	}
	if !info.Mode().IsRegular() {
		return nil, nil, fail(422, "bad_path", "%s is not a regular file.", shown(name))
	}
	file, err := root.Open(name)
	if err != nil {
		return nil, nil, err
	}
	info, err = file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		file.Close()
		return nil, nil, fail(422, "bad_path", "%s is not a regular file.", shown(name))
	}
	return file, info, nil
}

func (a *agent) readFile(w http.ResponseWriter, r *http.Request) error {
	offset, err := numberOf(r, "offset", 0, 0, 1<<62)
	if err != nil {
		return err
	}
	limit, err := numberOf(r, "limit", 1<<20, 0, maxRead)
	if err != nil {
		return err
	}
	root, name, err := opened(a.root, r.URL.Query().Get("path"), true)
	if err != nil {
		return err
	}
	defer root.Close()
	file, info, err := openRegular(root, name)
	if err != nil {
		return fileError(err, name)
	}
	defer file.Close()
	header := w.Header()
	header.Set("Content-Type", "application/octet-stream")
	header.Set("Pyro-Kind", "file")
	header.Set("Pyro-Size", strconv.FormatInt(info.Size(), 10))
	header.Set("Pyro-Mode", strconv.FormatUint(uint64(permissions(info.Mode())), 10))
	header.Set("Pyro-Mtime-Ns", strconv.FormatInt(info.ModTime().UnixNano(), 10))
	w.WriteHeader(200)
	io.Copy(w, io.NewSectionReader(file, offset, limit))
	return nil
}

type readManyRequest struct {
	Layer        string     `json:"layer"`
	Paths        []wireName `json:"paths"`
	MaxBytesEach int64      `json:"max_bytes_each"`
	// Direct: what is only there behind a symbolic link on the way is absent.
	Direct bool `json:"direct,omitempty"`
}

type fileState struct {
	Path      wireName `json:"path"`
	Kind      string   `json:"kind"`
	Mode      uint32   `json:"mode"`
	Size      int64    `json:"size"`
	SHA256    string   `json:"sha256,omitempty"`
	Content   *[]byte  `json:"content"`
	Link      wireName `json:"link,omitempty"`
	Truncated bool     `json:"truncated,omitempty"`
	// Changing: each time that it was read, it was written meanwhile; so there is no content.
	Changing bool `json:"changing,omitempty"`
}

func (a *agent) readMany(w http.ResponseWriter, r *http.Request) error {
	var request readManyRequest
	if err := decode(r.Body, &request); err != nil {
		return err
	}
	if len(request.Paths) > maxReadMany {
		return fail(413, "too_large", "%d paths are too many; %d is the most.", len(request.Paths), maxReadMany)
	}
	root, err := a.layer(request.Layer)
	if err != nil {
		return err
	}
	defer root.Close()
	states := make([]fileState, 0, len(request.Paths))
	budget := int64(maxManyBytes)
	for _, text := range request.Paths {
		name, err := cleanPath(string(text))
		if err != nil {
			return err
		}
		asked := name
		if name, err = resolve(root, name, false); request.Direct && (err != nil || name != asked) {
			states = append(states, fileState{Path: text, Kind: "absent"})
			continue
		}
		if err != nil {
			return err
		}
		state, err := stateOf(root, name, min(request.MaxBytesEach, budget))
		if err != nil {
			return fileError(err, name)
		}
		if state.Content != nil {
			budget -= int64(len(*state.Content))
		}
		state.Path = text
		states = append(states, state)
	}
	writeJSON(w, 200, map[string]any{"files": states})
	return nil
}

// stateOf looks at a resolved path without following a last symbolic link.
func stateOf(root *os.Root, name string, bound int64) (fileState, error) {
	info, err := root.Lstat(name)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) || strings.Contains(err.Error(), "not a directory") {
			return fileState{Kind: "absent"}, nil
		}
		return fileState{}, err
	}
	state := fileState{Kind: kindOf(info.Mode()), Mode: permissions(info.Mode())}
	switch state.Kind {
	case "symlink":
		var link string
		if link, err = root.Readlink(name); gone(err) || errors.Is(err, syscall.EINVAL) {
			return fileState{Kind: "absent"}, nil // it is no link any more
		}
		state.Link = wireName(link)
		sum := sha256.Sum256([]byte(state.Link))
		state.SHA256 = hex.EncodeToString(sum[:])
	case "file":
		return readWhole(root, name, state, info.Size(), bound)
	}
	return state, err
}

const readAttempts = 8

// readWhole gives a file's content as it stood at one moment: what is written meanwhile is read again.
func readWhole(root *os.Root, name string, state fileState, size, bound int64) (fileState, error) {
	for range readAttempts {
		state.Size = size
		if size > bound {
			state.Truncated = true
			return state, nil
		}
		file, before, err := openRegular(root, name)
		if err != nil {
			if gone(err) {
				return fileState{Kind: "absent"}, nil
			}
			if info, failed := root.Lstat(name); failed == nil && info.Mode().IsRegular() {
				return state, err
			}
			break // it is no file any more, or what it is in is no directory
		}
		content, err := io.ReadAll(io.LimitReader(file, bound+1))
		after, failed := file.Stat()
		file.Close()
		if err != nil || failed != nil {
			return state, errors.Join(err, failed)
		}
		size = after.Size()
		if int64(len(content)) == size && untouched(before, after) {
			sum := sha256.Sum256(content)
			state.SHA256 = hex.EncodeToString(sum[:])
			state.Size, state.Mode = size, permissions(after.Mode())
			state.Content = &content
			return state, nil
		}
	}
	state.Changing = true
	return state, nil
}

// untouched tells that nobody wrote between two looks at an open file.
func untouched(before, after fs.FileInfo) bool {
	one, ok := before.Sys().(*syscall.Stat_t)
	two, known := after.Sys().(*syscall.Stat_t)
	return ok && known && one.Size == two.Size && one.Mtim == two.Mtim && one.Ctim == two.Ctim
}
