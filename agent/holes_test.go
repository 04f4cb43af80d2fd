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
