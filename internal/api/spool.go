package api

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
)

// spool holds files on their way into a workspace. A writer in the cell is
// given a whole file of known size, however slowly it came.
type spool struct {
	dir    string
	lock   *os.File // held while the process lives
	budget *budget
}

const spoolPrefix = "cellblock-spool-"

// newSpool makes a directory that is this process's own, which close removes,
// and removes those of processes that no longer live.
func newSpool(parent string, bytes int64) (*spool, error) {
	if parent == "" {
		parent = os.TempDir()
	}
	sweepSpools(parent)
	for {
		dir, err := os.MkdirTemp(parent, spoolPrefix)
		if err != nil {
			return nil, fmt.Errorf("cannot make a directory for uploads: %w", err)
		}
		lock, err := lockSpool(dir)
		if err == nil {
			if _, err = os.Lstat(dir); err == nil {
				return &spool{dir, lock, newBudget(bytes)}, nil
			}
			lock.Close()
		}
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.EWOULDBLOCK) {
			os.Remove(dir)
			return nil, fmt.Errorf("cannot lock the directory for uploads: %w", err)
		}
		// Another start swept it before it was locked.
	}
}

func (s *spool) close() {
	os.RemoveAll(s.dir)
	s.lock.Close()
}

// lockSpool opens a directory, never through a link, and locks it.
func lockSpool(dir string) (*os.File, error) {
	f, err := os.OpenFile(dir, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// sweepSpools removes the directories that nobody locks. Only this user's own
// are touched: anybody may make one of the name in a temporary directory.
func sweepSpools(parent string) {
	found, _ := filepath.Glob(filepath.Join(parent, spoolPrefix+"*"))
	for _, dir := range found {
		st, err := os.Lstat(dir)
		if err != nil {
			continue
		}
		own, ok := st.Sys().(*syscall.Stat_t)
		if !ok || int(own.Uid) != os.Geteuid() || !st.IsDir() {
			continue
		}
		if lock, err := lockSpool(dir); err == nil {
			os.RemoveAll(dir)
			lock.Close()
		}
	}
}

// put keeps at most limit bytes of r as a file, until it is removed; more is a
// Problem, and so is what the owner, or all, may not have at once.
func (s *spool) put(o *owner, r io.Reader, limit int64) (path string, remove func(), err error) {
	account, err := s.budget.open(o)
	if err != nil {
		return "", nil, err
	}
	f, err := os.CreateTemp(s.dir, "")
	if err != nil {
		account.close()
		return "", nil, err
	}
	remove = sync.OnceFunc(func() {
		os.Remove(f.Name())
		account.close()
	})
	n, err := io.Copy(accounted{f, account}, io.LimitReader(r, limit+1))
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil && n > limit {
		err = problem(KindTooLarge, "the file is larger than its workspace (%d bytes)", limit)
	}
	if err != nil {
		remove()
		return "", nil, err
	}
	return f.Name(), remove, nil
}

// inputs spools the files of one execution and returns them as a Request takes
// them, with what removes them.
func (s *spool) inputs(o *owner, files []InputFile) (map[string]string, func(), error) {
	if len(files) == 0 {
		return nil, func() {}, nil
	}
	account, err := s.budget.open(o)
	if err != nil {
		return nil, nil, err
	}
	dir, err := os.MkdirTemp(s.dir, "")
	if err != nil {
		account.close()
		return nil, nil, err
	}
	remove := func() {
		os.RemoveAll(dir)
		account.close()
	}
	named := map[string]string{}
	for i, f := range files {
		path := filepath.Join(dir, strconv.Itoa(i))
		err := account.take(int64(len(f.Content)))
		if err == nil {
			err = os.WriteFile(path, f.Content, 0o600)
		}
		if err != nil {
			remove()
			return nil, nil, err
		}
		named[path] = f.Name
	}
	return named, remove, nil
}
