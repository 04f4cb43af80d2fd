package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestOfTheWorkspaceComesWhatTheSeedHasNotAndOfTheRestTheNames(t *testing.T) {
	a, _ := testAgent(t)
	put := func(root, name, content string) string {
		place := filepath.Join(root, name)
		os.MkdirAll(filepath.Dir(place), 0o755)
		os.WriteFile(place, []byte(content), 0o640)
		return place
	}
	upper := filepath.Join(a.upper, "u")
	for _, name := range []string{"same", "changed", "touched", "gone", "old/one", "dir/kept", ".git/config", "sub/.git/HEAD"} {
		put(a.seed, name, "seed")
	}
	for _, name := range []string{"same", "touched", "dir/kept", "sub/.git/HEAD"} {
		put(a.workspace, name, "seed")
	}
	for _, each := range [][2]string{{"changed", "set-up"}, {".git/config", "evil"}, {".git/hooks/x", "evil"}, {"sub/.git/index", "evil"}, {"made/.git/HEAD", "own"}, {"dir/new", "new"}, {"made/a", "a"}} {
		put(a.workspace, each[0], each[1])
		put(upper, each[0], each[1])
	}
	put(upper, "touched", "seed")
	os.Link(filepath.Join(a.workspace, "made/a"), filepath.Join(a.workspace, "made/b"))
	os.Symlink("../../etc", filepath.Join(a.workspace, "made/link"))
	syscall.Mkfifo(filepath.Join(a.workspace, "made/pipe"), 0o600)
	attributed := syscall.Setxattr(filepath.Join(a.workspace, "made/a"), "user.kept", []byte("a\x00b"), 0) == nil
	workspace, _ := os.OpenRoot(a.workspace)
	seed, _ := os.OpenRoot(a.seed)
	defer workspace.Close()
	defer seed.Close()
	var buffer bytes.Buffer
	archive := tar.NewWriter(&buffer)
	if err := a.madeOut(archive, workspace, seed); err != nil {
		t.Fatal(err)
	}
	archive.Close()
	got := map[string]string{}
	for in := tar.NewReader(&buffer); ; {
		header, err := in.Next()
		if err == io.EOF {
			break
		}
		content, _ := io.ReadAll(in)
		got[header.Name] = header.Uname + string(content) + header.Linkname
		if header.Name == "workspace/made/a" && (header.Uid != os.Getuid() || header.Mode != 0o640 || attributed && header.PAXRecords[xattrRecord+"user.kept"] != "a\x00b") {
			t.Errorf("%+v", header)
		}
	}
	want := map[string]string{
		"workspace/changed": "~", "workspace/gone": "-", "workspace/old": "-", "workspace/dir/new": "new",
		"workspace/made/": "", "workspace/made/.git/": "", "workspace/made/.git/HEAD": "own",
		"workspace/made/a": "a", "workspace/made/b": "workspace/made/a", "workspace/made/link": "../../etc",
	}
	for name, its := range want {
		if got[name] != its {
			t.Errorf("%s: %q, not %q", name, got[name], its)
		}
		delete(got, name)
	}
	if len(got) > 0 {
		t.Errorf("as well: %v", got)
	}
}

func TestAFileThatIsSentAgainIsNoLinkToItself(t *testing.T) {
	a, _ := testAgent(t)
	os.WriteFile(filepath.Join(a.workspace, "a"), []byte("content"), 0o644)
	os.Link(filepath.Join(a.workspace, "a"), filepath.Join(a.workspace, "b"))
	root, _ := a.root()
	defer root.Close()
	var buffer bytes.Buffer
	archive := tar.NewWriter(&buffer)
	out := &treeWriter{Writer: archive, root: root, base: ".", kept: &keptTree{"workspace/", a.workspace, map[[2]uint64]string{}}}
	for _, name := range []string{"a", "a", "b"} { // the first time, it changed meanwhile
		streamed := 0
		if sent, there, err := out.tryFile(name, &streamed); !sent || !there || err != nil {
			t.Fatal(sent, there, err)
		}
	}
	archive.Close()
	in := tar.NewReader(&buffer)
	for _, want := range []string{"workspace/a 7 ", "workspace/a 7 ", "workspace/b 0 workspace/a"} {
		if header, err := in.Next(); err != nil || fmt.Sprint(header.Name, " ", header.Size, " ", header.Linkname) != want {
			t.Errorf("%+v %v, not %s", header, err, want)
		}
	}
}

func TestNamesAreHiddenInDirectoriesThatLookAsTheSeeds(t *testing.T) {
	a, _ := testAgent(t)
	os.MkdirAll(filepath.Join(a.seed, "a/b"), 0o755)
	os.Chmod(filepath.Join(a.seed, "a"), 0o711)
	os.WriteFile(filepath.Join(a.seed, "a/b/c"), nil, 0o644)
	for _, bad := range []wireName{"../x", "/x", "a/../../x"} {
		if _, err := a.hide([]wireName{bad}); err == nil {
			t.Errorf("%s was hidden", bad)
		}
	}
	layer, err := a.hide([]wireName{"a/b/c"})
	if err != nil {
		t.Skip("no device can be made here: ", err)
	}
	info, _ := os.Lstat(filepath.Join(layer, "a"))
	hidden, err := os.Lstat(filepath.Join(layer, "a/b/c"))
	if err != nil || hidden.Mode()&os.ModeCharDevice == 0 || info.Mode().Perm() != 0o711 {
		t.Errorf("%v %v %v", info, hidden, err)
	}
}
