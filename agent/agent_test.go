package main

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// testAgent serves a workspace in temporary directories, without acting as a first process.
func testAgent(t testing.TB) (*agent, http.Handler) {
	base := t.TempDir()
	workspace, lower, upper := filepath.Join(base, "workspace"), filepath.Join(base, "lower"), filepath.Join(base, "upper")
	for _, directory := range []string{workspace, lower, filepath.Join(upper, "u")} {
		if err := os.MkdirAll(directory, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	a := newAgent(config{workspace: workspace, seed: lower, upper: upper})
	a.lower.Store(&lower)
	return a, a.routes()
}

func call(h http.Handler, method, target string, body io.Reader) *httptest.ResponseRecorder {
	recorder := httptest.NewRecorder()
	h.ServeHTTP(recorder, httptest.NewRequest(method, target, body))
	return recorder
}

func apply(t testing.TB, h http.Handler, changes ...change) *httptest.ResponseRecorder {
	body, err := json.Marshal(applyRequest{changes})
	if err != nil {
		t.Fatal(err)
	}
	return call(h, "POST", "/v1/files/apply", bytes.NewReader(body))
}

func snapshotOf(t testing.TB, directory string) map[string]string {
	found := map[string]string{}
	err := filepath.WalkDir(directory, func(name string, entry os.DirEntry, err error) error {
		if err != nil || name == directory {
			return err
		}
		info, _ := entry.Info()
		text := info.Mode().String()
		if info.Mode().IsRegular() {
			content, _ := os.ReadFile(name)
			text += " " + string(content)
		}
		relative, _ := filepath.Rel(directory, name)
		found[relative] = text
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

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

// membersOf reads an archive as its reader does: a later member replaces an earlier one of the same name.
func membersOf(t *testing.T, in io.Reader) (contents map[string][]byte, refused string) {
	contents = map[string][]byte{}
	for archive := tar.NewReader(in); ; {
		header, err := archive.Next()
		if err == io.EOF {
			return contents, refused
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		contents[header.Name] = content
		refused += header.PAXRecords[changingRecord] + header.PAXRecords[unreadableRecord]
	}
}

func TestATreeThatIsWrittenWhileItIsSentComesWholeOrIsRefusedByName(t *testing.T) {
	for _, size := range []int{1000, 300_000, spoolBytes + 1} {
		a, h := testAgent(t)
		busy, log := filepath.Join(a.workspace, "d", "busy"), filepath.Join(a.workspace, "log")
		os.Mkdir(filepath.Dir(busy), 0o755)
		full := map[byte][]byte{'a': bytes.Repeat([]byte("a"), size), 'b': bytes.Repeat([]byte("b"), size)}
		os.WriteFile(busy, full['a'], 0o644)
		os.WriteFile(log, bytes.Repeat([]byte("l"), size), 0o644)
		stop, stopped := make(chan bool), make(chan bool)
		go func() {
			defer close(stopped)
			appending, _ := os.OpenFile(log, os.O_APPEND|os.O_WRONLY, 0)
			defer appending.Close()
			for letter := byte('a'); ; letter = 'a' + 'b' - letter {
				select {
				case <-stop:
					return
				default:
				}
				os.WriteFile(busy, full[letter], 0o644) // empties it first
				appending.Write([]byte("l"))
			}
		}()
		outcomes := map[string]int{}
		for range 8 {
			contents, refused := membersOf(t, call(h, "GET", "/v1/tar?path=.", nil).Body)
			if refused != "" {
				if refused != "d/busy" {
					t.Errorf("refused because of %q", refused)
				}
				outcomes["refused"]++
				continue
			}
			outcomes["whole"]++
			got := contents["d/busy"]
			if !bytes.HasPrefix(full['a'], got) && !bytes.HasPrefix(full['b'], got) {
				t.Errorf("%d bytes that never stood there", len(got))
			}
			if l := contents["log"]; len(l) < size || len(bytes.Trim(l, "l")) != 0 {
				t.Errorf("the log came with %d bytes", len(l))
			}
		}
		close(stop)
		<-stopped
		t.Log(size, outcomes)
	}
}

func TestAFileThatGetsAnotherNameWhileItsDirectoryIsSentIsNotLost(t *testing.T) {
	a, h := testAgent(t)
	for _, name := range []string{"a", "z"} {
		os.WriteFile(filepath.Join(a.workspace, name+"-filler"), bytes.Repeat([]byte("x"), 100_000), 0o644)
	}
	os.WriteFile(filepath.Join(a.workspace, "m1"), []byte("kept"), 0o644)
	stop, stopped := make(chan bool), make(chan bool)
	go func() {
		defer close(stopped)
		for one, two := "m1", "b2"; ; one, two = two, one {
			select {
			case <-stop:
				return
			default:
				os.Rename(filepath.Join(a.workspace, one), filepath.Join(a.workspace, two))
			}
		}
	}()
	for range 60 {
		contents, refused := membersOf(t, call(h, "GET", "/v1/tar?path=.", nil).Body)
		if refused == "" && string(contents["m1"])+string(contents["b2"]) == "" {
			t.Fatal("it is in the tree under neither name")
		}
	}
	close(stop)
	<-stopped
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

func TestARingKeepsTheLatestAndCountsTheRest(t *testing.T) {
	r := newRing(0)
	block := bytes.Repeat([]byte("x"), maxFramePayload)
	for range ringSize/maxFramePayload + 3 {
		r.write(frameStdout, block)
	}
	end, dropped := r.counts()
	if end-dropped > ringSize || dropped == 0 {
		t.Fatalf("end %d, dropped %d", end, dropped)
	}
	r.close()
	position := r.follow(0)
	if *position != dropped {
		t.Errorf("a follower starts at %d, the first kept byte is %d", *position, dropped)
	}
	got := uint64(0)
	for {
		chunk, more := r.next(position, func() bool { return false })
		if !more {
			break
		}
		got += uint64(len(chunk.payload))
		r.advance(position, len(chunk.payload))
	}
	if got != end-dropped {
		t.Errorf("%d bytes came, %d were kept", got, end-dropped)
	}
}

func TestAFollowerInTheMiddleOfAChunkLosesNothing(t *testing.T) {
	r := newRing(minRing)
	r.write(frameStdout, []byte("abcdef"))
	position := r.follow(3)
	r.write(frameStdout, bytes.Repeat([]byte("x"), minRing-3)) // just as much as this follower leaves room for
	chunk, _ := r.next(position, func() bool { return false })
	if chunk.offset != 3 || !bytes.HasPrefix(chunk.payload, []byte("def")) {
		t.Errorf("the next chunk is at %d: %.8q", chunk.offset, chunk.payload)
	}
}

func FuzzFrames(f *testing.F) {
	f.Add(appendFrame(nil, frameStdout, 7, []byte("hello")))
	f.Add([]byte{frameStdin, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{1, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		reader := bytes.NewReader(data)
		for {
			got, err := readFrame(reader)
			if err != nil {
				return
			}
			if len(got.payload) > maxFramePayload {
				t.Fatalf("a payload of %d bytes", len(got.payload))
			}
			again := appendFrame(nil, got.kind, got.offset, got.payload)
			if binary.BigEndian.Uint32(again[1:5]) != uint32(len(got.payload)) {
				t.Fatal("a frame does not survive being written again")
			}
		}
	})
}

func FuzzRequests(f *testing.F) {
	f.Add(`{"argv":["true"],"env":{"A":"b"},"timeout_ms":1}`)
	f.Add(`{"changes":[{"op":"write","path":"a","content":"eA=="}]}`)
	f.Add(`{"argv":1}{"argv":[]}`)
	f.Fuzz(func(t *testing.T, text string) {
		for _, into := range []any{&startRequest{}, &applyRequest{}, &setupRequest{}, &readManyRequest{}, &signalRequest{}, &winsize{}} {
			err := decode(strings.NewReader(text), into)
			var own *apiError
			if err != nil && !errors.As(err, &own) {
				t.Fatalf("%T: %v is no answer of the protocol", into, err)
			}
		}
	})
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

// MarshalJSON sends what a test writes in Path, To and Link.
func (c change) MarshalJSON() ([]byte, error) {
	type plain change
	c.WirePath, c.WireTo, c.WireLink = wireName(c.Path), wireName(c.To), wireName(c.Link)
	return json.Marshal(plain(c))
}

func TestNamesKeepTheirBytes(t *testing.T) {
	for _, name := range []string{"plain", "ü", "caf\351.txt", "\377\376", "", "a\nb\"\\", "\ufffd"} {
		data, err := json.Marshal(wireName(name))
		if err != nil {
			t.Fatal(err)
		}
		var back wireName
		if err := json.Unmarshal(data, &back); err != nil || string(back) != name {
			t.Errorf("%q became %q as %s (%v)", name, back, data, err)
		}
	}
}
