package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestChangesAreTheUpperLayerAgainstTheLower(t *testing.T) {
	a, h := testAgent(t)
	lower, upper := *a.lower.Load(), filepath.Join(a.upper, "u")
	write := func(root, name, content string) {
		os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755)
		os.WriteFile(filepath.Join(root, name), []byte(content), 0o644)
	}
	write(lower, "kept/file", "untouched")
	write(lower, "d/touched", "same")
	write(lower, "d/changed", "old")
	write(lower, "gone/x/y", "1")
	write(lower, "turned/inside", "1")
	write(upper, "d/touched", "same")
	write(upper, "d/changed", "new")
	write(upper, "d/added", "fresh")
	write(upper, "turned", "a file now")
	os.MkdirAll(filepath.Join(upper, "empty"), 0o755)
	if err := syscall.Mknod(filepath.Join(upper, "gone"), syscall.S_IFCHR, 0); err != nil {
		t.Skipf("a whiteout needs mknod, which this user may not: %v", err)
	}
	var answer struct{ Changes []treeChange }
	if err := json.Unmarshal(call(h, "GET", "/v1/changes", nil).Body.Bytes(), &answer); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, c := range answer.Changes {
		got[string(c.Path)] = c.Change
	}
	want := map[string]string{
		"d/changed": "modified", "d/added": "added", "empty": "added", "gone/x/y": "deleted",
		"turned/inside": "deleted", "turned": "added",
	}
	if len(got) != len(want) {
		t.Errorf("got %v", got)
	}
	for name, change := range want {
		if got[name] != change {
			t.Errorf("%s: %q, want %q", name, got[name], change)
		}
	}
}

func TestBelowAnOpaqueDirectoryTheSeedIsHiddenToo(t *testing.T) {
	a, h := testAgent(t)
	lower, upper := *a.lower.Load(), filepath.Join(a.upper, "u")
	for _, name := range []string{"d/sub/old", "d/sub/kept", "d/top"} {
		os.MkdirAll(filepath.Dir(filepath.Join(lower, name)), 0o755)
		os.WriteFile(filepath.Join(lower, name), []byte("1"), 0o644)
	}
	os.MkdirAll(filepath.Join(upper, "d/sub"), 0o755)
	os.WriteFile(filepath.Join(upper, "d/sub/kept"), []byte("1"), 0o644)
	os.WriteFile(filepath.Join(upper, "d/top"), nil, 0o644)
	if err := errors.Join(
		syscall.Setxattr(filepath.Join(upper, "d"), "user.overlay.opaque", []byte("y"), 0),
		syscall.Setxattr(filepath.Join(upper, "d/top"), "user.overlay.whiteout", []byte("y"), 0),
	); err != nil {
		t.Skipf("the temporary directory has no extended attributes: %v", err)
	}
	var answer struct{ Changes []treeChange }
	json.Unmarshal(call(h, "GET", "/v1/changes", nil).Body.Bytes(), &answer)
	got := map[string]string{}
	for _, c := range answer.Changes {
		got[string(c.Path)] = c.Change
	}
	if len(got) != 2 || got["d/sub/old"] != "deleted" || got["d/top"] != "deleted" {
		t.Errorf("got %v", got)
	}
}
