package main

import (
	"archive/tar"
	"bytes"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
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

func TestAFileWithHolesIsSentInPartsThatMakeItUp(t *testing.T) {
	a, h := testAgent(t)
	place := filepath.Join(a.workspace, "holes")
	file, _ := os.Create(place)
	size := int64(40<<20 + 12345)
	want := map[int64]string{0: "first", 3<<20 + 17: "middle", 3<<20 + holeBytes + 5: "next to it", size - 3: "end"}
	for offset, text := range want {
		file.WriteAt([]byte(text), offset)
	}
	file.Close()
	whole, _ := os.ReadFile(place)
	answer := httptest.NewRecorder()
	h.ServeHTTP(answer, httptest.NewRequest("GET", "/v1/tar?path=holes", nil))
	if answer.Body.Len() > 1<<20 {
		t.Errorf("%d bytes were sent", answer.Body.Len())
	}
	archive := tar.NewReader(answer.Body)
	header, err := archive.Next()
	if err != nil {
		t.Fatal(err)
	}
	numbers := strings.Fields(header.PAXRecords[partsRecord])
	if numbers[0] != strconv.FormatInt(size, 10) {
		t.Errorf("%v", numbers)
	}
	got := make([]byte, size)
	for i := 1; i < len(numbers); i += 2 {
		offset, _ := strconv.ParseInt(numbers[i], 10, 64)
		length, _ := strconv.ParseInt(numbers[i+1], 10, 64)
		if _, err := io.ReadFull(archive, got[offset:offset+length]); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(got, whole) {
		t.Error("the parts do not make up the file")
	}
	if rest, err := io.ReadAll(archive); len(rest) > 0 || err != nil {
		t.Errorf("%d bytes more, %v", len(rest), err)
	}
}

func TestSoManyHolesThatTheirListWouldBeLongAreSentAsData(t *testing.T) {
	file, _ := os.Create(filepath.Join(t.TempDir(), "comb"))
	defer file.Close()
	defer func(most int) { mostParts = most }(mostParts)
	mostParts = 16
	size := int64(2*holeBytes) * int64(mostParts+4)
	file.Truncate(size)
	for at := int64(0); at < size; at += 2 * holeBytes {
		file.WriteAt([]byte{1}, at)
	}
	parts, err := partsOf(file, size, func() {})
	if err != nil || len(parts) != mostParts {
		t.Fatalf("%d parts, %v", len(parts), err)
	}
	last := parts[len(parts)-1]
	if last.offset+last.length < size-2*holeBytes {
		t.Errorf("%v", last)
	}
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
