package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestTheSeedsDriveIsAwaitedByItsSize(t *testing.T) {
	size := filepath.Join(t.TempDir(), "size")
	if sectors(size) != 0 {
		t.Fatal("a drive that is not there has a size")
	}
	os.WriteFile(size, []byte("8\n"), 0o600)
	arrived := func() bool { return sectors(size) > placeholderSectors }
	if waitFor(20*time.Millisecond, arrived) {
		t.Fatal("the placeholder was taken for a seed")
	}
	time.AfterFunc(10*time.Millisecond, func() { os.WriteFile(size, []byte("4096\n"), 0o600) })
	if !waitFor(5*time.Second, arrived) {
		t.Fatal("the seed was not seen")
	}
}

func TestADirectoryWithoutModulesIsFine(t *testing.T) {
	if err := loadModules(t.TempDir()); err != nil {
		t.Fatal(err)
	}
}

func TestSharedSeedsNeedNoDrive(t *testing.T) {
	if err := (&agent{}).mountSeed(); err != nil {
		t.Fatal(err)
	}
}
