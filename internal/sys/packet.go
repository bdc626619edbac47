package sys

import (
	"errors"
	"io"
	"os"
	"syscall"
	"time"
)

// Packet is one end of a SOCK_SEQPACKET pair. One goroutine may send while
// another receives.
type Packet struct{ f *os.File }

// Pair makes a connected pair: ours, and the end for a child.
func Pair(kind int) (ours, theirs *os.File, err error) {
	var fds [2]int
	err = retryEINTR("socketpair", func() (e error) {
		fds, e = syscall.Socketpair(syscall.AF_UNIX, kind|syscall.SOCK_CLOEXEC, 0)
		return e
	})
	if err != nil {
		return nil, nil, err
	}
	// Ours goes through the runtime's poller, so that deadlines work.
	if err := retryEINTR("fcntl", func() error { return syscall.SetNonblock(fds[0], true) }); err != nil {
		syscall.Close(fds[0])
		syscall.Close(fds[1])
		return nil, nil, err
	}
	return os.NewFile(uintptr(fds[0]), "socket"), os.NewFile(uintptr(fds[1]), "socket"), nil
}

// NewPacket wraps one end.
func NewPacket(f *os.File) *Packet { return &Packet{f} }

// Close closes the end; a receiver returns with os.ErrClosed.
func (p *Packet) Close() error { return p.f.Close() }

// SetReadDeadline ends a Recv at a time, between two messages.
func (p *Packet) SetReadDeadline(t time.Time) error { return p.f.SetReadDeadline(t) }

// File is the end itself, which stays the Packet's.
func (p *Packet) File() *os.File { return p.f }

// Send sends one message with descriptors.
func (p *Packet) Send(b []byte, fds ...int) error {
	raw, err := p.f.SyscallConn()
	if err != nil {
		return closed(err)
	}
	var oob []byte
	if len(fds) > 0 {
		oob = syscall.UnixRights(fds...)
	}
	var serr error
	err = raw.Write(func(fd uintptr) bool {
		serr = retry("sendmsg", func() error {
			_, err := syscall.SendmsgN(int(fd), b, oob, nil, syscall.MSG_NOSIGNAL)
			return err
		})
		return serr != syscall.EAGAIN
	})
	if err != nil {
		return closed(err)
	}
	return os.NewSyscallError("sendmsg", serr)
}

// Recv receives one message and the descriptors that came with it; io.EOF
// when the other end is closed.
func (p *Packet) Recv(b []byte) (n int, fds []int, err error) {
	raw, err := p.f.SyscallConn()
	if err != nil {
		return 0, nil, closed(err)
	}
	var oob [64]byte
	var on int
	var rerr error
	read := func(fd uintptr) bool {
		rerr = retry("recvmsg", func() (e error) {
			n, on, _, _, e = syscall.Recvmsg(int(fd), b, oob[:], syscall.MSG_CMSG_CLOEXEC)
			return e
		})
		return rerr != syscall.EAGAIN
	}
	err = raw.Read(read)
	if err == nil && rerr == syscall.ECONNRESET {
		// The other end is gone and had not read all. That is told once, before
		// what it had sent, which may say why.
		err = raw.Read(read)
	}
	if err != nil {
		return 0, nil, closed(err)
	}
	if rerr != nil {
		return 0, nil, os.NewSyscallError("recvmsg", rerr)
	}
	if n == 0 {
		return 0, nil, io.EOF
	}
	messages, err := syscall.ParseSocketControlMessage(oob[:on])
	if err != nil {
		return n, nil, os.NewSyscallError("recvmsg", err)
	}
	for i := range messages {
		if got, err := syscall.ParseUnixRights(&messages[i]); err == nil {
			fds = append(fds, got...)
		}
	}
	return n, fds, nil
}

// closed is err of a file's SyscallConn, which has an error of its own, and no
// name for it, for a file that was closed meanwhile.
func closed(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return os.ErrClosed
}
