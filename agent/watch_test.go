package main

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

func namesOf(c *changedBy) []string {
	names := []string{}
	for _, name := range c.Paths {
		names = append(names, string(name))
	}
	return names
}

func TestWhatACommandChangedIsFoundInTheUpperLayer(t *testing.T) {
	a, _ := testAgent(t)
	tree := a.upperTree()
	put := func(name string) {
		os.MkdirAll(filepath.Dir(filepath.Join(tree, name)), 0o755)
		if err := os.WriteFile(filepath.Join(tree, name), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	started := time.Now()
	put("a/b")
	put("node_modules/x/y")
	put(stagePrefix + "1/n")
	put(".git/index")
	if got := namesOf(a.changedSince(started, false)); len(got) != 2 || got[0] != "a/b" || got[1] != "node_modules/" {
		t.Fatal(got)
	}
	time.Sleep(2 * clockSlack)
	if got := a.changedSince(time.Now(), false); got.Count != 0 {
		t.Fatal(got)
	}
	os.Remove(filepath.Join(tree, "a/b"))
	if got := namesOf(a.changedSince(time.Now(), false)); len(got) != 1 || got[0] != "a/b" {
		t.Fatal(got)
	}
	put("by-agent/x")
	a.noticed("by-agent/x")
	os.RemoveAll(filepath.Join(tree, "by-agent"))
	a.noticed("by-agent")
	if got := a.changedSince(time.Now(), false); got.Count != 0 {
		t.Fatal(got)
	}
}

func TestALookIsBoundedAndThenSaysNothing(t *testing.T) {
	a, _ := testAgent(t)
	for i := range lookEntries + 50 {
		os.WriteFile(filepath.Join(a.upperTree(), strconv.Itoa(i)), nil, 0o644)
	}
	if found := a.changedSince(time.Now(), false); found != nil {
		t.Fatal(found)
	}
	if found := a.changedSince(time.Now().Add(-time.Second), false); found.Count != lookEntries+50 || len(found.Paths) != changedNamed {
		t.Fatal(found)
	}
}
