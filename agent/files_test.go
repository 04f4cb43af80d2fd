package main

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestNoSymbolicLinkLeadsOut(t *testing.T) {
	a, h := testAgent(t)
	outside := t.TempDir()
	os.WriteFile(filepath.Join(outside, "secret"), []byte("secret"), 0o644)
	for link, target := range map[string]string{"abs": outside, "rel": "../" + filepath.Base(outside), "file": filepath.Join(outside, "secret"), "loop": "loop"} {
		os.Symlink(target, filepath.Join(a.workspace, link))
	}
	for _, name := range []string{"abs/secret", "rel/secret", "file", "loop", "loop/x", "../x", "/etc/passwd"} {
		query := "?path=" + url.QueryEscape(name)
		if r := call(h, "GET", "/v1/files/read"+query, nil); r.Code < 400 || strings.Contains(r.Body.String(), "\"secret\"") {
			t.Errorf("read %s: %d %s", name, r.Code, r.Body)
		}
		if r := apply(t, h, change{Op: "write", Path: name, Content: []byte("x"), MakeParents: true}); r.Code < 400 {
			t.Errorf("write %s: %d", name, r.Code)
		}
	}
	if content, _ := os.ReadFile(filepath.Join(outside, "secret")); string(content) != "secret" {
		t.Error("the file outside was written")
	}
}

func TestALinkInsideTheWorkspaceIsWrittenThrough(t *testing.T) {
	a, h := testAgent(t)
	os.WriteFile(filepath.Join(a.workspace, "real"), []byte("old"), 0o755)
	os.Symlink("/workspace/real", filepath.Join(a.workspace, "link"))
	if r := apply(t, h, change{Op: "write", Path: "link", Content: []byte("new")}); r.Code != 200 {
		t.Fatal(r.Body)
	}
	info, _ := os.Lstat(filepath.Join(a.workspace, "real"))
	if content, _ := os.ReadFile(filepath.Join(a.workspace, "real")); string(content) != "new" || info.Mode().Perm() != 0o755 {
		t.Errorf("%q %v", content, info.Mode())
	}
	if _, err := os.Readlink(filepath.Join(a.workspace, "link")); err != nil {
		t.Error("the link itself was replaced")
	}
}

func FuzzPaths(f *testing.F) {
	for _, seed := range []string{"a/b", "../x", "/etc", "a/../..", "a\x00b", "./.", stagePrefix + "x", strings.Repeat("a/", 3000)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		name, err := cleanPath(text)
		if err != nil {
			return
		}
		if !filepath.IsLocal(name) {
			t.Fatalf("%q became %q", text, name)
		}
	})
}
