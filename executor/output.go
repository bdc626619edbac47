package executor

import (
	"errors"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/cellblock/cellblock/internal/weaken"
)

// stream reads one output pipe of a REPL during an execution: it keeps the
// first keep bytes, hands every piece to tee, and counts all.
type stream struct {
	file  *os.File
	keep  int64
	limit int64        // of all bytes; 0: none
	over  func()       // called once when limit is passed
	tee   func([]byte) // may be nil

	kept    []byte
	total   int64
	started bool
	done    sync.WaitGroup
}

const pieceSize = 64 << 10

var pieces = sync.Pool{New: func() any { b := make([]byte, pieceSize); return &b }}

// start begins to read in the background.
func (s *stream) start() {
	s.started = true
	s.file.SetReadDeadline(time.Time{})
	s.done.Add(1)
	go func() {
		defer s.done.Done()
		buf := pieces.Get().(*[]byte)
		defer pieces.Put(buf)
		for {
			n, err := s.file.Read(*buf)
			s.take((*buf)[:n])
			if err != nil {
				if errors.Is(err, os.ErrDeadlineExceeded) {
					s.drain(*buf)
				}
				return
			}
		}
	}()
}

// finish takes what the pipe already holds and stops. What the code printed
// before the REPL said that it is done is in the pipe by then, so the order is
// exact; at most a pipe's content is taken, since a thread may go on printing.
func (s *stream) finish() {
	if !s.started {
		buf := pieces.Get().(*[]byte)
		defer pieces.Put(buf)
		s.drain(*buf)
		return
	}
	s.file.SetReadDeadline(time.Unix(1, 0))
	s.done.Wait()
}

const pipeSize = 1 << 20 // the largest that an unprivileged process can make

func (s *stream) drain(buf []byte) {
	raw, err := s.file.SyscallConn()
	if err != nil {
		return
	}
	// Control does not ask the poller, whose deadline is over.
	_ = raw.Control(func(fd uintptr) {
		for left := pipeSize; left > 0; {
			n, err := syscall.Read(int(fd), buf)
			if errors.Is(err, syscall.EINTR) {
				continue
			}
			if n <= 0 || err != nil {
				return
			}
			s.take(buf[:n])
			left -= n
		}
	})
}

func (s *stream) take(b []byte) {
	if len(b) == 0 {
		return
	}
	keep := s.keep
	if weaken.Layer("output-limit") {
		keep *= 4
	}
	if room := keep - int64(len(s.kept)); room > 0 {
		s.kept = append(s.kept, b[:min(int64(len(b)), room)]...)
	}
	before := s.total
	s.total += int64(len(b))
	if s.limit > 0 && before <= s.limit && s.total > s.limit {
		s.over()
	}
	if s.tee != nil {
		s.tee(b)
	}
}

func (s *stream) truncated() bool { return s.total > int64(len(s.kept)) }
