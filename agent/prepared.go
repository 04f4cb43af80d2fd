package main

import (
	"archive/tar"
	"bytes"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"syscall"
)

// What a project's set-up made is kept, and given to the next workspaces of the project: the root as another environment,
// in which what it made of /workspace lies at preparedTree, to be a lower layer beneath their seeds.
const (
	preparedTree = "/pyro/prepared/tree"
	mergedLower  = "/pyro/lower"
	// The owner's name of a member that is only a name: the seed has it, and the set-up deleted or changed it.
	deletedMark, changedMark = "-", "~"
	// And of one that holds the names of all that is as before, each with a NUL behind it.
	allBefore   = "=="
	xattrRecord = "SCHILY.xattr."
	maxXattrs   = 64 << 10
	maxGone     = 1000
)

// preparedOut sends what a set-up has made, as one archive: the root's members (rootfs.go) below root/, and below
// workspace/ what the seed does not have. All that runs stands still meanwhile, so it is the state of one moment.
func (a *agent) preparedOut(w http.ResponseWriter, r *http.Request) error {
	if !a.init || a.lower.Load() == nil {
		return fail(409, "no_machine", "This agent is no machine's, or has no workspace yet.")
	}
	workspace, err := a.root()
	if err != nil {
		return err
	}
	defer workspace.Close()
	seed, err := os.OpenRoot(a.seed)
	if err != nil {
		return err
	}
	defer seed.Close()
	defer a.processes.crowd.still()()
	w.Header().Set("Content-Type", "application/x-tar")
	archive := tar.NewWriter(w)
	root := &rootWriter{archive, map[[2]uint64]string{}, "root/", a.upperDevice(), &bytes.Buffer{}}
	if filepath.WalkDir("/", root.entry) != nil || root.sameOut() != nil {
		panic(http.ErrAbortHandler)
	}
	if a.madeOut(archive, workspace, seed) != nil || archive.Close() != nil {
		panic(http.ErrAbortHandler)
	}
	return nil
}

// sameOut sends the names of what is as before, as one member.
func (out *rootWriter) sameOut() error {
	err := out.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "same", Uname: allBefore, Size: int64(out.same.Len()), Format: tar.FormatPAX})
	if err == nil {
		_, err = out.Write(out.same.Bytes())
	}
	return err
}

// madeOut sends what the workspace has and the seed has not.
func (a *agent) madeOut(archive *tar.Writer, workspace, seed *os.Root) error {
	made := &madeWriter{
		&treeWriter{Writer: archive, root: workspace, base: ".", kept: &keptTree{"workspace/", a.workspace, map[[2]uint64]string{}}},
		seed, filepath.Join(a.upper, "u"),
	}
	return made.withReason(made.directory("."))
}

// still stops all that runs in the machine but the agent; what it gives has them go on.
func (c *crowd) still() func() {
	c.lock.Lock()
	if c.door == nil || os.Getpid() != 1 {
		c.lock.Unlock()
		return func() {}
	}
	c.stop()
	return func() {
		syscall.Kill(-1, syscall.SIGCONT)
		c.lock.Unlock()
	}
}

// madeWriter walks the workspace and its seed side by side.
type madeWriter struct {
	*treeWriter
	seed  *os.Root
	upper string // what the workspace has of its own: what is not there is the seed's, unread
}

