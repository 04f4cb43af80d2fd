package main

import (
	"archive/tar"
	"bytes"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// notOfTheRoot are the places that are no part of an environment: file systems of the kernel, the workspace, pyro's own.
var notOfTheRoot = map[string]bool{
	"/proc": true, "/sys": true, "/dev": true, "/tmp": true, "/run": true, "/workspace": true, "/pyro": true,
}

// asBefore is the owner's name of a member that only says that this name is still there, as the environment has it.
const asBefore = "="

// begun is when this agent was started, in the machine that became the template: what is older is the environment's.
var begun = time.Now()

// rootOut sends what the machine's root has become: every name there is, and the contents of those that changed since
// the machine was booted. A name of the environment that is not sent is gone.
func (a *agent) rootOut(w http.ResponseWriter, r *http.Request) error {
	if !a.init {
		return fail(409, "no_machine", "This agent is no machine's.")
	}
	w.Header().Set("Content-Type", "application/x-tar")
	out := &rootWriter{tar.NewWriter(w), map[[2]uint64]string{}, "", a.upperDevice(), nil}
	if filepath.WalkDir("/", out.entry) != nil || out.Close() != nil {
		panic(http.ErrAbortHandler) // an answer that breaks off cannot be taken for a whole one
	}
	return nil
}

// upperDevice is the device of the files of the root that were written in this machine, in gVisor. There, time does not
// tell: each build that shares a file of the environment on the host's disk is a change of that file to the host.
func (a *agent) upperDevice() uint64 {
	var stat syscall.Stat_t
	if a.seedDevice != "" || syscall.Stat("/etc/hostname", &stat) != nil { // this machine's own, by its set-up
		return 0
	}
	return stat.Dev
}

type rootWriter struct {
	*tar.Writer
	linked map[[2]uint64]string // the first name of each file that has several
	prefix string               // of all names in the archive
	upper  uint64               // the device of what was written since; 0 is to go by the time of the last change
	same   *bytes.Buffer        // where the names of what is as before are gathered; nil is to send each as a member
}

func (out *rootWriter) entry(name string, entry fs.DirEntry, err error) error {
	switch {
	case gone(err) || name == "/":
		return nil
	case err != nil:
		return err
	case notOfTheRoot[name]:
		return fs.SkipDir
	}
	info, err := entry.Info()
	if gone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || kindOf(info.Mode()) == "other" {
		return nil
	}
	changed := !time.Unix(stat.Ctim.Unix()).Before(begun)
	if out.upper != 0 && !info.IsDir() {
		changed = stat.Dev == out.upper
	}
	if !changed {
		if out.same != nil {
			out.same.WriteString(out.prefix + name[1:] + "\x00")
			return nil
		}
		return out.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: out.prefix + name[1:], Uname: asBefore, Format: tar.FormatPAX})
	}
	link := ""
	if info.Mode()&fs.ModeSymlink != 0 {
		if link, err = os.Readlink(name); err != nil {
			return nil
		}
	}
	var file *os.File
	if info.Mode().IsRegular() {
		// What is put in its place meanwhile must not be followed, nor waited for.
		descriptor, err := syscall.Open(name, syscall.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
		if err != nil {
			return nil
		}
		file = os.NewFile(uintptr(descriptor), name)
		defer file.Close()
		if info, err = file.Stat(); err != nil || !info.Mode().IsRegular() {
			return nil
		}
		if stat.Nlink > 1 {
			inode := [2]uint64{stat.Dev, stat.Ino}
			if first, known := out.linked[inode]; known {
				return out.WriteHeader(&tar.Header{Typeflag: tar.TypeLink, Name: out.prefix + name[1:], Linkname: first, Format: tar.FormatPAX})
			}
			out.linked[inode] = out.prefix + name[1:]
		}
	}
	header, err := tar.FileInfoHeader(info, link)
	if err != nil {
		return nil
	}
	header.Format, header.Uname, header.Gname = tar.FormatPAX, "", ""
	header.AccessTime, header.ChangeTime = time.Time{}, time.Time{}
	if info.Mode()&fs.ModeSymlink == 0 {
		header.PAXRecords = attributesOf(name)
	}
	header.Name = out.prefix + name[1:]
	if info.IsDir() {
		header.Name += "/"
	}
	if err := out.WriteHeader(header); err != nil || file == nil {
		return err
	}
	n, err := io.Copy(out.Writer, io.LimitReader(&quiet{reader: file}, header.Size))
	if err == nil && n < header.Size { // it became shorter
		_, err = io.Copy(out.Writer, io.LimitReader(zeros{}, header.Size-n))
	}
	return err
}
