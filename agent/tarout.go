package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	// spoolBytes: a file of up to so many bytes is read whole before its header is written.
	spoolBytes = 8 << 20
	// streamAttempts: a larger one that changes is sent again, as a later member of the same name, so often.
	streamAttempts = 3
	// workingEvery: a member's header has 512 bytes, which is what the other side wants each second (guest/patience.py).
	workingEvery = 500 * time.Millisecond
	// What a last member says in place of being one: the tree could not be read whole, because of this name.
	changingRecord   = "PYRO.changing"
	unreadableRecord = "PYRO.unreadable"
	// What a member is that is sent by its name only, as a FIFO: the other side makes none of them.
	kindRecord = "PYRO.kind"
)

// notWhole is why a tree cannot be sent: the name, and which of the records tells it.
type notWhole struct{ record, name string }

func (e *notWhole) Error() string { return e.record + " " + e.name }

func (a *agent) tarOut(w http.ResponseWriter, r *http.Request) error {
	layer := func() (*os.Root, error) { return a.layer(r.URL.Query().Get("layer")) }
	root, name, info, err := found(layer, r.URL.Query().Get("path"), false)
	if err != nil {
		return err
	}
	defer root.Close()
	w.Header().Set("Content-Type", "application/x-tar")
	// A file's own name, or names below a directory: what stands in the archive does not tell where it was.
	base := path.Dir(name)
	if info.IsDir() {
		base = name
	}
	out := &treeWriter{Writer: tar.NewWriter(w), root: root, base: base, flush: http.NewResponseController(w).Flush, said: time.Now()}
	if err := out.whole(name); err != nil {
		panic(http.ErrAbortHandler) // an answer that breaks off cannot be taken for a whole one
	}
	return nil
}

type treeWriter struct {
	*tar.Writer
	root  *os.Root
	base  string
	flush func() error
	said  time.Time // when it was last said that it is at work
	kept  *keptTree // with owners and what else of a file is kept (prepared.go); nil is without
}

// working tells the other side now and then, between two members, that a file is being read: it takes no trickle for an
// answer. The member is one that it passes over.
func (t *treeWriter) working() {
	if t.flush == nil || time.Since(t.said) < workingEvery {
		return
	}
	t.said = time.Now()
	t.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "./", Mode: 0o755, Format: tar.FormatUSTAR})
	t.Flush()
	t.flush()
}

// whole sends the tree, or says in its last member why it is not whole. An error is one of the connection.
func (t *treeWriter) whole(name string) error {
	there, err := t.add(name)
	if err == nil && !there {
		err = &notWhole{changingRecord, name}
	}
	if err = t.withReason(err); err != nil {
		return err
	}
	return t.Close()
}

// withReason sends why the tree is not whole, if that is what the error says.
func (t *treeWriter) withReason(err error) error {
	var refused *notWhole
	if errors.As(err, &refused) {
		records := map[string]string{refused.record: refused.name}
		err = t.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "./", Mode: 0o755, PAXRecords: records, Format: tar.FormatPAX})
	}
	return err
}

// add tells whether the name was there.
func (t *treeWriter) add(name string) (bool, error) {
	for range readAttempts {
		info, err := t.root.Lstat(name)
		if gone(err) {
			return false, nil
		}
		if err != nil {
			return false, &notWhole{unreadableRecord, name}
		}
		var there bool
		switch kindOf(info.Mode()) {
		case "other":
			return true, t.addSpecial(name, info)
		case "symlink":
			there, err = t.addLink(name, info)
		case "dir":
			there, err = t.addDirectory(name, info)
		default:
			there, err = t.addFile(name)
		}
		if there || err != nil {
			return there, err
		} // else it went away, or became something else: look again
	}
	return false, &notWhole{changingRecord, name}
}

func (t *treeWriter) addLink(name string, info fs.FileInfo) (bool, error) {
	target, err := t.root.Readlink(name)
	if err != nil {
		return false, nil
	}
	return true, t.header(name, info, target)
}

func (t *treeWriter) addSpecial(name string, info fs.FileInfo) error {
	if t.kept != nil {
		return nil
	}
	return t.WriteHeader(&tar.Header{
		Typeflag: tar.TypeFifo, Name: t.member(name), Mode: int64(permissions(info.Mode())), ModTime: info.ModTime(),
		PAXRecords: map[string]string{kindRecord: specialKind(info.Mode())}, Format: tar.FormatPAX,
	})
}

func specialKind(mode fs.FileMode) string {
	switch {
	case mode&fs.ModeNamedPipe != 0:
		return "FIFO"
	case mode&fs.ModeSocket != 0:
		return "socket"
	}
	return "device"
}

func (t *treeWriter) addDirectory(name string, info fs.FileInfo) (bool, error) {
	names, err := readNames(t.root, name)
	if gone(err) {
		return false, nil
	}
	if err != nil {
		return false, &notWhole{unreadableRecord, name}
	}
	if err := t.header(name, info, ""); err != nil {
		return false, err
	}
	seen := map[string]bool{}
	for range readAttempts {
		missed := ""
		for _, child := range names {
			if seen[child] {
				continue
			}
			if seen[child], err = t.add(path.Join(name, child)); err != nil {
				return false, err
			}
			if !seen[child] {
				missed = child
			}
		}
		if missed == "" {
			return true, nil
		}
		// What went away may have got another name here, which the list from before does not have.
		if names, err = readNames(t.root, name); err != nil {
			return true, nil // the directory went away with it
		}
		if !slices.ContainsFunc(names, func(child string) bool { return !seen[child] }) {
			return true, nil
		}
	}
	return false, &notWhole{changingRecord, name}
}

