package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
)

// framesAhead is how many frames of the host's are read at once.
const framesAhead = 4

// join connects a stream of frames with a connection in the guest, both ways. The end of a direction is a frame
// of its own, because vsock through Firecracker passes no half-close on; a failure ends both directions, and the host
// sees its connection end without that frame.
func join(host net.Conn, fromHost io.Reader, guest net.Conn) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		if unframe(guest, fromHost) != nil {
			host.Close()
			guest.Close()
			return
		}
		closeWrite(guest)
	}()
	if inFrames(host, guest) != nil {
		host.Close()
		guest.Close()
	}
	<-done
	host.Close()
	guest.Close()
}

// unframe copies the payloads of data frames until the frame that says the end.
func unframe(to io.Writer, from io.Reader) error {
	reader := bufio.NewReaderSize(from, framesAhead*(frameHeader+maxFramePayload))
	for {
		var head [frameHeader]byte
		if _, err := io.ReadFull(reader, head[:]); err != nil {
			return err
		}
		kind, length := head[0], binary.BigEndian.Uint32(head[1:5])
		switch {
		case kind == frameEnd:
			return nil
		case kind != frameData || length > maxFramePayload:
			return fmt.Errorf("a frame of type %d and %d bytes", kind, length)
		}
		// Straight from the reader's buffer, and whole: each write is a turn of the guest's kernel.
		payload, err := reader.Peek(int(length))
		if err != nil {
			return err
		}
		if _, err := to.Write(payload); err != nil {
			return err
		}
		reader.Discard(len(payload))
	}
}

// inFrames copies to the end of a connection, and says that end.
func inFrames(to io.Writer, from io.Reader) error {
	buffer := make([]byte, frameHeader+maxFramePayload)
	for {
		n, err := from.Read(buffer[frameHeader:])
		if n > 0 {
			putFrameHeader(buffer, frameData, 0, n)
			if _, err := to.Write(buffer[:frameHeader+n]); err != nil {
				return err
			}
		}
		if err == io.EOF {
			_, err := to.Write(appendFrame(nil, frameEnd, 0, nil))
			return err
		}
		if err != nil {
			return err
		}
	}
}

func closeWrite(conn net.Conn) {
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
		return
	}
	conn.Close()
}
