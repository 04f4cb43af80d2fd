package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

const (
	minEntropy     = 32
	maxEntropy     = 512
	maxEnvironment = 256
)

var (
	hostnamePattern  = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,62})$`)
	machineIDPattern = regexp.MustCompile(`^[0-9a-f]{32}$`)
)

// identity is what tells a machine from its siblings.
type identity struct {
	Hostname   string            `json:"hostname"`
	MachineID  string            `json:"machine_id"`
	Entropy    []byte            `json:"entropy"`
	TimeUnixNS int64             `json:"time_unix_ns"`
	Env        map[string]string `json:"env"`
	Files      map[string]string `json:"files"`
}

type setupRequest struct {
	identity
	Lower *string `json:"lower"`
	// What a set-up made lies beneath the seed, and these of the seed's names are hidden (prepared.go).
	Prepared bool       `json:"prepared"`
	Gone     []wireName `json:"gone"`
	// What the machine may use, where the kernel would show another's; 0 is not to say it.
	MemMiB int64 `json:"mem_mib"`
	VCPUs  int64 `json:"vcpu_count"`
	// What its files may take; the host holds it.
	DiskGiB int64 `json:"disk_gib"`
}

func (request *identity) check() error {
	switch {
	case !hostnamePattern.MatchString(request.Hostname):
		return fail(400, "bad_request", "%q is not a host name.", request.Hostname)
	case !machineIDPattern.MatchString(request.MachineID):
		return fail(400, "bad_request", "A machine id has 32 hexadecimal digits.")
	case len(request.Entropy) < minEntropy || len(request.Entropy) > maxEntropy:
		return fail(400, "bad_request", "Entropy has %d to %d bytes.", minEntropy, maxEntropy)
	case len(request.Env) > maxEnvironment:
		return fail(400, "bad_request", "At most %d variables.", maxEnvironment)
	}
	return nil
}

// setup gives a restored machine its own identity and its workspace. It works once.
func (a *agent) setup(w http.ResponseWriter, r *http.Request) error {
	var request setupRequest
	if err := decode(r.Body, &request); err != nil {
		return err
	}
	if err := request.check(); err != nil {
		return err
	}
	if request.Lower != nil && *request.Lower != a.seed {
		return fail(400, "bad_request", "The seed is at %s.", a.seed)
	}
	if request.DiskGiB < 0 || request.DiskGiB > maxMemMiB || request.MemMiB < 0 || request.MemMiB > maxMemMiB || request.VCPUs < 0 || request.VCPUs > maxShares {
		return fail(400, "bad_request", "No machine has %d MiB, %d CPUs and %d GiB.", request.MemMiB, request.VCPUs, request.DiskGiB)
	}
	a.setupLock.Lock()
	defer a.setupLock.Unlock()
	if a.configured.Load() {
		return fail(409, "already_configured", "This machine has its identity already.")
	}
	diskLimit.Store(request.DiskGiB << 30)
	if a.init {
		if err := takeIdentity(&request.identity); err != nil {
			return err
		}
		if a.seedDevice == "" && request.MemMiB > 0 { // a virtual machine's kernel knows its memory
			if err := a.resources.limit(request.MemMiB, max(1, request.VCPUs)); err != nil {
				return err
			}
		}
		if err := a.mountWorkspace(request.Lower != nil, request.Prepared, request.Gone); err != nil {
			return err
		}
		memory := request.MemMiB << 20
		if a.seedDevice != "" {
			memory = 0
		}
		if err := a.processes.closeIn(true, memory); err != nil {
			return err
		}
	}
	a.takeEnvironment(&request.identity)
	a.configured.Store(true)
	writeJSON(w, 200, map[string]bool{"overlay": a.init})
	return nil
}

// identify gives a machine that was restored from a snapshot of a configured one an identity of its own. Its
// processes run on; those that start from now on get the new environment.
func (a *agent) identify(w http.ResponseWriter, r *http.Request) error {
	var request identity
	if err := decode(r.Body, &request); err != nil {
		return err
	}
	if err := request.check(); err != nil {
		return err
	}
	a.setupLock.Lock()
	defer a.setupLock.Unlock()
	if !a.configured.Load() {
		return fail(409, "not_configured", "This machine has no identity yet; it is set up first.")
	}
	if a.init {
		if err := takeIdentity(&request); err != nil {
			return err
		}
	}
	a.takeEnvironment(&request)
	writeJSON(w, 200, map[string]bool{"identified": true})
	return nil
}

func (a *agent) takeEnvironment(request *identity) {
	merged := map[string]string{}
	for key, value := range defaultEnvironment {
		merged[key] = value
	}
	for key, value := range request.Env {
		merged[key] = value
	}
	merged["HOSTNAME"] = request.Hostname
	a.processes.lock.Lock()
	a.processes.env, a.processes.given = merged, request.Env
	a.processes.lock.Unlock()
}

func takeIdentity(request *identity) error {
	if err := syscall.Sethostname([]byte(request.Hostname)); err != nil {
		return fail(500, "setup_failed", "The host name could not be set: %s.", err)
	}
	files := map[string]string{
		"/etc/hostname":   request.Hostname + "\n",
		"/etc/machine-id": request.MachineID + "\n",
		"/etc/hosts":      "127.0.0.1 localhost " + request.Hostname + "\n::1 localhost ip6-localhost ip6-loopback\n",
	}
	for name, content := range request.Files {
		if clean := filepath.Clean(name); clean != name || !strings.HasPrefix(name, "/etc/") && !strings.HasPrefix(name, "/root/") {
			return fail(400, "bad_request", "%q is not below /etc or /root.", name)
		}
		files[name] = content
	}
	for name, content := range files {
		os.MkdirAll(filepath.Dir(name), 0o755)
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			return fail(500, "setup_failed", "%s could not be written: %s.", name, err)
		}
	}
	// Restored siblings share their kernel's random state until something of their own is mixed in.
	if device, err := os.OpenFile("/dev/urandom", os.O_WRONLY, 0); err == nil {
		device.Write(request.Entropy)
		// What is written is only stirred in; without this the next bytes would still be those of every sibling.
		ioctl(device.Fd(), rndReseedCRNG, nil)
		device.Close()
	}
	if request.TimeUnixNS > 0 {
		moment := syscall.NsecToTimeval(request.TimeUnixNS)
		syscall.Settimeofday(&moment) // gVisor has the host's clock and refuses
	}
	return nil
}

// rehearse does once, before the template's snapshot, what every copy of it does again: by then the files are copied up,
// and the directories exist.
func (a *agent) rehearse() {
	takeIdentity(&identity{Hostname: "pyro", MachineID: strings.Repeat("0", 32)})
	a.makeDirectories()
	if a.seedDevice == "" {
		a.resources.prepare() // what fails is tried again for the machine itself, and said
	}
}

// raiseLoopback brings `lo` up, which a kernel of one's own leaves down; gVisor has it up already.
func raiseLoopback() {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer syscall.Close(fd)
	var request struct { // struct ifreq of include/uapi/linux/if.h
		name  [16]byte
		flags int16
		_     [22]byte
	}
	copy(request.name[:], "lo")
	if ioctl(uintptr(fd), syscall.SIOCGIFFLAGS, unsafe.Pointer(&request)) != nil || request.flags&syscall.IFF_UP != 0 {
		return
	}
	request.flags |= syscall.IFF_UP
	ioctl(uintptr(fd), syscall.SIOCSIFFLAGS, unsafe.Pointer(&request))
}

// mountWorkspace puts the overlay on the workspace: the seed below, what changes on a file system of its own.
func (a *agent) mountWorkspace(seeded, prepared bool, gone []wireName) error {
	lower := "/pyro/empty"
	if seeded {
		lower = a.seed
		if err := a.mountSeed(); err != nil {
			return err
		}
	}
	upper, work, err := a.makeDirectories()
	if err != nil {
		return err
	}
	// An overlay's root takes its owner, mode and time from the upper directory.
	if info, err := os.Stat(lower); err == nil {
		if stat, ok := info.Sys().(*syscall.Stat_t); ok {
			os.Chown(upper, int(stat.Uid), int(stat.Gid))
		}
		os.Chmod(upper, info.Mode().Perm())
		os.Chtimes(upper, time.Time{}, info.ModTime())
	} else {
		return fail(500, "setup_failed", "The seed is not there: %s.", err)
	}
	layers := lower
	if prepared {
		layers += ":" + preparedTree
		// What the upper layer is compared with, as one tree.
		if err := os.MkdirAll(mergedLower, 0o755); err != nil {
			return fail(500, "setup_failed", "%s could not be made: %s.", mergedLower, err)
		}
		if err := syscall.Mount("overlay", mergedLower, "overlay", syscall.MS_RDONLY, "lowerdir="+layers); err != nil {
			return fail(500, "setup_failed", "The lower layers could not be put together: %s.", err)
		}
		lower = mergedLower
	}
	if len(gone) > 0 {
		hidden, err := a.hide(gone)
		if err != nil {
			return err
		}
		layers = hidden + ":" + layers
	}
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", layers, upper, work)
	if err := syscall.Mount("overlay", a.workspace, "overlay", 0, options); err != nil {
		return fail(500, "setup_failed", "The overlay could not be mounted: %s.", err)
	}
	a.lower.Store(&lower)
	return nil
}

// makeDirectories makes what the workspace's overlay stands on; gives its upper and its work directory.
func (a *agent) makeDirectories() (upper, work string, err error) {
	upper, work = filepath.Join(a.upper, "u"), filepath.Join(a.upper, "w")
	for _, directory := range []string{"/pyro/empty", upper, work, a.workspace} {
		if err := os.MkdirAll(directory, 0o755); err != nil {
			return "", "", fail(500, "setup_failed", "%s could not be made: %s.", directory, err)
		}
	}
	return upper, work, nil
}
