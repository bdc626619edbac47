package lane

import (
	"context"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/cellblock/cellblock/internal/sys"
)

// lookAfter is how long a request is under way, at least, before it is looked
// whether its client has gone away.
const lookAfter = 50 * time.Millisecond

// lookout looks whether the client of a request that takes long has gone away. Its
// timer is not set and stopped for each request: it goes off, sees that there is
// nothing to do, and is set again by the next request.
type lookout struct {
	net   net.Conn
	raw   syscall.RawConn
	timer *time.Timer

	mu      sync.Mutex
	set     bool // the timer is
	began   time.Time
	cancel  context.CancelFunc // of the request under way; nil: there is none
	looking chan struct{}      // closed when it no longer looks; nil: it does not
}

func newLookout(c net.Conn, raw syscall.RawConn) *lookout {
	l := &lookout{net: c, raw: raw}
	l.timer = time.AfterFunc(time.Hour, l.goOff)
	l.timer.Stop()
	return l
}

// begin is told of a request, which cancel ends.
func (l *lookout) begin(cancel context.CancelFunc) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.began, l.cancel = time.Now(), cancel
	if !l.set {
		l.set = true
		l.timer.Reset(lookAfter)
	}
}

// end is told of the request's end, and says whether the connection's deadline for
// reads is another now: none.
func (l *lookout) end() (changed bool) {
	l.mu.Lock()
	looking := l.looking
	l.cancel, l.looking = nil, nil
	l.mu.Unlock()
	if looking == nil {
		return false
	}
	l.net.SetReadDeadline(time.Unix(1, 0))
	<-looking
	l.net.SetReadDeadline(time.Time{})
	return true
}

// goOff is what the timer does.
func (l *lookout) goOff() {
	l.mu.Lock()
	if l.cancel == nil {
		l.set = false
		l.mu.Unlock()
		return
	}
	if age := time.Since(l.began); age < lookAfter {
		l.timer.Reset(lookAfter - age)
		l.mu.Unlock()
		return
	}
	l.set = false
	// The deadline was that of an idle connection.
	l.net.SetReadDeadline(time.Time{})
	cancel, done := l.cancel, make(chan struct{})
	l.looking = done
	l.mu.Unlock()
	defer close(done)
	gone := false
	l.raw.Read(func(fd uintptr) (seen bool) {
		gone, seen = sys.PeerGone(int(fd))
		return seen
	})
	if gone {
		cancel()
	}
}
