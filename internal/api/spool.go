package api

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// spool holds files on their way into a workspace. A writer in the cell is
// given a whole file of known size, however slowly it came.
type spool struct {
	dir  string
	lock *os.File // held while the process lives
}

const spoolPrefix = "cellblock-spool-"

// newSpool makes a directory that is this process's own, which close removes,
// and removes those of processes that no longer live.
func newSpool(parent string) (*spool, error) {
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
				return &spool{dir, lock}, nil
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

// put keeps at most limit bytes of r as a file; more is a Problem.
func (s *spool) put(r io.Reader, limit int64) (path string, err error) {
	f, err := os.CreateTemp(s.dir, "")
	if err != nil {
		return "", err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	n, err := io.Copy(f, io.LimitReader(r, limit+1))
	if err != nil {
		return "", err
	}
	if n > limit {
		return "", problem(KindTooLarge, "the file is larger than its workspace (%d bytes)", limit)
	}
	return f.Name(), nil
}

// inputs spools the files of one execution and returns them as a Request takes
// them, with what removes them.
func (s *spool) inputs(files []InputFile) (map[string]string, func(), error) {
	if len(files) == 0 {
		return nil, func() {}, nil
	}
	dir, err := os.MkdirTemp(s.dir, "")
	if err != nil {
		return nil, nil, err
	}
	remove := func() { os.RemoveAll(dir) }
	named := map[string]string{}
	var errs []error
	for i, f := range files {
		path := filepath.Join(dir, strconv.Itoa(i))
		errs = append(errs, os.WriteFile(path, f.Content, 0o600))
		named[path] = f.Name
	}
	if err := errors.Join(errs...); err != nil {
		remove()
		return nil, nil, err
	}
	return named, remove, nil
}
