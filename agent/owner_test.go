package main

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestToolsKeepOwnerAndMode(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	c := startAgent(t)
	home := filepath.Join(c.base, "workspace", "theirs")
	os.Mkdir(home, 0o755)
	old := filepath.Join(home, "old")
	os.WriteFile(old, []byte("a"), 0o640)
	os.Chown(home, 1000, 1001)
	os.Chown(old, 1002, 1003)
	syscall.Chmod(old, 0o4750)
	status, answer := c.call("POST", "/v1/files/apply", `{"changes":[
		{"op":"write","path":"theirs/old","content":"Yg=="},
		{"op":"write","path":"theirs/deep/er/new","content":"Yg==","make_parents":true},
		{"op":"symlink","path":"theirs/link","link":"old"},
		{"op":"mkdir","path":"theirs/made"},
		{"op":"write","path":"ours","content":"Yg=="}]}`)
	if status != 200 {
		t.Fatal(answer)
	}
	for name, want := range map[string][3]uint32{
		"theirs/old": {1002, 1003, 0o4750}, "theirs/deep": {1000, 1001, 0o755}, "theirs/deep/er": {1000, 1001, 0o755},
		"theirs/deep/er/new": {1000, 1001, 0o644}, "theirs/link": {1000, 1001, 0o777}, "theirs/made": {1000, 1001, 0o755},
		"ours": {0, 0, 0o644},
	} {
		info, err := os.Lstat(filepath.Join(c.base, "workspace", name))
		if err != nil {
			t.Error(err)
			continue
		}
		stat := info.Sys().(*syscall.Stat_t)
		if got := [3]uint32{stat.Uid, stat.Gid, stat.Mode & 0o7777}; got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}
