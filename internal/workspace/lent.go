package workspace

import (
	"errors"
	"sync"
)

// Lent are files of a workspace that somebody reads in his own time. They are
// closed with their workspace: one open file keeps the memory of all files there.
// The zero value is ready. It is safe for concurrent use.
type Lent struct {
	mu    sync.Mutex
	files map[*File]bool
	ended bool
}

// Add takes a file, until it is closed. After End it closes it at once.
func (l *Lent) Add(f *File) error {
	l.mu.Lock()
	if !l.ended {
		if l.files == nil {
			l.files = map[*File]bool{}
		}
		l.files[f] = true
		f.lent = l
		l.mu.Unlock()
		return nil
	}
	l.mu.Unlock()
	return f.Close()
}

// End closes all. What reads them is told fs.ErrClosed.
func (l *Lent) End() error {
	l.mu.Lock()
	l.ended = true
	files := l.files
	l.files = nil
	l.mu.Unlock()
	var errs []error
	for f := range files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

func (l *Lent) forget(f *File) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.files, f)
}
