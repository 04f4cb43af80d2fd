package main

import (
	"bytes"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"syscall"
	"unsafe"
)

const (
	maxAccounts = 4 << 20 // bytes of /etc/passwd and of /etc/group that are looked at
	maxGroups   = 1024    // supplementary groups of one user
	maxUserName = 256
	maxID       = 1<<31 - 1
	// sessionsPlace is where shell sessions keep their state, each user in a directory of its own.
	sessionsPlace = "/run/pyro-sessions"
)

// user is who a program runs as.
type user struct {
	name     string // empty where /etc/passwd has none of that number
	uid, gid uint32
	groups   []uint32
	home     string
}

// account is a line of passwd(5) or group(5), in its fields.
type account [][]byte

func (a account) number(at int) (uint32, bool) {
	if len(a) <= at {
		return 0, false
	}
	return idOf(string(a[at]))
}

func idOf(text string) (uint32, bool) {
	number, err := strconv.ParseUint(text, 10, 32)
	return uint32(number), err == nil && number <= maxID
}

// userOf finds who is meant: NAME, UID, NAME:GROUP or UID:GID, as an image's User has it (image-spec, config.md). A
// number needs no account; a group that is named takes the place of all the user's own.
func userOf(said string, passwd, group []byte) (*user, error) {
	if said == "" || len(said) > maxUserName || strings.ContainsAny(said, "\x00\n") {
		return nil, fail(400, "bad_request", "A user is a name, a number, or either with :GROUP; at most %d bytes.", maxUserName)
	}
	wanted, wantedGroup, grouped := strings.Cut(said, ":")
	found := &user{home: "/"}
	number, numeric := idOf(wanted)
	known := false
	for _, each := range accounts(passwd) {
		uid, sound := each.number(2)
		gid, also := each.number(3)
		if !sound || !also || len(each) < 6 {
			continue
		}
		if string(each[0]) == wanted || numeric && uid == number && !known {
			found.name, found.uid, found.gid = string(each[0]), uid, gid
			if home := string(each[5]); strings.HasPrefix(home, "/") {
				found.home = home
			}
			known = true
			if found.name == wanted {
				break // a name goes before a number
			}
		}
	}
	if !known {
		if !numeric {
			return nil, fail(422, "no_such_user", "This machine has no user %q; its /etc/passwd has %s. A number needs no account.", shownName(wanted), somePeople(passwd))
		}
		found.uid, found.gid = number, 0
	}
	if grouped {
		return found, found.takeGroup(wantedGroup, group)
	}
	for _, each := range accounts(group) {
		gid, sound := each.number(2)
		if !sound || len(each) < 4 || found.name == "" || gid == found.gid {
			continue
		}
		for _, member := range bytes.Split(each[3], []byte(",")) {
			if string(member) == found.name {
				found.groups = append(found.groups, gid)
				break
			}
		}
		if len(found.groups) > maxGroups {
			return nil, fail(422, "bad_accounts", "The user %q has more than %d groups.", shownName(wanted), maxGroups)
		}
	}
	return found, nil
}

func (u *user) takeGroup(wanted string, group []byte) error {
	for _, each := range accounts(group) {
		if gid, sound := each.number(2); sound && string(each[0]) == wanted {
			u.gid = gid
			return nil
		}
	}
	gid, numeric := idOf(wanted)
	if !numeric {
		return fail(422, "no_such_group", "This machine has no group %q in /etc/group. A number needs no entry.", shownName(wanted))
	}
	u.gid = gid
	return nil
}

func accounts(text []byte) []account {
	var found []account
	for _, line := range bytes.Split(text, []byte("\n")) {
		if fields := bytes.Split(bytes.TrimSuffix(line, []byte("\r")), []byte(":")); len(fields) > 2 && len(fields[0]) > 0 {
			found = append(found, fields)
		}
	}
	return found
}

