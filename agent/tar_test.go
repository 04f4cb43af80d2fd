package main

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAnArchiveReplacesOnlyWhenItMay(t *testing.T) {
	a, h := testAgent(t)
	os.WriteFile(filepath.Join(a.workspace, "there"), []byte("old"), 0o644)
	members := archiveOf(tar.Header{Name: "new", Typeflag: tar.TypeReg, Mode: 0o644}, tar.Header{Name: "there", Typeflag: tar.TypeReg, Mode: 0o644})
	if r := call(h, "PUT", "/v1/tar?dest=.&overwrite=0", bytes.NewReader(members)); r.Code != 409 {
		t.Errorf("%d %s", r.Code, r.Body)
	}
	if left := snapshotOf(t, a.workspace); len(left) != 1 || !strings.HasSuffix(left["there"], "old") {
		t.Errorf("left %v", left)
	}
	if r := call(h, "PUT", "/v1/tar?dest=.", bytes.NewReader(members)); r.Code != 200 {
		t.Errorf("%d %s", r.Code, r.Body)
	}
}

func archiveOf(members ...tar.Header) []byte {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, member := range members {
		member.Size = 0
		w.WriteHeader(&member)
	}
	w.Close()
	return out.Bytes()
}

func TestAnArchiveThatLeadsOutLeavesNothing(t *testing.T) {
	file := tar.Header{Name: "fine", Typeflag: tar.TypeReg, Mode: 0o644}
	for name, members := range map[string][]tar.Header{
		"upwards":       {file, {Name: "../x", Typeflag: tar.TypeReg}},
		"absolute":      {file, {Name: "/x", Typeflag: tar.TypeReg}},
		"through":       {file, {Name: "d", Typeflag: tar.TypeSymlink, Linkname: "/tmp"}, {Name: "d/planted", Typeflag: tar.TypeReg}},
		"device":        {file, {Name: "null", Typeflag: tar.TypeChar}},
		"foreign link":  {file, {Name: "hard", Typeflag: tar.TypeLink, Linkname: "../../etc/passwd"}},
		"dangling link": {file, {Name: "hard", Typeflag: tar.TypeLink, Linkname: "never"}},
	} {
		a, h := testAgent(t)
		if r := call(h, "PUT", "/v1/tar?dest=.", bytes.NewReader(archiveOf(members...))); r.Code < 400 {
			t.Errorf("%s: %d", name, r.Code)
		}
		if left := snapshotOf(t, a.workspace); len(left) != 0 {
			t.Errorf("%s left %v", name, left)
		}
	}
}

func FuzzTar(f *testing.F) {
	f.Add(archiveOf(tar.Header{Name: "a", Typeflag: tar.TypeReg, Mode: 0o644}, tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "../.."}))
	f.Add(archiveOf(tar.Header{Name: "../a", Typeflag: tar.TypeReg}))
	f.Add([]byte("no archive at all"))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, h := testAgent(t)
		response := call(h, "PUT", "/v1/tar?dest=in", bytes.NewReader(data))
		if response.Code != 200 {
			if left := snapshotOf(t, a.workspace); len(left) != 0 {
				t.Fatalf("a refused archive left %v", left)
			}
		}
		if entries, _ := os.ReadDir(filepath.Dir(a.workspace)); len(entries) != 3 {
			t.Fatalf("something appeared beside the workspace: %v", entries)
		}
	})
}
