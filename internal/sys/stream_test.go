package sys

import (
	"errors"
	"os"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"
)

func pair(t *testing.T) (a, b int) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fds[0]); syscall.Close(fds[1]) })
	return fds[0], fds[1]
}

// However many threads wait, what they wait for can be sent by a goroutine.
func TestRecvWithinLeavesRoom(t *testing.T) {
	n := 4 * runtime.GOMAXPROCS(0)
	var all sync.WaitGroup
	senders := make([]int, n)
	for i := range n {
		a, b := pair(t)
		senders[i] = b
		all.Go(func() {
			buf := make([]byte, 8)
			// So long that only what is sent ends it.
			if n, err := RecvWithin(a, buf, time.Minute); err != nil || string(buf[:n]) != "x" {
				t.Errorf("it received %q: %v", buf[:max(n, 0)], err)
			}
		})
	}
	for _, fd := range senders {
		if n, err := SendNow(fd, []byte("x")); err != nil || n != 1 {
			t.Fatal(n, err)
		}
	}
	all.Wait()
}

func TestRecvWithinEnds(t *testing.T) {
	a, b := pair(t)
	for _, patience := range []time.Duration{0, time.Millisecond} {
		if n, err := RecvWithin(a, make([]byte, 8), patience); !errors.Is(err, os.ErrDeadlineExceeded) || n != 0 {
			t.Errorf("after %v without data: %d bytes, %v", patience, n, err)
		}
	}
	if _, err := SendNow(b, []byte("late")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 8)
	if n, err := RecvWithin(a, buf, 0); err != nil || string(buf[:n]) != "late" {
		t.Errorf("what is there is %q: %v", buf[:max(n, 0)], err)
	}
}
