package main

import (
	"archive/tar"
	"bytes"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

func TestOfTheRootOnlyWhatChangedComesWithItsContents(t *testing.T) {
	base := t.TempDir()
	os.WriteFile(filepath.Join(base, "one"), []byte("content"), 0o640)
	os.Link(filepath.Join(base, "one"), filepath.Join(base, "two"))
	os.Symlink("one", filepath.Join(base, "link"))
	os.Mkdir(filepath.Join(base, "dir"), 0o711)
	if err := syscall.Mkfifo(filepath.Join(base, "fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	walk := func() map[string]tar.Header {
		var buffer bytes.Buffer
		out := &rootWriter{tar.NewWriter(&buffer), map[[2]uint64]string{}, "", 0, nil}
		if err := filepath.WalkDir(base, out.entry); err != nil {
			t.Fatal(err)
		}
		out.Close()
		found := map[string]tar.Header{}
		for in := tar.NewReader(&buffer); ; {
			header, err := in.Next()
			if err == io.EOF {
				return found
			}
			if err != nil {
				t.Fatal(err)
			}
			if content, _ := io.ReadAll(in); header.Size > 0 && string(content) != "content" {
				t.Errorf("%s: %q", header.Name, content)
			}
			relative, _ := filepath.Rel(base[1:], header.Name)
			found[relative] = *header
		}
	}
	before := begun
	defer func() { begun = before }()
	begun = time.Now().Add(-time.Hour)
	got := walk()
	if got["one"].Size != 7 || got["one"].Mode != 0o640 || got["two"].Typeflag != tar.TypeLink || got["two"].Linkname != got["one"].Name {
		t.Errorf("%+v", got)
	}
	if got["link"].Linkname != "one" || got["dir"].Typeflag != tar.TypeDir || got["dir"].Mode != 0o711 {
		t.Errorf("%+v", got)
	}
	if _, there := got["fifo"]; there || len(got) != 5 { // those, and the directory itself
		t.Errorf("%d members: %+v", len(got), got)
	}

	begun = time.Now().Add(time.Hour)
	for name, header := range walk() {
		if header.Uname != asBefore || header.Size != 0 {
			t.Errorf("%s is older than the machine, and was sent: %+v", name, header)
		}
	}
}

func TestPlacesOfTheKernelAreNoPartOfTheRoot(t *testing.T) {
	out := &rootWriter{tar.NewWriter(io.Discard), map[[2]uint64]string{}, "", 0, nil}
	for _, place := range []string{"/proc", "/tmp", "/workspace", "/pyro"} {
		if err := out.entry(place, nil, nil); err != fs.SkipDir {
			t.Errorf("%s: %v", place, err)
		}
	}
	if err := out.entry("/etc/gone", nil, fs.ErrNotExist); err != nil {
		t.Errorf("what went while it was listed: %v", err)
	}
	if err := out.entry("/etc/locked", nil, fs.ErrPermission); err == nil {
		t.Error("what cannot be read was passed over in silence")
	}
}
