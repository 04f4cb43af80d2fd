package main

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"
)

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

func TestWhoReadsForLongSaysSoBetweenTwoMembers(t *testing.T) {
	var sent bytes.Buffer
	flushed := 0
	out := &treeWriter{Writer: tar.NewWriter(&sent), flush: func() error { flushed++; return nil }}
	out.working()
	out.working() // too soon after the first
	if out.Close(); flushed != 1 {
		t.Errorf("it was said %d times", flushed)
	}
	if contents, refused := membersOf(t, &sent); len(contents) != 1 || refused != "" {
		t.Errorf("%v %s", contents, refused)
	}
}
