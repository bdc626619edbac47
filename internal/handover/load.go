package handover

import (
	"fmt"
	"os"
	"sync"

	"github.com/cellblock/cellblock/internal/sys"
)

// Load collects descriptors to be handed over. It is safe for concurrent use.
type Load struct {
	mu  sync.Mutex
	fds []int
}

// None is the number of a descriptor that there is not.
const None = -1

// Add takes a duplicate of f along, and returns its number. Of nil it is None. The error
// of one that was closed is os.ErrClosed.
func (l *Load) Add(f *os.File) (int, error) {
	if f == nil {
		return None, nil
	}
	own := -1
	raw, err := f.SyscallConn()
	if err == nil {
		var derr error
		if raw.Control(func(fd uintptr) { own, derr = sys.DupFD(int(fd)) }) != nil {
			derr = os.ErrClosed // it has an error of its own, and no name for it
		}
		err = derr
	}
	if err != nil {
		return None, fmt.Errorf("cannot hand over %s: %w", f.Name(), err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fds = append(l.fds, own)
	return len(l.fds) - 1, nil
}

// Len is how many there are.
func (l *Load) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.fds)
}

// Back takes out what was added after there were n.
func (l *Load) Back(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, fd := range l.fds[n:] {
		sys.CloseFD(fd)
	}
	l.fds = l.fds[:n]
}

// Close closes the duplicates.
func (l *Load) Close() { l.Back(0) }

// Arrived are the descriptors of a Load at its other end.
type Arrived struct {
	mu    sync.Mutex
	files []*os.File
}

// Take is the descriptor of a number, which is the caller's from then on; nil of None.
// Each is given once.
func (a *Arrived) Take(n int) (*os.File, error) {
	if n == None {
		return nil, nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if n < 0 || n >= len(a.files) || a.files[n] == nil {
		return nil, fmt.Errorf("descriptor %d of %d was not handed over, or is another's", n, len(a.files))
	}
	f := a.files[n]
	a.files[n] = nil
	return f, nil
}

// Close closes what nobody has taken.
func (a *Arrived) Close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, f := range a.files {
		if f != nil {
			f.Close()
		}
		a.files[i] = nil
	}
}
