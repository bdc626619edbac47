package repl

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/cellblock/cellblock/internal/sys"
)

// channel is the host's end of a control channel. Most replies come within a few
// ten microseconds, for which Go's poller, and the threads that it wakes, would
// cost more than the code that ran: soon waits in the kernel instead. The poller
// knows the channel only while something takes longer.
type channel struct {
	file *os.File
	raw  syscall.RawConn

	mu     sync.Mutex
	slow   net.Conn // the same channel for the poller; nil when it need not know
	closed bool
}

// newChannel takes over a stream socket's file.
func newChannel(f *os.File) (_ *channel, err error) {
	defer f.Close()
	fail := func(err error) error {
		return fmt.Errorf("cannot use %s as a control channel: %w", f.Name(), err)
	}
	if err := sys.Fault("fcntl"); err != nil {
		return nil, fail(err)
	}
	file, err := sys.DupBlocking(f)
	if err != nil {
		return nil, fail(err)
	}
	raw, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil, fail(err)
	}
	return &channel{file: file, raw: raw}, nil
}

// poller gives the channel to the poller.
func (ch *channel) poller() (net.Conn, error) {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if ch.closed {
		return nil, net.ErrClosed
	}
	if ch.slow == nil {
		var err error
		if ch.slow, err = net.FileConn(ch.file); err != nil {
			return nil, err
		}
	}
	return ch.slow, nil
}

// rest takes it back from the poller.
func (ch *channel) rest() {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if ch.slow != nil {
		ch.slow.Close()
		ch.slow = nil
	}
}

// soon reads what comes within patience; then the error is os.ErrDeadlineExceeded.
func (ch *channel) soon(b []byte, patience time.Duration) (n int, err error) {
	if shut := ch.raw.Control(func(fd uintptr) { n, err = sys.RecvWithin(int(fd), b, patience) }); shut != nil {
		return 0, net.ErrClosed
	}
	return n, err
}

func (ch *channel) Read(b []byte) (int, error) {
	c, err := ch.poller()
	if err != nil {
		return 0, err
	}
	return c.Read(b)
}

func (ch *channel) Write(b []byte) (n int, err error) {
	if shut := ch.raw.Control(func(fd uintptr) { n, err = sys.SendNow(int(fd), b) }); shut != nil {
		return 0, net.ErrClosed
	}
	if err != nil || n == len(b) {
		return n, err
	}
	c, err := ch.poller()
	if err != nil {
		return n, err
	}
	more, err := c.Write(b[n:])
	return n + more, err
}

func (ch *channel) SetDeadline(t time.Time) error {
	c, err := ch.poller()
	if err != nil {
		return err
	}
	return c.SetDeadline(t)
}

func (ch *channel) Close() error {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	ch.closed = true
	var err error
	if ch.slow != nil {
		err = ch.slow.Close()
		ch.slow = nil
	}
	return errors.Join(err, ch.file.Close())
}

// release hands the socket over; the channel is of no more use.
func (ch *channel) release() (*net.UnixConn, error) {
	c, err := ch.poller()
	if err != nil {
		return nil, err
	}
	socket, ok := c.(*net.UnixConn)
	if !ok {
		return nil, fmt.Errorf("BUG(repl): a control channel is a %T", c)
	}
	ch.mu.Lock()
	ch.slow = nil
	ch.mu.Unlock()
	return socket, ch.Close()
}

var _ io.ReadWriteCloser = (*channel)(nil)
