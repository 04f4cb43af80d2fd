package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestRulesOfADirectoryStandOverThoseAboveIt(t *testing.T) {
	workspace := t.TempDir()
	os.Mkdir(filepath.Join(workspace, "d"), 0o755)
	os.WriteFile(filepath.Join(workspace, ".gitignore"), []byte("# no rule\n*.log\n/top\nbuild/\n!keep.log\n\\#odd\ntrailing  \r\n"), 0o644)
	os.WriteFile(filepath.Join(workspace, "d", ".gitignore"), []byte("!x.log\ninner/**/leaf\n[a-c]?.tmp\n"), 0o644)
	above := readIgnoreRules(workspace, "", nil, ".gitignore")
	below := readIgnoreRules(workspace, "d", above, ".gitignore")
	for _, each := range []struct {
		rules     *ignoreRules
		name      string
		directory bool
		want      bool
	}{
		{above, "x.log", false, true}, {above, "keep.log", false, false}, {above, "e/f.log", false, true},
		{above, "top", false, true}, {above, "e/top", false, false}, {above, "#odd", false, true}, {above, "# no rule", false, false},
		{above, "build", true, true}, {above, "build", false, false}, {above, "trailing", false, true},
		{below, "d/x.log", false, false}, {below, "d/y.log", false, true},
		{below, "d/inner/leaf", false, true}, {below, "d/inner/a/b/leaf", false, true},
		{below, "d/b1.tmp", false, true}, {below, "d/z1.tmp", false, false}, {below, "d/b12.tmp", false, false},
	} {
		if got := each.rules.ignored(each.name, each.directory); got != each.want {
			t.Errorf("%s (directory: %v): %v", each.name, each.directory, got)
		}
	}
	if again := readIgnoreRules(workspace, "none", below, ".gitignore"); again != below {
		t.Error("a directory without rules has those above it")
	}
}

func TestAnIgnoreFileThatIsNoFileIsNotRead(t *testing.T) {
	workspace, outside := t.TempDir(), filepath.Join(t.TempDir(), "rules")
	os.WriteFile(outside, []byte("*\n"), 0o644)
	os.Symlink(outside, filepath.Join(workspace, ".gitignore"))
	if readIgnoreRules(workspace, "", nil, ".gitignore") != nil {
		t.Error("a link was followed")
	}
}

func TestWhatAToolFilledIsKnownByItsMark(t *testing.T) {
	workspace := t.TempDir()
	for _, name := range []string{"env/pyvenv.cfg", "cache/CACHEDIR.TAG", "src/main.go"} {
		os.MkdirAll(filepath.Join(workspace, filepath.Dir(name)), 0o755)
		os.WriteFile(filepath.Join(workspace, name), nil, 0o644)
	}
	for name, want := range map[string]bool{"env": true, "cache": true, "a/node_modules": true, "src": false} {
		if plainlyMade(workspace, name) != want {
			t.Errorf("%s: not %v", name, want)
		}
	}
}