// somePeople names root and those that persons log in as.
func somePeople(passwd []byte) string {
	var names []string
	for _, each := range accounts(passwd) {
		uid, sound := each.number(2)
		if sound && (uid == 0 || uid >= 1000 && uid < 60000) && len(names) < 8 {
			names = append(names, shownName(string(each[0])))
		}
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

func shownName(name string) string {
	if len(name) > 64 {
		name = name[:64] + "…"
	}
	return strings.ToValidUTF8(name, "?")
}

// accountFile reads one of the machine's lists of accounts. Whoever is inside may have put anything in its place: a
// FIFO or a device is not waited for.
func accountFile(place string) ([]byte, error) {
	file, err := os.OpenFile(place, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		if os.IsNotExist(err) {
			return nil, nil
		}
		return nil, fail(422, "bad_accounts", "%s cannot be read: %s.", place, err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil, fail(422, "bad_accounts", "%s is not a file.", place)
	}
	text, err := io.ReadAll(io.LimitReader(file, maxAccounts+1))
	if err != nil || len(text) > maxAccounts {
		return nil, fail(422, "bad_accounts", "%s has more than %d bytes, or cannot be read.", place, maxAccounts)
	}
	return text, nil
}

// lookUp finds who is meant in this machine; nil is to stay who the agent is.
func lookUp(said string) (*user, error) {
	if said == "" {
		return nil, nil
	}
	passwd, err := accountFile("/etc/passwd")
	if err != nil {
		return nil, err
	}
	group, err := accountFile("/etc/group")
	if err != nil {
		return nil, err
	}
	found, err := userOf(said, passwd, group)
	if err == nil && found.uid != 0 {
		openSessions()
	}
	return found, err
}

// openSessions lets every user keep the state of shell sessions; what stands there that root did not make is left alone.
func openSessions() {
	if os.Mkdir(sessionsPlace, 0o700) != nil {
		info, err := os.Lstat(sessionsPlace)
		if err != nil || !info.IsDir() || info.Mode()&fs.ModeSticky != 0 {
			return
		}
		if stat, ok := info.Sys().(*syscall.Stat_t); !ok || stat.Uid != 0 {
			return
		}
	}
	os.Chmod(sessionsPlace, 0o777|fs.ModeSticky)
}

// variables are those that tell a program who it is, unless the image or the call says otherwise.
func (u *user) variables(given, asked, merged map[string]string) {
	name := u.name
	if name == "" {
		name = strconv.Itoa(int(u.uid))
	}
	for key, value := range map[string]string{"HOME": u.home, "USER": name, "LOGNAME": name} {
		_, image := given[key]
		if _, call := asked[key]; !image && !call {
			merged[key] = value
		}
	}
}

func (u *user) in(gid uint32) bool {
	if u.gid == gid {
		return true
	}
	for _, each := range u.groups {
		if each == gid {
			return true
		}
	}
	return false
}

// mayExecute says whether the bits let this user run a file.
func (u *user) mayExecute(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !ok || u.uid == 0:
		return info.Mode()&0o111 != 0
	case stat.Uid == u.uid:
		return info.Mode()&0o100 != 0
	case u.in(stat.Gid):
		return info.Mode()&0o010 != 0
	}
	return info.Mode()&0o001 != 0
}

// mayReach says whether the bits let this user through the directories above a file.
func (u *user) mayReach(name string) bool {
	for up := path.Dir(name); u.uid != 0; up = path.Dir(up) {
		if info, err := os.Stat(up); err != nil || !u.mayExecute(info) {
			return false
		}
		if up == path.Dir(up) {
			break
		}
	}
	return true
}

// owns gives the child's ends of pipes and terminals to the user, who could otherwise not open /dev/stdout again.
func (u *user) owns(files []*os.File) {
	for _, file := range files {
		info, err := file.Stat()
		if err == nil && (info.Mode()&fs.ModeNamedPipe != 0 || strings.HasPrefix(file.Name(), "/dev/pts/")) {
			file.Chown(int(u.uid), -1)
		}
	}
}

// welcome lets a user whose workspace it is not make files at its top; what is in there keeps its owner and mode.
func (u *user) welcome(workspace string) {
	info, err := os.Stat(workspace)
	if err != nil || u.uid == 0 {
		return
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || stat.Uid == u.uid || info.Mode()&0o002 != 0 || u.in(stat.Gid) && info.Mode()&0o020 != 0 {
		return
	}
	os.Chmod(workspace, info.Mode().Perm()|0o777|info.Mode()&fs.ModeSticky)
}

// words are how it is told to the program that becomes another one in a terminal; see `becomeInTerminal`.
func (u *user) words() string {
	if u == nil {
		return "-"
	}
	said := []string{strconv.Itoa(int(u.uid)), strconv.Itoa(int(u.gid))}
	for _, each := range u.groups {
		said = append(said, strconv.Itoa(int(each)))
	}
	return strings.Join(said, ",")
}

// takeUser becomes who `words` say, in this thread alone: an exec follows.
func takeUser(words string) error {
	if words == "-" {
		return nil
	}
	var numbers []uint32
	for _, each := range strings.Split(words, ",") {
		number, sound := idOf(each)
		if !sound {
			return syscall.EINVAL
		}
		numbers = append(numbers, number)
	}
	if len(numbers) < 2 {
		return syscall.EINVAL
	}
	groups := append(numbers[2:], 0) // never empty, so that it has an address
	if errno := rawUserAt(numbers[0], numbers[1], uintptr(unsafe.Pointer(&groups[0])), uint32(len(groups)-1)); errno != 0 {
		return errno
	}
	return nil
}

// rawUserAt changes who the calling thread is; after a fork, and before an exec.
//
//go:nosplit
//go:norace
func rawUserAt(uid, gid uint32, groups uintptr, count uint32) syscall.Errno {
	if _, _, errno := syscall.RawSyscall(syscall.SYS_SETGROUPS, uintptr(count), groups, 0); errno != 0 {
		return errno
	}
	if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESGID, uintptr(gid), uintptr(gid), uintptr(gid)); errno != 0 {
		return errno
	}
	_, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid))
	return errno
}