// addFile sends a file as it stood at one moment, or refuses it by name.
func (t *treeWriter) addFile(name string) (bool, error) {
	streamed := 0
	for range readAttempts {
		sent, there, err := t.tryFile(name, &streamed)
		if sent || err != nil {
			return sent, err
		}
		if !there {
			if streamed > 0 { // what was sent of it cannot be taken back
				break
			}
			return false, nil
		}
		if streamed >= streamAttempts {
			break
		}
	}
	return false, &notWhole{changingRecord, name}
}

func (t *treeWriter) tryFile(name string, streamed *int) (sent, there bool, err error) {
	file, info, err := openRegular(t.root, name)
	if err != nil {
		var own *apiError
		if gone(err) || errors.As(err, &own) {
			return false, false, nil
		}
		return false, true, &notWhole{unreadableRecord, name}
	}
	defer file.Close()
	if t.kept != nil {
		if first := t.kept.link(name, info); first != "" && first != t.member(name) {
			return true, true, t.WriteHeader(&tar.Header{Typeflag: tar.TypeLink, Name: t.member(name), Linkname: first, Format: tar.FormatPAX})
		}
	}
	named, err := t.root.Lstat(name)
	if err != nil || !os.SameFile(named, info) {
		// Another file has the name by now, or a link that was followed.
		return false, err == nil && named.Mode().IsRegular(), nil
	}
	size := info.Size()
	parts, inParts := []part{{0, size}}, false
	if size > spoolBytes && t.kept == nil { // who reads what is kept knows no parts
		if found, err := partsOf(file, size, t.working); err == nil && size-stored(found) >= worthBytes {
			parts, inParts = found, true
		}
	}
	sum, length := newSum(parts, size), stored(parts)
	source := &quiet{reader: io.TeeReader(readParts(file, parts), sum)}
	if size <= spoolBytes {
		content, _ := io.ReadAll(source)
		if int64(len(content)) < size || !stood(file, info, sum.Sum(nil), inParts, t.working) {
			return false, true, source.failed(name)
		}
		if err := t.header(name, info, ""); err != nil {
			return false, true, err
		}
		_, err = t.Write(content)
		return err == nil, true, err
	}
	*streamed++
	header, err := t.headerOf(name, info, "")
	if err != nil {
		return false, true, err
	}
	if inParts {
		header.Size, header.PAXRecords = length, map[string]string{partsRecord: recordOf(parts, size)}
	}
	if err := t.WriteHeader(header); err != nil {
		return false, true, err
	}
	n, err := io.Copy(t, source)
	if err == nil && n < length {
		// The header is written: fill up. Another member of this name follows, or the refusal.
		if _, err = io.Copy(t, io.LimitReader(zeros{}, length-n)); err == nil {
			err = source.failed(name)
		}
		return false, true, err
	}
	return err == nil && stood(file, info, sum.Sum(nil), inParts, t.working), true, err
}

// stood tells that what was read stood in the file at one moment: nobody wrote, or what was written left these
// bytes alone, as one who appends does (they are read again).
func stood(file *os.File, before fs.FileInfo, sum []byte, inParts bool, working func()) bool {
	after, err := file.Stat()
	if err != nil {
		return false
	}
	if untouched(before, after) && time.Since(after.ModTime()).Abs() > clockTick {
		return true
	}
	again, err := sumOf(file, before.Size(), inParts, working)
	return err == nil && bytes.Equal(again, sum)
}

// clockTick: two writes within the clock of a file system may leave one time. Linux ticks at 100 Hz or faster.
const clockTick = 20 * time.Millisecond

func (t *treeWriter) header(name string, info fs.FileInfo, link string) error {
	header, err := t.headerOf(name, info, link)
	if err != nil {
		return err
	}
	return t.WriteHeader(header)
}

func (t *treeWriter) headerOf(name string, info fs.FileInfo, link string) (*tar.Header, error) {
	header, err := tar.FileInfoHeader(info, link)
	if err != nil {
		return nil, err
	}
	header.Format = tar.FormatPAX
	header.Uname, header.Gname = "", ""
	if t.kept != nil {
		header.PAXRecords = t.kept.attributes(name, info)
		t.kept.sent(t.member(name), info)
	} else {
		header.Uid, header.Gid = 0, 0
	}
	header.AccessTime, header.ChangeTime = time.Time{}, time.Time{}
	header.Name = t.member(name)
	if info.IsDir() {
		header.Name += "/"
	}
	return header, nil
}

// member is what a name is called in the archive.
func (t *treeWriter) member(name string) string {
	if t.kept != nil {
		return t.kept.prefix + name
	}
	switch t.base {
	case name:
		return "."
	case ".":
		return name
	}
	return strings.TrimPrefix(strings.TrimPrefix(name, t.base), "/")
}

// gone: the name is not there any more, or what it was in is no directory any more.
func gone(err error) bool {
	return errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// quiet ends where its reader fails, so that an error of copying is one of writing.
type quiet struct {
	reader io.Reader
	err    error
}

func (q *quiet) Read(p []byte) (int, error) {
	n, err := q.reader.Read(p)
	if err != nil && err != io.EOF {
		q.err, err = err, io.EOF
	}
	return n, err
}

func (q *quiet) failed(name string) error {
	if q.err != nil {
		return &notWhole{unreadableRecord, name}
	}
	return nil
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
