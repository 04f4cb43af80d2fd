package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"
)

const passwdText = "root:x:0:0:root:/root:/bin/bash\n" +
	"node:x:1000:1000::/home/node:/bin/sh\r\n" +
	"1234:x:1005:7::/n:/bin/sh\n" +
	"# a comment\n\n:::::\nshort:x:9\nfar:x:4294967295:1:::\nminus:x:-1:-1:::\nhomeless:x:1001:1001:::\n"

const groupText = "root:x:0:\nnode:x:1000:\ndocker:x:998:node,other\nstaff:x:50:other,node\nsudo:x:27:nodeling\nodd:x\n"

func TestWhoIsMeant(t *testing.T) {
	for said, want := range map[string]user{
		"root":          {"root", 0, 0, nil, "/root"},
		"0":             {"root", 0, 0, nil, "/root"},
		"node":          {"node", 1000, 1000, []uint32{998, 50}, "/home/node"},
		"1000":          {"node", 1000, 1000, []uint32{998, 50}, "/home/node"},
		"node:staff":    {"node", 1000, 50, nil, "/home/node"},
		"1000:5":        {"node", 1000, 5, nil, "/home/node"},
		"1234":          {"1234", 1005, 7, nil, "/n"}, // a name goes before a number
		"4321":          {"", 4321, 0, nil, "/"},
		"4321:4321":     {"", 4321, 4321, nil, "/"},
		"homeless":      {"homeless", 1001, 1001, nil, "/"},
		"2147483647:50": {"", 2147483647, 50, nil, "/"},
	} {
		if got, err := userOf(said, []byte(passwdText), []byte(groupText)); err != nil || !reflect.DeepEqual(*got, want) {
			t.Errorf("%s: %+v %v, want %+v", said, got, err, want)
		}
	}
	for said, word := range map[string]string{
		"nobody": "root, node", "node:nogroup": "no group", "": "A user is", "far": "no user", "minus": "no user", "-1": "no user",
		"2147483648": "no user", "1000:-1": "no group", "node:": "no group", ":5": "no user", strings.Repeat("x", 300): "at most",
		"a\x00b": "A user is", "short": "no user", "0x10": "no user", " node": "no user",
	} {
		if _, err := userOf(said, []byte(passwdText), []byte(groupText)); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%q: %v, want %q", said, err, word)
		}
	}
	if got, err := userOf("12:34", nil, nil); err != nil || got.uid != 12 || got.gid != 34 {
		t.Errorf("without any accounts: %+v %v", got, err)
	}
}

func TestAListOfAccountsThatIsNoFileIsNotWaitedFor(t *testing.T) {
	place := filepath.Join(t.TempDir(), "passwd")
	if text, err := accountFile(place); text != nil || err != nil {
		t.Errorf("none: %q %v", text, err)
	}
	if err := syscall.Mkfifo(place, 0o600); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := accountFile(place)
		ended <- err
	}()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("a FIFO is no list of accounts")
		}
	case <-time.After(5 * time.Second):
		t.Fatal("it waits for a FIFO")
	}
	os.Remove(place)
	os.WriteFile(place, nil, 0o600)
	os.Truncate(place, maxAccounts+1)
	if _, err := accountFile(place); err == nil {
		t.Error("too many")
	}
}

func TestVariablesSayWho(t *testing.T) {
	merged := map[string]string{"HOME": "/root", "USER": "root", "LOGNAME": "root"}
	(&user{name: "node", uid: 1000, home: "/home/node"}).variables(map[string]string{"USER": "image"}, map[string]string{"LOGNAME": "call"}, merged)
	if merged["HOME"] != "/home/node" || merged["USER"] != "root" || merged["LOGNAME"] != "root" {
		t.Errorf("%v", merged) // the two were merged before, by the caller
	}
}

func TestAProgramBehindAClosedDirectoryIsPassedOver(t *testing.T) {
	base := t.TempDir()
	stranger := &user{uid: 54321, gid: 54321}
	if !stranger.mayReach(filepath.Join(base, "x")) {
		t.Skip("nobody else may come here")
	}
	for _, name := range []string{"closed", "open"} {
		os.Mkdir(filepath.Join(base, name), 0o755)
		os.WriteFile(filepath.Join(base, name, "tool"), nil, 0o755)
	}
	os.Chmod(filepath.Join(base, "closed"), 0o700)
	for want, as := range map[string]*user{"open": stranger, "closed": nil} {
		got, err := lookPath("tool", "/", base+"/closed:"+base+"/open", as)
		if err != nil || got != filepath.Join(base, want, "tool") {
			t.Error(want, got, err)
		}
	}
}
