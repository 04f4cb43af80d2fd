package main

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
)

func TestWhatWasStagedBeforeIsPutInItsPlacesWholeOrNotAtAll(t *testing.T) {
	a, h := testAgent(t)
	post := func(path string, body any) int {
		raw, _ := json.Marshal(body)
		return call(h, "POST", path, bytes.NewReader(raw)).Code
	}
	const id, left = "0123456789abcdef", "ffffffffffffffff"
	stage := func(id string, name, content string) int {
		return post("/v1/files/stage", stageRequest{Stage: id, Files: []stagedFile{{name, []byte(content)}}})
	}
	put := func(extra ...change) int {
		list := append([]change{{Op: "write", Path: "n/one", Staged: "1", MakeParents: true}, {Op: "write", Path: "two", Staged: "2"}}, extra...)
		return post("/v1/files/apply", applyRequest{Changes: list, Stage: id})
	}
	stages := func() (found int) {
		entries, _ := os.ReadDir(a.workspace)
		for _, entry := range entries {
			if strings.HasPrefix(entry.Name(), stagePrefix) {
				found++
			}
		}
		return
	}
	for _, bad := range []string{"", "../x", "0123456789abcdeg"} {
		if stage(bad, "1", "x") != 400 {
			t.Errorf("stage %q was taken", bad)
		}
	}
	if stage(id, "../1", "x") != 400 {
		t.Error("a name that leads out was taken")
	}
	stage(left, "1", "left by a daemon that was killed")
	if stage(id, "1", "first") != 200 || stage(id, "2", "second") != 200 || stages() != 1 {
		t.Fatalf("%d stages", stages())
	}
	if put(change{Op: "delete", Path: "missing"}) < 400 || len(snapshotOf(t, a.workspace)) != 0 || stages() != 0 {
		t.Fatalf("a request that failed left %v, %d stages", snapshotOf(t, a.workspace), stages())
	}
	if put() < 400 {
		t.Fatal("contents of a stage that is gone were put in their places")
	}
	stage(id, "1", "first")
	stage(id, "2", "second")
	if put() != 200 || stages() != 0 {
		t.Fatal("what was staged was not put in its places")
	}
	for name, want := range map[string]string{"n/one": "first", "two": "second"} {
		if got, _ := os.ReadFile(a.workspace + "/" + name); string(got) != want {
			t.Errorf("%s: %q", name, got)
		}
	}
}
