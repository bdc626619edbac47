package e2b

import (
	"io"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/internal/api"
)

// No call finds a sandbox that has no timer yet: one that ended it then would
// fail halfway.
func TestTimerBeforePublication(t *testing.T) {
	s := New(nil, Settings{})
	b := &sandbox{id: "b", ended: make(chan struct{})}
	hasTimer := func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.timer != nil
	}
	published := make(chan struct{})
	s.boxes.mu.Lock() // it cannot be found yet
	go func() {
		defer close(published)
		s.publish(b, time.Hour)
	}()
	for deadline := time.Now().Add(10 * time.Second); !hasTimer(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Error("the timer is not there before the sandbox can be found")
			break
		}
	}
	s.boxes.mu.Unlock()
	<-published
	b.timer.Stop()
}

// The session of a sandbox ends with it, even if something on the way fails.
func TestLeaseEndsInAnyCase(t *testing.T) {
	c := serve(t, api.Settings{}, Settings{})
	c.sandbox()
	b := c.server.lookup(c.id)
	b.mu.Lock()
	b.timer.Stop()
	b.timer = nil // stopping it panics
	b.mu.Unlock()
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the end did not fail on its way")
			}
		}()
		c.server.end(b)
	}()
	if !b.lease.Ended() {
		t.Error("the session goes on")
	}
}

// A file that is moved is on its way as well, beside what is uploaded.
func TestMoveIsCounted(t *testing.T) {
	c := serve(t, api.Settings{SpoolBytes: 4 << 20}, Settings{}, executor.Config{WorkspaceBytes: 1 << 20})
	c.sandbox()
	c.run(map[string]any{"code": "for i in range(500):\n    with open(str(i), 'wb') as f: f.truncate(700 << 10)"})
	first := *c
	c.sandbox()
	n, deadline := 0, time.Now().Add(30*time.Second)
	move := func() *reply {
		r := first.ask("POST", "/filesystem.Filesystem/Move", map[string]any{"source": strconv.Itoa(n), "destination": "moved"})
		if r.status == 200 { // what was moved takes room, what was made did not
			first.ask("POST", "/filesystem.Filesystem/Remove", map[string]any{"path": "moved"}).want(200, "")
			n++
		}
		return r
	}
	// Both cannot be on their way at once. Whichever comes second is refused: the
	// upload, where it came in the middle of a move, and is tried again then.
	for refused := false; !refused; {
		body, slow := io.Pipe()
		done := make(chan *reply, 1)
		go func() { done <- c.ask("POST", "/files?path=x", body, "Content-Type", "application/octet-stream") }()
		go io.WriteString(slow, strings.Repeat("x", 700<<10))
		var upload *reply
		for upload == nil && !refused {
			if time.Now().After(deadline) {
				t.Fatal("nothing was refused")
			}
			select {
			case upload = <-done:
			default:
				if r := move(); r.status == 429 {
					refused = true
				} else {
					r.want(200, "entry")
				}
			}
		}
		slow.Close()
		if upload == nil {
			upload = <-done
		}
		if upload.status == 429 { // perhaps both were, each for the other's part
			upload.want(429, "on their way")
			refused = false
			continue
		}
		upload.want(200, "/home/user/x")
	}
	move().want(200, "entry")
}
