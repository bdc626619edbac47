package api

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
)

// spool holds files on their way into a workspace. A writer in the cell is
// given a whole file of known size, however slowly it came.
type spool struct{ dir string }

// newSpool makes a directory that is this process's own, which close removes.
func newSpool(parent string) (*spool, error) {
	dir, err := os.MkdirTemp(parent, "cellblock-spool-")
	if err != nil {
		return nil, fmt.Errorf("cannot make a directory for uploads: %w", err)
	}
	return &spool{dir}, nil
}

func (s *spool) close() { os.RemoveAll(s.dir) }

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
