package warden

import (
	"errors"
	"fmt"
	"sync"
	"syscall"

	"github.com/cellblock/cellblock/internal/foreign"
	"github.com/cellblock/cellblock/internal/sys"
	"github.com/cellblock/cellblock/internal/weaken"
)

// descriptors bounds those that askers have sent to this process and that are open
// here, on all connections together, and those that are still to be closed with them:
// the rest is for sessions. It is safe for concurrent use.
type descriptors struct {
	mu   sync.Mutex
	left int
}

// mostRights is how many descriptors the kernel passes with one message (SCM_MAX_FD).
const mostRights = 253

// shareOfFiles is a quarter of what this process may have open: that many may be what
// askers have sent, and that many may be connections.
func shareOfFiles() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 2 * mostRights
	}
	return int(min(limit.Cur/4, 1<<20))
}

// mostDescriptors is what askers may have open of a warden's descriptors, where it has
// as many.
const mostDescriptors = 16384

func newDescriptors() *descriptors {
	return &descriptors{left: max(2*mostRights, min(shareOfFiles(), mostDescriptors))}
}

var errNoDescriptors = fmt.Errorf("the files that all callers have sent are as many as may be open: %w", syscall.EMFILE)

func (d *descriptors) take(n int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n > d.left && !weaken.Layer("warden-descriptors") {
		return false
	}
	d.left -= n
	return true
}

func (d *descriptors) give(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.left += n
}

// descriptor came with a message. It is a number and no os.File: that would have Go's
// poller ask the file, and wait for it together with all others.
type descriptor struct {
	fd int
	of *descriptors // nil: they are not counted
}

// close closes the descriptor, at once where the other side is trusted.
func (d descriptor) close() {
	if d.of == nil {
		_ = sys.CloseFD(d.fd)
		return
	}
	foreign.End(d.fd, func() { d.of.give(1) })
}

// receiveOnce receives what is there, and waits where nothing is.
func (c *conn) receiveOnce(into []byte) (got int, err error) {
	raw, err := c.socket.SyscallConn()
	if err != nil {
		return 0, err
	}
	if c.rights == nil {
		c.rights = make([]byte, syscall.CmsgSpace(4*mostRights))
	}
	shut := raw.Read(func(fd uintptr) bool {
		// Before the kernel makes descriptors of what has come: all that one message
		// may have.
		if c.descriptors != nil && !c.descriptors.take(mostRights) {
			// There may be nothing yet, and room for it when there is.
			if _, _, err = syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT); errors.Is(err, syscall.EAGAIN) {
				return false
			}
			err = errNoDescriptors
			return true
		}
		var oobn, flags, came int
		for again := true; again; again = errors.Is(err, syscall.EINTR) {
			got, oobn, flags, _, err = syscall.Recvmsg(int(fd), into, c.rights, syscall.MSG_CMSG_CLOEXEC|syscall.MSG_DONTWAIT)
		}
		if err == nil {
			came, err = c.own(c.rights[:oobn])
		}
		if c.descriptors != nil {
			c.descriptors.give(mostRights - came)
		}
		if err == nil && flags&syscall.MSG_CTRUNC != 0 {
			err = errors.New("files on their way were lost: this process has too many open")
		}
		return !errors.Is(err, syscall.EAGAIN)
	})
	if shut != nil {
		err = shut
	}
	return max(got, 0), err
}

// own takes descriptors over, and says how many.
func (c *conn) own(rights []byte) (came int, err error) {
	messages, err := syscall.ParseSocketControlMessage(rights)
	if err != nil {
		return 0, err
	}
	for i := range messages {
		fds, err := syscall.ParseUnixRights(&messages[i])
		if err != nil {
			return came, err
		}
		for _, fd := range fds {
			c.files = append(c.files, descriptor{fd, c.descriptors})
		}
		came += len(fds)
	}
	return came, nil
}
