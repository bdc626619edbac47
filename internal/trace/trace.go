// Package trace records where the time of one run goes (`--trace`). A nil
// *Trace takes marks and does nothing.
package trace

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// Trace is safe for concurrent use.
type Trace struct {
	mu    sync.Mutex
	start time.Time
	last  time.Time
	marks []Mark
}

// Mark is a step that ended, At after the start, Took after the one before.
type Mark struct {
	Step     string
	At, Took time.Duration
}

// New starts a trace.
func New() *Trace {
	now := time.Now()
	return &Trace{start: now, last: now}
}

// Mark says that step ended now.
func (t *Trace) Mark(step string) {
	if t == nil {
		return
	}
	now := time.Now()
	t.mu.Lock()
	t.marks = append(t.marks, Mark{step, now.Sub(t.start), now.Sub(t.last)})
	t.last = now
	t.mu.Unlock()
}

// WriteTo prints a table of the marks.
func (t *Trace) WriteTo(w io.Writer) (int64, error) {
	if t == nil {
		return 0, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	var n int64
	for _, m := range t.marks {
		k, err := fmt.Fprintf(w, "%10.3f ms  +%8.3f  %s\n", m.At.Seconds()*1e3, m.Took.Seconds()*1e3, m.Step)
		n += int64(k)
		if err != nil {
			return n, err
		}
	}
	return n, nil
}
