package main

import (
	"testing"
)

func TestAChangeListIsCarriedOutWholeOrNotAtAll(t *testing.T) {
	a, h := testAgent(t)
	if r := apply(t, h, change{Op: "write", Path: "a/b.txt", Content: []byte("one"), MakeParents: true}); r.Code != 200 {
		t.Fatal(r.Body)
	}
	before := snapshotOf(t, a.workspace)
	for name, list := range map[string][]change{
		"a later expectation fails": {{Op: "write", Path: "new", Content: []byte("x")}, {Op: "delete", Path: "a/b.txt", Expect: "absent"}},
		"a later step fails":        {{Op: "delete", Path: "a/b.txt", PruneParents: true}, {Op: "rename", Path: "missing", To: "x"}},
		"a directory is in the way": {{Op: "write", Path: "n/new", Content: []byte("x"), MakeParents: true}, {Op: "write", Path: "a", Content: []byte("x"), Expect: "present"}},
		"a path leads out":          {{Op: "write", Path: "new", Content: []byte("x")}, {Op: "write", Path: "../x", Content: []byte("x")}},
	} {
		if r := apply(t, h, list...); r.Code < 400 {
			t.Errorf("%s: %d", name, r.Code)
		}
		if after := snapshotOf(t, a.workspace); len(after) != len(before) || after["a/b.txt"] != before["a/b.txt"] {
			t.Errorf("%s: left %v, had %v", name, after, before)
		}
	}
}
