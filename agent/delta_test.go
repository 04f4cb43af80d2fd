package main

import (
	"encoding/json"
	"fmt"
	"math/rand"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// listedNow is what a whole look says, by path; directories that are looked past are not in it.
func listedNow(t *testing.T, a *agent) map[string]string {
	t.Helper()
	lower, err := a.layer("lower")
	if err != nil {
		t.Fatal(err)
	}
	defer lower.Close()
	upper, err := os.OpenRoot(a.upperTree())
	if err != nil {
		t.Fatal(err)
	}
	defer upper.Close()
	d := &differ{upper: upper, lower: lower, upperPath: a.upperTree(), limit: maxChangesListed, marks: true}
	if err := d.directory(".", true, false); err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, c := range d.changes {
		switch {
		case c.New == nil:
			found[string(c.Path)] = "absent"
		case c.New.Kind == "file":
			content, _ := upper.ReadFile(string(c.Path))
			found[string(c.Path)] = fmt.Sprintf("file %o %s", c.New.Mode, content)
		default:
			found[string(c.Path)] = fmt.Sprintf("%s %s", c.New.Kind, c.New.Link)
		}
	}
	return found
}

func TestDeltasComeToWhatAWholeLookSays(t *testing.T) {
	told, times := 0, 0
	for seed := range int64(20) {
		a, _ := testAgent(t)
		random := rand.New(rand.NewSource(seed))
		lower, upper := *a.lower.Load(), a.upperTree()
		for _, name := range []string{"a", "d/b", "d/e/c", "f/g"} {
			os.MkdirAll(filepath.Dir(filepath.Join(lower, name)), 0o755)
			os.WriteFile(filepath.Join(lower, name), []byte("below "+name), 0o644)
		}
		white := func(name string) {
			if _, err := os.Lstat(filepath.Join(lower, name)); err == nil {
				if err := syscall.Mknod(filepath.Join(upper, name), syscall.S_IFCHR, 0); err != nil {
					t.Skipf("a whiteout needs mknod, which this user may not: %v", err)
				}
			}
		}
		names := []string{"a", "d/b", "d/e/c", "d/e", "d", "f/g", "f", "new/x", "new", "d/z", "node_modules/k", "d/__pycache__/p", "d/pipe"}
		change := func() {
			name := names[random.Intn(len(names))]
			there := filepath.Join(upper, name)
			for up := path.Dir(name); up != "."; up = path.Dir(up) {
				if info, err := os.Lstat(filepath.Join(upper, up)); err == nil && !info.IsDir() {
					os.RemoveAll(filepath.Join(upper, up)) // a whiteout, or a file
					os.MkdirAll(filepath.Join(upper, up), 0o755)
					syscall.Setxattr(filepath.Join(upper, up), "trusted.overlay.opaque", []byte("y"), 0)
				}
			}
			os.RemoveAll(there)
			os.MkdirAll(filepath.Dir(there), 0o755)
			switch random.Intn(9) {
			case 0, 1:
				os.WriteFile(there, []byte(fmt.Sprint("now ", random.Intn(3))), 0o644)
			case 2:
				os.WriteFile(there, []byte("below "+name), 0o644) // as it was
			case 3:
				os.WriteFile(there, nil, 0o600)
			case 4:
				os.Symlink("nowhere", there)
			case 5:
				os.MkdirAll(there, 0o700)
			case 6:
				syscall.Mkfifo(there, 0o644)
			default:
				white(name)
			}
		}
		a.lookedWhole()
		kept := listedNow(t, a)
		for range 40 {
			for range random.Intn(3) {
				change()
			}
			started := time.Now()
			said := a.changedSince(started, true)
			want := listedNow(t, a)
			times++
			if said == nil || said.Kept == nil {
				a.lookedWhole()
				kept = want
				continue
			}
			told++
			if said.Kept.Look != said.Kept.Since+uint64(min(1, len(said.Kept.Files))) {
				t.Fatal(said.Kept)
			}
			for _, file := range said.Kept.Files {
				switch file.Kind {
				case "same":
					delete(kept, string(file.Path))
				case "absent":
					kept[string(file.Path)] = "absent"
				case "file":
					kept[string(file.Path)] = fmt.Sprintf("file %o %s", file.Mode, *file.Content)
				default:
					kept[string(file.Path)] = fmt.Sprintf("%s %s", file.Kind, file.Link)
				}
			}
			if fmt.Sprint(kept) != fmt.Sprint(want) {
				t.Fatalf("seed %d: kept %v\nis   %v\nsaid %+v", seed, kept, want, said.Kept.Files)
			}
		}
	}
	if told < times/4 {
		t.Errorf("%d of %d changes were told", told, times)
	}
}

func TestADeltaIsSmallAndGoesWithTheNextOne(t *testing.T) {
	a, _ := testAgent(t)
	put := func(name string, size int) {
		if err := os.WriteFile(filepath.Join(a.upperTree(), name), make([]byte, size), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if put("early", 1); a.changedSince(time.Now(), true).Kept != nil {
		t.Fatal("nobody has looked yet")
	}
	a.lookedWhole()
	if put("large", deltaBytes+1); a.changedSince(time.Now(), true).Kept != nil {
		t.Fatal("it is too large")
	}
	a.lookedWhole()
	for i := range deltaFiles + 1 {
		put(fmt.Sprint("many", i), 1)
	}
	if a.changedSince(time.Now(), true).Kept != nil {
		t.Fatal("they are too many")
	}
	a.lookedWhole()
	first, second := &process{}, &process{}
	table := newProcessTable()
	for i, p := range []*process{first, second} {
		put("one", i+10)
		p.exit = &exitRecord{Changed: a.changedSince(time.Now(), true)}
		table.carried(p, p.exit)
	}
	if first.exit.Changed.Kept != nil || second.exit.Changed.Kept == nil || first.exit.Changed.Count != 1 {
		t.Fatal(first.exit.Changed, second.exit.Changed)
	}
}

func TestWhatChangedNothingIsNoNewLook(t *testing.T) {
	a, _ := testAgent(t)
	look := a.lookedWhole()
	for range 3 {
		if said := a.changedSince(time.Now(), true); said.Count != 0 || said.Kept == nil || said.Kept.Look != look {
			t.Fatalf("%+v", said)
		}
	}
	os.WriteFile(filepath.Join(a.upperTree(), "one"), []byte("1"), 0o644)
	if said := a.changedSince(time.Now(), true); said.Kept == nil || said.Kept.Since != look || said.Kept.Look != look+1 {
		t.Fatalf("%+v", said)
	}
}

func TestAnEndFitsIntoOneFrameWhateverTheNamesAre(t *testing.T) {
	a, _ := testAgent(t)
	a.lookedWhole()
	deep := a.upperTree()
	for range 3 {
		deep = filepath.Join(deep, strings.Repeat("<", 250))
	}
	if err := os.MkdirAll(deep, 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range deltaFiles {
		if err := os.WriteFile(filepath.Join(deep, fmt.Sprint(i)), make([]byte, 300), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	end, err := json.Marshal(&exitRecord{Changed: a.changedSince(time.Now(), true)})
	if err != nil || len(end) > maxFramePayload {
		t.Fatal(len(end), err)
	}
}

func TestWhatTheAgentChangedIsInTheNextDelta(t *testing.T) {
	a, _ := testAgent(t)
	a.lookedWhole()
	for i, name := range []string{"one", "two", "three"} {
		os.WriteFile(filepath.Join(a.upperTree(), name), []byte("1"), 0o644)
		if name == "two" {
			a.noticed(name) // no command is said to have done it
		}
		if said := a.changedSince(time.Now(), true); said.Kept == nil || len(said.Kept.Files) != 1 || string(said.Kept.Files[0].Path) != name {
			t.Fatalf("%d: %+v", i, said.Kept)
		}
	}
}
