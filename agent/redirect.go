package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"
	"unsafe"
)

// Programs that read no proxy variable find their way out as well: every name resolves to an address of its own in
// `fakeNet`, connections that leave are led to `redirectPort`, and go on from there by the name, as if their program
// had asked the proxy for it. So the daemon decides about them in the one place.
const (
	redirectPort  = 3129
	ownAddress    = "127.64.0.1" // of `fakeNet`, and not 127.0.0.1: resolvers that look whether there is any IPv4 see it
	soOriginalDst = 80           // SO_ORIGINAL_DST of include/uapi/linux/netfilter_ipv4.h
	iptSetReplace = 64           // IPT_SO_SET_REPLACE of include/uapi/linux/netfilter_ipv4/ip_tables.h
	maxAnswerHead = 16 << 10
	tellPatience  = time.Second
)

// lead takes what leaves by TCP, where the kernel can do so; it is nil where it does. After a restore the kernel's part
// is gone and is made again; what the agent keeps is still there.
func (q *egressQueue) lead() error {
	if err := addAddress(net.ParseIP(ownAddress).To4(), 15); err != nil {
		return fmt.Errorf("the address %s: %w", ownAddress, err)
	}
	if err := setNAT(); err != nil {
		return fmt.Errorf("the table: %w", err)
	}
	if q.led {
		return nil
	}
	listener, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(redirectPort)))
	if err != nil {
		return err
	}
	if err := q.serveNames(); err != nil {
		listener.Close()
		return err
	}
	go q.takeLed(listener, q.names)
	q.led = true
	return nil
}

func (q *egressQueue) takeLed(listener net.Listener, names *fakeNames) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		host, port, err := originalDestination(conn.(*net.TCPConn))
		if err != nil || !inFakeNet(host) { // it came by itself, not led
			reset(conn)
			continue
		}
		name := names.name(host)
		if name == "" { // a name of long ago, or an address that a guest made its own
			reset(conn)
			continue
		}
		q.put(&ledConn{Conn: conn, ask: askFor("CONNECT", net.JoinHostPort(name, strconv.Itoa(port)), "Pyro-Led: 1\r\n")})
	}
}

// askFor is a request to the proxy. `Pyro-Led` tells it of a program that knows no proxy, nor the variables that name
// the machine's own authority: its TLS is let be.
func askFor(method, target, headers string) []byte {
	return []byte(method + " " + target + " HTTP/1.1\r\nHost: " + target + "\r\n" + headers + "\r\n")
}

// tell has the host know of a name that leads nowhere, before the program that asked does: so it stands in the answer
// of the command. Where nobody listens, the program does not wait long.
func (q *egressQueue) tell(name string) {
	patience := tellPatience
	if q.asking.Load() == 0 {
		patience = tellPatience / 10 // a request may be on its way
	}
	mine, theirs := net.Pipe()
	defer mine.Close()
	mine.SetDeadline(time.Now().Add(patience))
	q.put(theirs)
	if _, err := mine.Write(askFor("RESOLVE", name, "")); err == nil {
		mine.Read(make([]byte, 1)) // the answer's first byte: it has been heard
	}
}

// ledConn asks the proxy in its program's place, and keeps the answer for itself.
type ledConn struct {
	net.Conn // not the TCP one: its ReadFrom would go past `Write`
	ask      []byte
	answer   []byte
	open     bool
}

func (c *ledConn) Read(into []byte) (int, error) {
	if len(c.ask) > 0 {
		n := copy(into, c.ask)
		c.ask = c.ask[n:]
		return n, nil
	}
	return c.Conn.Read(into)
}

func (c *ledConn) Write(data []byte) (int, error) {
	if c.open {
		return c.Conn.Write(data)
	}
	c.answer = append(c.answer, data...)
	end := bytes.Index(c.answer, []byte("\r\n\r\n"))
	if end < 0 && len(c.answer) < maxAnswerHead {
		return len(data), nil
	}
	if !bytes.HasPrefix(c.answer, []byte("HTTP/1.1 200")) || end < 0 {
		reset(c.Conn)
		return 0, syscall.ECONNREFUSED
	}
	c.open = true
	rest := c.answer[end+4:]
	c.answer = nil
	if len(rest) > 0 {
		if _, err := c.Conn.Write(rest); err != nil {
			return 0, err
		}
	}
	return len(data), nil
}

func (c *ledConn) Close() error {
	if !c.open {
		reset(c.Conn)
		return nil
	}
	return c.Conn.Close()
}

func (c *ledConn) CloseWrite() error {
	if !c.open {
		return nil // nothing was promised to the program yet; `Close` says how it went
	}
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// reset ends a connection in a way that its program takes for what it is: a refusal, not an empty answer.
func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	conn.Close()
}

func originalDestination(conn *net.TCPConn) (net.IP, int, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, 0, err
	}
	var address syscall.RawSockaddrInet4
	size := uint32(unsafe.Sizeof(address))
	var errno syscall.Errno
	err = raw.Control(func(fd uintptr) {
		_, _, errno = syscall.Syscall6(syscall.SYS_GETSOCKOPT, fd, syscall.SOL_IP, soOriginalDst, uintptr(unsafe.Pointer(&address)), uintptr(unsafe.Pointer(&size)), 0)
	})
	if err == nil && errno != 0 {
		err = errno
	}
	port := (*[2]byte)(unsafe.Pointer(&address.Port))
	return net.IP(address.Addr[:]), int(binary.BigEndian.Uint16(port[:])), err
}

