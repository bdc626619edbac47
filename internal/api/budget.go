package api

import (
	"io"
	"sync"
)

// budget bounds what files on their way into workspaces take of the host, of one
// caller and of all together.
type budget struct {
	bytes, bytesOfOne int64

	mu     sync.Mutex
	all    held
	owners map[*owner]held
}

// held is what is there at the moment.
type held struct {
	files int
	bytes int64
}

// How many files there may be; the files of one execution count as one.
const (
	spoolFiles      = 1024
	spoolFilesOfOne = 256
)

// share is the part of all bytes that one caller may have.
const share = 4

func newBudget(bytes int64) *budget {
	return &budget{bytes: bytes, bytesOfOne: bytes / share, owners: map[*owner]held{}}
}

// account is one file's part of a budget.
type account struct {
	budget *budget
	owner  *owner
	bytes  int64 // guarded by budget.mu
}

// open admits one more file of an owner, of no bytes yet.
func (b *budget) open(o *owner) (*account, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.owners[o].files >= spoolFilesOfOne:
		return nil, problem(KindExhausted, "%d files of this caller are on their way, and no more are allowed", spoolFilesOfOne).retry(retryAfter)
	case b.all.files >= spoolFiles:
		return nil, problem(KindExhausted, "%d files are on their way, and no more are allowed", spoolFiles).retry(retryAfter)
	}
	b.add(o, 1, 0)
	return &account{budget: b, owner: o}, nil
}

// add is called with the lock held.
func (b *budget) add(o *owner, files int, bytes int64) {
	b.all = held{b.all.files + files, b.all.bytes + bytes}
	own := held{b.owners[o].files + files, b.owners[o].bytes + bytes}
	if own == (held{}) {
		delete(b.owners, o)
		return
	}
	b.owners[o] = own
}

// take admits that many more bytes of the file, before they are written.
func (a *account) take(bytes int64) error {
	b := a.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case a.bytes+bytes > b.bytesOfOne:
		return problem(KindTooLarge, "a file on its way may have %d bytes, and this one is larger", b.bytesOfOne)
	case b.owners[a.owner].bytes+bytes > b.bytesOfOne:
		return problem(KindExhausted, "the files of this caller that are on their way have %d bytes together, and no more are allowed", b.bytesOfOne).retry(retryAfter)
	case b.all.bytes+bytes > b.bytes:
		return problem(KindExhausted, "the room that the service has for files on their way is used up").retry(retryAfter)
	}
	a.bytes += bytes
	b.add(a.owner, 0, bytes)
	return nil
}

// close gives back what the file had, once, when it is gone.
func (a *account) close() {
	b := a.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	b.add(a.owner, -1, -a.bytes)
}

// accounted writes what is admitted.
type accounted struct {
	to      io.Writer
	account *account
}

func (w accounted) Write(p []byte) (int, error) {
	if err := w.account.take(int64(len(p))); err != nil {
		return 0, err
	}
	return w.to.Write(p)
}
