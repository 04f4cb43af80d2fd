package main

import (
	"os"
	"path"
	"syscall"
)

// makeDirectory makes one that belongs to whom the directory above it does.
func (j *journal) makeDirectory(name string) error {
	if err := j.root.Mkdir(name, 0o755); err != nil {
		return err
	}
	return j.chown(name, name)
}

// chown gives what was made to the owner of what stands at `name` already, else to that of the directory above it: so
// the tools' files belong to whom the project does, and one that is edited stays whose it is.
func (j *journal) chown(made, name string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	uid, gid := heir(j.root, name)
	if made != name {
		if info, err := j.root.Lstat(name); err == nil {
			if stat, ok := info.Sys().(*syscall.Stat_t); ok {
				uid, gid = int(stat.Uid), int(stat.Gid)
			}
		}
	}
	if uid <= 0 && gid <= 0 {
		return nil // the agent's own, as it was made
	}
	return j.root.Lchown(made, uid, gid)
}

// give makes a directory anew what it was.
func (j *journal) give(name string, was os.FileInfo) {
	if stat, ok := was.Sys().(*syscall.Stat_t); ok && os.Geteuid() == 0 {
		j.root.Lchown(name, int(stat.Uid), int(stat.Gid))
	}
	j.root.Chmod(name, was.Mode())
}

// heir is who owns what is made in a directory by the tools: its owner.
func heir(root *os.Root, name string) (uid, gid int) {
	for at := path.Dir(name); ; at = path.Dir(at) {
		if info, err := root.Lstat(at); err == nil {
			if stat, ok := info.Sys().(*syscall.Stat_t); ok {
				return int(stat.Uid), int(stat.Gid)
			}
		}
		if at == "." || at == "/" {
			return -1, -1
		}
	}
}
