package e2b

import (
	"runtime"
	"testing"
	"time"

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
