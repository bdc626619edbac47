package executor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"time"

	"github.com/cellblock/cellblock/internal/foreign"
	"github.com/cellblock/cellblock/internal/workspace"
	"github.com/cellblock/cellblock/nsjail"
)

// ErrWorkspaceFull says that a file does not fit into the workspace: its bytes,
// its number of files, or the session's memory.
var ErrWorkspaceFull = errors.New("the workspace is full")

// FileInfo is a regular file of a workspace.
type FileInfo struct {
	Path     string    `json:"path"` // relative; bytes that are not UTF-8 are U+FFFD
	Size     int64     `json:"size"`
	Modified time.Time `json:"modified"`
}

// File is a file of a workspace opened for reading: io.Reader, io.Seeker,
// io.Closer. It ends at the size that the file had when it was opened; code that
// runs may change what is in it meanwhile. It is closed with the session's cell, and
// is not safe for concurrent use.
type File = workspace.File

// Files lists the regular files of the workspace as it is now, also while code
// runs. Whole is false when not all could be listed: a limit of names, of depth
// or of time was reached. A session that has no cell yet has no files.
func (s *Session) Files() (files []FileInfo, whole bool, err error) {
	work, _, _ := s.inside()
	if work == nil {
		return []FileInfo{}, true, nil
	}
	snap, err := work.Snapshot(s.copyLimits())
	if err != nil {
		return nil, false, err
	}
	files = make([]FileInfo, len(snap.Files))
	for i, f := range snap.Files {
		files[i] = FileInfo{workspace.Display(f.Path), f.Size, time.Unix(0, f.Mtime).UTC()}
	}
	return files, snap.Complete(), nil
}

// OpenFile opens a file of the workspace, also while code runs. What is no
// regular file, or lies behind a link, is fs.ErrNotExist; a path that cannot
// name a file is an *InvalidError.
func (s *Session) OpenFile(path string) (*File, error) {
	clean, err := workspace.CheckPath(path)
	if err != nil {
		return nil, invalidPath(path, err)
	}
	work, _, _ := s.inside()
	if work == nil {
		return nil, fmt.Errorf("cannot open %s: %w", workspace.Quote(clean), fs.ErrNotExist)
	}
	f, err := work.Lend(clean)
	if notThere(err) {
		return nil, fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	}
	return f, err
}

// PutFile copies a file of the host into the workspace as name, also while code
// runs, and counts it against the session's limits. It builds the cell if there
// is none. A name that cannot be written is an *InvalidError, a lack of room
// ErrWorkspaceFull.
func (s *Session) PutFile(ctx context.Context, host, name string) error {
	up, err := workspace.HostFile(host, name)
	if err != nil {
		return invalidPath(name, err)
	}
	return s.put(ctx, name, up)
}

func (s *Session) put(ctx context.Context, name string, up workspace.Upload) error {
	_, mirror, cell, err := s.insideStarted(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, pushTime)
	defer cancel()
	return writeFailure(name, mirror.Put(ctx, cell, up))
}

// PutGiven is PutFile of a file that is open, and is read through its descriptor
// alone: it may be another process's, and one that never answers (see Given).
func (s *Session) PutGiven(ctx context.Context, fd int, name string) error {
	up, err := workspace.GivenUpload(fd, name)
	if err != nil {
		return invalidGiven(name, err)
	}
	return s.put(ctx, name, up)
}

// invalidGiven is an error about a file that was given, which is the giver's fault.
func invalidGiven(name string, err error) error {
	var bad *workspace.PathError
	if errors.As(err, &bad) {
		return invalidPath(name, err)
	}
	return &InvalidError{"input file", name, err.Error()}
}

// RemoveFile deletes a file or an empty directory of the workspace. One that is
// not there is no error.
func (s *Session) RemoveFile(ctx context.Context, path string) error {
	clean, err := workspace.CheckPath(path)
	if err != nil {
		return invalidPath(path, err)
	}
	_, mirror, cell := s.inside()
	if cell == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, pushTime)
	defer cancel()
	err = mirror.Delete(ctx, cell, clean)
	if notThere(err) {
		return nil
	}
	return writeFailure(path, err)
}

// inside is what the session's cell has; nils when there is no cell.
func (s *Session) inside() (*workspace.Dir, *workspace.Mirror, *nsjail.Cell) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mirror == nil {
		return nil, nil, nil
	}
	return s.work, s.mirror, s.living
}

func (s *Session) insideStarted(ctx context.Context) (*workspace.Dir, *workspace.Mirror, *nsjail.Cell, error) {
	if work, mirror, cell := s.inside(); cell != nil && !isClosed(cell.Ended()) {
		return work, mirror, cell, nil
	}
	if err := s.Start(ctx); err != nil {
		return nil, nil, nil, err
	}
	work, mirror, cell := s.inside()
	if cell == nil {
		return nil, nil, nil, ErrClosed
	}
	return work, mirror, cell, nil
}

func invalidPath(path string, err error) error {
	var bad *workspace.PathError
	if errors.As(err, &bad) {
		return &InvalidError{"file name", path, bad.Why}
	}
	return err
}

// notThere says whether err is the kernel's or ours for a path at which no
// regular file is to be had.
func notThere(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, workspace.ErrNotRegular) || errors.Is(err, syscall.ELOOP) ||
		errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ENXIO) || errors.Is(err, syscall.EXDEV) || errors.Is(err, syscall.ENAMETOOLONG)
}

// writeFailure says what of a failed write is the caller's to mend.
func writeFailure(path string, err error) error {
	var errno syscall.Errno
	switch {
	case err == nil:
		return nil
	case errors.Is(err, nsjail.ErrClosed):
		return ErrClosed
	case errors.Is(err, foreign.ErrNoAnswer):
		return &InvalidError{"input file", path, err.Error()}
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG), errors.Is(err, syscall.ENOMEM),
		errors.Is(err, workspace.ErrTooLarge), errors.Is(err, nsjail.ErrWriterEnded): // the last by the kernel, for memory
		return fmt.Errorf("%w: %w", ErrWorkspaceFull, err)
	case errors.As(err, &errno) && (errno == syscall.EISDIR || errno == syscall.ENOTDIR || errno == syscall.ELOOP ||
		errno == syscall.EEXIST || errno == syscall.ENOTEMPTY || errno == syscall.EACCES || errno == syscall.EPERM || errno == syscall.EXDEV):
		return &InvalidError{"file name", path, "what is there already is in the way: " + errno.Error()}
	}
	return err
}
