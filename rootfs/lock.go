package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/cellblock/cellblock/internal/sys"
)

const (
	shared    = syscall.LOCK_SH
	exclusive = syscall.LOCK_EX
)

// Hold marks the root as used until release is called or the process ends;
// Remove refuses meanwhile. It costs an open and a lock. It is ErrNotFound
// when the root was removed.
func (r *Root) Hold() (release func(), err error) {
	f, err := r.HoldFile()
	if err != nil {
		return nil, err
	}
	return func() { f.Close() }, nil
}

// HoldFile is Hold by a descriptor, which lasts until the last duplicate of it is closed.
func (r *Root) HoldFile() (*os.File, error) { return lockRoot(filepath.Dir(r.Dir), shared) }

// holdWait is how long a user of a root waits for a removal that has begun.
const holdWait = 10 * time.Second

// lockRoot locks a root's directory: shared by its users, which wait a while
// for a removal that has begun to end, or exclusively, without waiting.
func lockRoot(dir string, how int) (*os.File, error) {
	f, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, filepath.Base(dir))
	}
	if err != nil {
		return nil, fmt.Errorf("cannot lock root %s: %w", filepath.Base(dir), err)
	}
	err = sys.Flock(int(f.Fd()), how|syscall.LOCK_NB)
	for began := time.Now(); how == shared && errors.Is(err, syscall.EWOULDBLOCK) && time.Since(began) < holdWait; {
		time.Sleep(10 * time.Millisecond) // flock has no time limit of its own
		err = sys.Flock(int(f.Fd()), how|syscall.LOCK_NB)
	}
	if err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w: %s", ErrInUse, filepath.Base(dir))
		}
		return nil, fmt.Errorf("cannot lock root %s: %w", filepath.Base(dir), err)
	}
	// Between open and lock the root may have been removed, or removed and
	// built anew.
	ours, err := f.Stat()
	if err == nil {
		var named fs.FileInfo
		if named, err = os.Stat(dir); err == nil && os.SameFile(ours, named) {
			return f, nil
		}
	}
	f.Close()
	return nil, fmt.Errorf("%w: %s was removed", ErrNotFound, filepath.Base(dir))
}

// lockFile waits for an exclusive lock. When ctx ends first, the waiting
// goroutine lives on until the lock is free, and lets go of it.
func lockFile(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot lock %q: %w", path, err)
	}
	locked := make(chan error, 1)
	go func() { locked <- sys.Flock(int(f.Fd()), syscall.LOCK_EX) }()
	select {
	case err := <-locked:
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("cannot lock %q: %w", path, err)
		}
		return func() { f.Close() }, nil
	case <-ctx.Done():
		go func() { <-locked; f.Close() }()
		return nil, fmt.Errorf("waiting for another builder of the same root: %w", context.Cause(ctx))
	}
}

// tempDir makes a directory to build in and removes what dead builders left.
// A builder holds its directory's lock, so that one nobody holds is garbage.
func (s *Store) tempDir() (dir string, release func(), err error) {
	// Making and locking must not be torn apart by another's sweep.
	unlock, err := lockFile(context.Background(), s.path("locks", "tmp"))
	if err != nil {
		return "", nil, err
	}
	defer unlock()
	if err := s.sweep(); err != nil {
		return "", nil, err
	}
	if dir, err = os.MkdirTemp(s.path("tmp"), "build-"); err != nil {
		return "", nil, fmt.Errorf("cannot make a directory to build in: %w", err)
	}
	f, err := lockRoot(dir, exclusive)
	if err != nil {
		return "", nil, err
	}
	return dir, func() {
		removeTree(dir) // gone already when the build went well
		f.Close()
	}, nil
}

func (s *Store) sweep() error {
	entries, err := os.ReadDir(s.path("tmp"))
	if err != nil {
		return fmt.Errorf("cannot sweep the store of roots: %w", err)
	}
	for _, e := range entries {
		dir := s.path("tmp", e.Name())
		f, err := lockRoot(dir, exclusive)
		if err != nil {
			continue // somebody is building in it
		}
		removeTree(dir)
		f.Close()
	}
	return nil
}
