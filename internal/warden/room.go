package warden

import (
	"fmt"
	"sync"
	"syscall"
)

// room bounds what large messages take of a warden's memory together, on their way
// and while their call goes on. It is safe for concurrent use.
type room struct {
	mu   sync.Mutex
	left int64
}

// unbounded is what a message may have that does not count.
const unbounded = 1 << 20

// newRoom is that of a server: a quarter of the machine's memory.
func newRoom() *room { return &room{left: max(machineMemory()/4, 2*maxFrame)} }

var errNoRoom = fmt.Errorf("the large messages of all callers take as much memory as they may: %w", syscall.ENOMEM)

func (r *room) take(n int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if int64(n) > r.left {
		return false
	}
	r.left -= int64(n)
	return true
}

func (r *room) give(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.left += int64(n)
}

// admit takes room for a message of so many bytes, beside what the connection has
// taken for others of its call.
func (c *conn) admit(size int) bool {
	need := size - unbounded - c.took
	if c.room == nil || need <= 0 {
		return true
	}
	if !c.room.take(need) {
		return false
	}
	c.took += need
	return true
}

// release gives back what a call has taken.
func (c *conn) release() {
	if c.took > 0 {
		c.room.give(c.took)
		c.took = 0
	}
}

// discard receives so many bytes for nobody.
func (c *conn) discard(n int) error {
	for n > 0 {
		if err := c.fill(1); err != nil {
			return noEOF(err)
		}
		gone := min(n, len(c.buf))
		c.buf = c.buf[:copy(c.buf, c.buf[gone:])]
		n -= gone
	}
	frame{files: c.files}.close()
	c.files = nil
	return nil
}