func (m *madeWriter) directory(name string) error {
	names, err := readNames(m.root, name)
	if err != nil {
		return &notWhole{unreadableRecord, name}
	}
	before, err := readNames(m.seed, name)
	if err != nil {
		return &notWhole{unreadableRecord, name}
	}
	there := map[string]bool{}
	for _, base := range names {
		there[base] = true
	}
	seeded := map[string]bool{}
	for _, base := range before {
		seeded[base] = true
		if !there[base] && base != ".git" {
			if err := m.only(path.Join(name, base), deletedMark); err != nil {
				return err
			}
		}
	}
	for _, base := range names {
		child := path.Join(name, base)
		switch {
		case base == ".git" && (name == "." || seeded[base]): // the project's own history is the seed's alone
		case seeded[base]:
			err = m.both(child)
		default:
			var there bool
			if there, err = m.add(child); err == nil && !there {
				err = &notWhole{changingRecord, child}
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// both is of a name that the seed has, too: the seed's counts, and a directory is looked into.
func (m *madeWriter) both(name string) error {
	now, before := sideOf(m.root, name), sideOf(m.seed, name)
	if now != nil && before != nil && now.Kind == "dir" && before.Kind == "dir" {
		return m.directory(name)
	}
	if _, err := os.Lstat(path.Join(m.upper, name)); err != nil && now != nil && before != nil && now.Kind == before.Kind {
		return nil
	}
	d := &differ{upper: m.root, lower: m.seed}
	if now == nil || d.same(name, before, now) {
		return nil
	}
	return m.only(name, changedMark)
}

// only sends a name and what is to be said of it.
func (m *madeWriter) only(name, mark string) error {
	return m.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: m.member(name), Uname: mark, Format: tar.FormatPAX})
}

// keptTree is of an archive that keeps owners, extended attributes and hard links.
type keptTree struct {
	prefix, place string
	linked        map[[2]uint64]string // the first name of each file that has several
}

// link gives the first name of a file that was sent under another one; empty is none.
func (k *keptTree) link(name string, info fs.FileInfo) string {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || stat.Nlink < 2 || !info.Mode().IsRegular() {
		return ""
	}
	return k.linked[[2]uint64{stat.Dev, stat.Ino}]
}

func (k *keptTree) sent(name string, info fs.FileInfo) {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && stat.Nlink > 1 && info.Mode().IsRegular() {
		k.linked[[2]uint64{stat.Dev, stat.Ino}] = name
	}
}

// attributes are those of a file or directory that a program can need.
func (k *keptTree) attributes(name string, info fs.FileInfo) map[string]string {
	if info.Mode()&fs.ModeSymlink != 0 {
		return nil
	}
	return attributesOf(path.Join(k.place, name))
}

func attributesOf(place string) map[string]string {
	var list [maxXattrs]byte
	n, err := syscall.Listxattr(place, list[:])
	if err != nil || n == 0 {
		return nil
	}
	found := map[string]string{}
	for _, name := range bytes.Split(list[:n], []byte{0}) {
		if string(name) != "security.capability" && !bytes.HasPrefix(name, []byte("user.")) || bytes.HasPrefix(name, []byte("user.overlay.")) {
			continue
		}
		value := make([]byte, maxXattrs)
		if n, err := syscall.Getxattr(place, string(name), value); err == nil {
			found[xattrRecord+string(name)] = string(value[:n])
		}
	}
	return found
}

// hide makes a layer in which the names are deleted, to lie above the seed; its directories look as the seed's do.
func (a *agent) hide(gone []wireName) (string, error) {
	if len(gone) > maxGone {
		return "", fail(400, "bad_request", "At most %d names are hidden.", maxGone)
	}
	layer := filepath.Join(a.upper, "g")
	if err := os.MkdirAll(layer, 0o755); err != nil {
		return "", fail(500, "setup_failed", "%s could not be made: %s.", layer, err)
	}
	var made []string
	for _, each := range gone {
		name, err := cleanPath(string(each))
		if err != nil {
			return "", err
		}
		if name == "." {
			continue
		}
		for at, letter := range name {
			if letter == '/' && os.Mkdir(filepath.Join(layer, name[:at]), 0o755) == nil {
				made = append(made, name[:at])
			}
		}
		if err := syscall.Mknod(filepath.Join(layer, name), syscall.S_IFCHR, 0); err != nil {
			return "", fail(500, "setup_failed", "%s could not be hidden: %s.", shown(name), err)
		}
	}
	for i := len(made) - 1; i >= 0; i-- { // the deepest first: to fill one changes its time
		place := filepath.Join(layer, made[i])
		if info, err := os.Lstat(filepath.Join(a.seed, made[i])); err == nil && info.IsDir() {
			if stat, ok := info.Sys().(*syscall.Stat_t); ok {
				os.Lchown(place, int(stat.Uid), int(stat.Gid))
			}
			syscall.Chmod(place, uint32(permissions(info.Mode())))
			os.Chtimes(place, info.ModTime(), info.ModTime())
		}
	}
	return layer, nil
}