// addAddress gives `lo` an address, by netlink (rtnetlink(7)); one that it has already is well.
func addAddress(ip net.IP, prefix byte) error {
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		return err
	}
	fd, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, syscall.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	var b bytes.Buffer
	put := func(value any) { binary.Write(&b, binary.NativeEndian, value) }
	put(uint32(16 + 8 + 16))
	put([]uint16{syscall.RTM_NEWADDR, syscall.NLM_F_REQUEST | syscall.NLM_F_ACK | syscall.NLM_F_CREATE | syscall.NLM_F_EXCL})
	put([]uint32{1, 0})
	put([]byte{syscall.AF_INET, prefix, 0, 0})
	put(uint32(lo.Index))
	for _, kind := range []uint16{syscall.IFA_LOCAL, syscall.IFA_ADDRESS} {
		put([]uint16{8, kind})
		b.Write(ip)
	}
	if err := syscall.Sendto(fd, b.Bytes(), 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}); err != nil {
		return err
	}
	answer := make([]byte, 4096)
	n, _, err := syscall.Recvfrom(fd, answer, 0)
	if err != nil || n < 20 {
		return fmt.Errorf("no answer: %w", err)
	}
	if number := int32(binary.NativeEndian.Uint32(answer[16:])); number != 0 && syscall.Errno(-number) != syscall.EEXIST {
		return syscall.Errno(-number)
	}
	return nil
}

// setNAT puts a whole nat table in place (struct ipt_replace of include/uapi/linux/netfilter_ipv4/ip_tables.h):
// TCP to the addresses of names is led to `redirectPort`, all else is let be.
func setNAT() error {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, syscall.IPPROTO_RAW)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	var rules bytes.Buffer
	standard := func(verdict int32) []byte { // struct xt_standard_target
		target := make([]byte, 40)
		binary.NativeEndian.PutUint16(target, 40)
		binary.NativeEndian.PutUint32(target[32:], uint32(verdict))
		return target
	}
	const accept = -2 // -NF_ACCEPT - 1
	entry := func(ip net.IP, mask net.IPMask, protocol uint16, target []byte) uint32 {
		at := rules.Len()
		e := make([]byte, 112) // struct ipt_entry
		if ip != nil {
			copy(e[4:], ip.To4())
			copy(e[12:], mask)
		}
		binary.NativeEndian.PutUint16(e[80:], protocol)
		binary.NativeEndian.PutUint16(e[88:], 112)
		binary.NativeEndian.PutUint16(e[90:], uint16(112+len(target)))
		rules.Write(e)
		rules.Write(target)
		return uint32(at)
	}
	redirect := make([]byte, 56) // struct xt_entry_target, nf_nat_ipv4_multi_range_compat
	binary.NativeEndian.PutUint16(redirect, 56)
	copy(redirect[2:], "REDIRECT")
	binary.NativeEndian.PutUint32(redirect[32:], 1)
	binary.NativeEndian.PutUint32(redirect[36:], 2) // NF_NAT_RANGE_PROTO_SPECIFIED
	binary.BigEndian.PutUint16(redirect[48:], redirectPort)
	binary.BigEndian.PutUint16(redirect[50:], redirectPort)
	errorTarget := make([]byte, 64)
	binary.NativeEndian.PutUint16(errorTarget, 64)
	copy(errorTarget[2:], "ERROR")
	copy(errorTarget[32:], "ERROR")

	count := uint32(0)
	add := func(ip net.IP, mask net.IPMask, protocol uint16, target []byte) uint32 {
		count++
		return entry(ip, mask, protocol, target)
	}
	prerouting := add(nil, nil, 0, standard(accept))
	input := add(nil, nil, 0, standard(accept))
	output := add(net.ParseIP(ownAddress), net.CIDRMask(32, 32), 0, standard(accept))
	add(fakeNet.IP, fakeNet.Mask, syscall.IPPROTO_TCP, redirect)
	outputEnd := add(nil, nil, 0, standard(accept))
	postrouting := add(nil, nil, 0, standard(accept))
	add(nil, nil, 0, errorTarget)

	var b bytes.Buffer
	name := make([]byte, 32)
	copy(name, "nat")
	b.Write(name)
	put := func(values ...uint32) { binary.Write(&b, binary.NativeEndian, values) }
	put(1<<0|1<<1|1<<3|1<<4, count, uint32(rules.Len()))
	put(prerouting, input, 0xffffffff, output, postrouting)
	put(prerouting, input, 0xffffffff, outputEnd, postrouting)
	put(count)
	counters := make([]byte, 16*64)
	binary.Write(&b, binary.NativeEndian, uint64(uintptr(unsafe.Pointer(&counters[0]))))
	b.Write(rules.Bytes())
	data := b.Bytes()
	_, _, errno := syscall.Syscall6(syscall.SYS_SETSOCKOPT, uintptr(fd), syscall.SOL_IP, iptSetReplace, uintptr(unsafe.Pointer(&data[0])), uintptr(len(data)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// pointResolver has every program ask this machine's own server; a resolver without its order of sources gets one.
func pointResolver() error {
	const (
		resolv = "/etc/resolv.conf"
		text   = "# pyro: names are answered in this machine, connections decided outside it\nnameserver 127.0.0.1\noptions timeout:2 attempts:2\n"
	)
	if info, err := os.Lstat(resolv); err == nil && info.Mode().IsRegular() && readText(resolv) == text {
		return nil
	}
	os.Remove(resolv) // often a symbolic link to what does not run here
	if err := os.WriteFile(resolv, []byte(text), 0o644); err != nil {
		return err
	}
	if _, err := os.Stat("/etc/nsswitch.conf"); os.IsNotExist(err) {
		return os.WriteFile("/etc/nsswitch.conf", []byte("hosts: files dns\n"), 0o644)
	}
	return nil
}
