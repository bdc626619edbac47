// Package foreign handles descriptors that came from a process which may have been
// taken over. A system call on one of them may never return: its file system can be
// that process's own (FUSE), or a network's that is gone, and the end of a socket
// can wait for the other side. So such calls are made on a bounded number of threads,
// and who wants one waits for a bounded time:
//
//	f, err := foreign.Copy(fd)
//	err = f.Do(func(fd int) { n, e = sys.Pread(fd, buf, 0) })
//	f.Close() // returns at once
//
// A thread that a call keeps is lost until that file system, or the process that
// has it, ends. The package looks at no file and knows no types of them.
package foreign

import (
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"syscall"
	"time"

	"github.com/cellblock/cellblock/internal/sys"
	"github.com/cellblock/cellblock/internal/weaken"
)

const (
	mostCalls  = 64 // threads that wait for an answer
	mostEnders = 32 // threads that close
)

// patience is how long a call may take, and how long a thread is waited for.
const patience = 10 * time.Second

// ErrNoAnswer says that a call did not return in time, or that so many others do
// not that there is no thread for it.
var ErrNoAnswer = errors.New("the file that was given, or others before it, do not answer: is it on a file system whose server is gone?")

var calls = make(chan struct{}, mostCalls)

// do makes a call. After an error it may still be under way, if it was made.
func do(call func()) (made bool, err error) {
	if weaken.Layer("foreign-bounded") {
		call()
		return true, nil
	}
	wait := time.NewTimer(patience)
	defer wait.Stop()
	select {
	case calls <- struct{}{}:
	case <-wait.C:
		return false, ErrNoAnswer
	}
	done := make(chan struct{})
	go func() {
		call()
		<-calls
		close(done)
	}()
	select {
	case <-done:
		return true, nil
	case <-wait.C:
		return true, ErrNoAnswer
	}
}

// Waiting is how many threads are in such calls, or are to make one.
func Waiting() int {
	ends.Lock()
	defer ends.Unlock()
	return len(calls) + ends.threads + len(ends.list)
}

// File is a copy of a descriptor that somebody else has given. It is safe for
// concurrent use.
type File struct {
	fd int

	mu     sync.Mutex
	users  int // calls under way
	closed bool
}

// Copy is a copy of fd, which stays its owner's.
func Copy(fd int) (*File, error) {
	own, err := sys.DupFD(fd) // it asks no file system
	if err != nil {
		return nil, err
	}
	return &File{fd: own}, nil
}

// Do makes a call on the descriptor. After an error the call may still be under way:
// what it writes to must be used by nobody else then.
func (f *File) Do(call func(fd int)) error {
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		return fmt.Errorf("cannot use a file that was given: %w", fs.ErrClosed)
	}
	f.users++
	f.mu.Unlock()
	made, err := do(func() {
		defer f.leave()
		call(f.fd)
	})
	if !made {
		f.leave()
	}
	return err
}

func (f *File) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.users--; f.users == 0 && f.closed {
		End(f.fd, nil)
	}
}

// Close has the descriptor closed when no call uses it. Once more, it does nothing.
func (f *File) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return
	}
	f.closed = true
	if f.users == 0 {
		End(f.fd, nil)
	}
}

// End closes fd and returns at once; then, unless nil, is called when it is closed.
func End(fd int, then func()) {
	Later(func() {
		// Closing a socket can wait for its other end, for hours, unless this is
		// taken from it. Of what is no socket it cannot.
		_ = syscall.SetsockoptLinger(fd, syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{})
		_ = sys.CloseFD(fd) // it is closed, whatever its file system says
		if then != nil {
			then()
		}
	})
}

// ends are what Later was given and no thread has taken.
var ends struct {
	sync.Mutex
	list    []func()
	threads int
}

// Later makes a call that closes something, on one of the threads that do, and
// returns at once.
func Later(call func()) {
	if weaken.Layer("foreign-bounded") {
		call()
		return
	}
	ends.Lock()
	defer ends.Unlock()
	ends.list = append(ends.list, call)
	if ends.threads < mostEnders {
		ends.threads++
		go endAll()
	}
}

func endAll() {
	for {
		ends.Lock()
		if len(ends.list) == 0 {
			ends.threads--
			ends.Unlock()
			return
		}
		next := ends.list[0]
		ends.list = ends.list[1:]
		ends.Unlock()
		next()
	}
}
