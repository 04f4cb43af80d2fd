package main

import (
	"archive/tar"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

const (
	maxTarEntries = 1_000_000
	maxTarBytes   = 64 << 30
)

type stagedEntry struct {
	name, staged string
	directory    bool
	mode         fs.FileMode
	modified     time.Time
}

// tarIn unpacks a stream below `dest`: staged whole, then moved into place, or nothing changes.
func (a *agent) tarIn(w http.ResponseWriter, r *http.Request) error {
	overwrite, err := numberOf(r, "overwrite", 1, 0, 1)
	if err != nil {
		return err
	}
	root, destination, err := opened(a.root, r.URL.Query().Get("dest"), true)
	if err != nil {
		return err
	}
	defer root.Close()
	j, err := newJournal(root)
	if err != nil {
		return fileError(err, ".")
	}
	defer j.finish()
	entries, total, err := j.unpack(tar.NewReader(r.Body), destination)
	if err != nil {
		return err
	}
	a.applyLock.Lock()
	defer a.applyLock.Unlock()
	files, directories := 0, 0
	for i := range entries {
		e := &entries[i]
		// Only now: what an earlier member put there counts as well.
		if e.name, err = resolve(root, e.name, false); err != nil {
			j.rollback()
			return err
		}
		if e.directory {
			err = j.placeDirectory(*e)
			directories++
		} else {
			if _, there := root.Lstat(e.name); overwrite == 0 && there == nil {
				err = fail(409, "exists", "%s exists already.", shown(e.name))
			} else if err = j.makeParents(e.name); err == nil {
				if err = j.inherit(*e); err == nil {
					err = j.place(e.staged, e.name)
				}
			}
			files++
		}
		if err != nil {
			j.rollback()
			return fileError(err, e.name)
		}
	}
	for i := len(entries) - 1; i >= 0; i-- { // times of directories last, deepest first: filling them changes them
		if entries[i].directory {
			root.Chtimes(entries[i].name, entries[i].modified, entries[i].modified)
		}
	}
	a.noticedMuch()
	writeJSON(w, 200, map[string]int64{"files": int64(files), "directories": int64(directories), "bytes": total})
	return nil
}

// inherit gives a staged file or link the owner of what it replaces, or of its directory. That takes setuid away.
func (j *journal) inherit(e stagedEntry) error {
	if err := j.chown(e.staged, e.name); err != nil || e.mode&(fs.ModeSetuid|fs.ModeSetgid) == 0 || e.mode&fs.ModeSymlink != 0 {
		return err
	}
	return j.root.Chmod(e.staged, e.mode)
}

func (j *journal) placeDirectory(e stagedEntry) error {
	if e.name == "." {
		return nil
	}
	if info, err := j.root.Lstat(e.name); err == nil {
		if info.IsDir() {
			return nil
		}
		if err := j.setAside(e.name); err != nil {
			return err
		}
	}
	if err := j.makeParents(e.name); err != nil {
		return err
	}
	if err := j.makeDirectory(e.name); err != nil {
		return err
	}
	j.did(func() { j.root.Remove(e.name) })
	return j.root.Chmod(e.name, e.mode)
}

func (j *journal) unpack(in *tar.Reader, destination string) ([]stagedEntry, int64, error) {
	var entries []stagedEntry
	var total int64
	byName := map[string]string{}
	bad := func(format string, args ...any) error { return fail(422, "bad_archive", format, args...) }
	for {
		header, err := in.Next()
		if err == io.EOF {
			return entries, total, nil
		}
		if err != nil {
			return nil, 0, bad("The archive is damaged or broke off: %s.", err)
		}
		if len(entries) >= maxTarEntries {
			return nil, 0, bad("The archive has more than %d members.", maxTarEntries)
		}
		relative, err := cleanPath(strings.TrimSuffix(header.Name, "/"))
		if err != nil {
			return nil, 0, err
		}
		e := stagedEntry{name: path.Join(destination, relative), mode: header.FileInfo().Mode(), modified: header.ModTime}
		switch header.Typeflag {
		case tar.TypeDir:
			e.directory = true
		case tar.TypeSymlink:
			e.staged = j.temporary()
			if err := j.root.Symlink(header.Linkname, e.staged); err != nil {
				return nil, 0, bad("%s: %s.", shown(e.name), err)
			}
			lchtimes(j.root, e.staged, e.modified)
		case tar.TypeReg, tar.TypeLink:
			e.staged = j.temporary()
			n, err := j.stageFile(e, header, in, byName, destination)
			if err != nil {
				return nil, 0, err
			}
			if total += n; total > maxTarBytes {
				return nil, 0, bad("The archive holds more than %d bytes.", int64(maxTarBytes))
			}
			byName[e.name] = e.staged
		default:
			return nil, 0, bad("%s is neither a file, a directory nor a link.", shown(e.name))
		}
		entries = append(entries, e)
	}
}

func (j *journal) stageFile(e stagedEntry, header *tar.Header, in io.Reader, byName map[string]string, destination string) (int64, error) {
	var source io.Reader = in
	if header.Typeflag == tar.TypeLink {
		target, err := cleanPath(header.Linkname)
		if err != nil {
			return 0, err
		}
		staged, known := byName[path.Join(destination, target)]
		if !known {
			return 0, fail(422, "bad_archive", "%s is a hard link to %q, which is not in the archive before it.", shown(e.name), header.Linkname)
		}
		linked, err := j.root.Open(staged)
		if err != nil {
			return 0, err
		}
		defer linked.Close()
		source = linked
	}
	file, err := j.root.OpenFile(e.staged, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(file, source)
	if closing := file.Close(); err == nil {
		err = closing
	}
	if err == nil {
		err = j.root.Chmod(e.staged, e.mode)
	}
	if err == nil {
		err = j.root.Chtimes(e.staged, e.modified, e.modified)
	}
	if err != nil {
		return n, fail(422, "bad_archive", "%s could not be written: %s.", shown(e.name), err)
	}
	return n, nil
}

// lchtimes sets a symbolic link's own times; failing that they are those of its making.
func lchtimes(root *os.Root, name string, when time.Time) {
	parent, err := root.Open(path.Dir(name))
	if err != nil {
		return
	}
	defer parent.Close()
	base, err := syscall.BytePtrFromString(path.Base(name))
	if err != nil {
		return
	}
	spec := syscall.NsecToTimespec(when.UnixNano())
	times := [2]syscall.Timespec{spec, spec}
	const atSymlinkNofollow = 0x100
	syscall.Syscall6(syscall.SYS_UTIMENSAT, parent.Fd(), uintptr(unsafe.Pointer(base)), uintptr(unsafe.Pointer(&times)), atSymlinkNofollow, 0, 0)
}
