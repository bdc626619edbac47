package workspace

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/cellblock/cellblock/internal/sys"
)

// Stage keeps read-only copies of directories and large files that cells get to
// see through a bind. A cell can read the source of every bind in its
// /proc/self/mountinfo, so a path of the user's is never bound: what it sees is
// <state>/inputs/<digest>. The digest is over the listing (paths, sizes, times,
// inodes), not the content, so an unchanged input costs one listing. It is safe
// for concurrent use, also by several processes.
type Stage struct{ dir string }

// OpenStage makes <state>/inputs when it is missing.
func OpenStage(stateDir string) (*Stage, error) {
	abs, err := filepath.Abs(stateDir)
	if err != nil {
		return nil, fmt.Errorf("cannot make the place for shared inputs: %w", err)
	}
	dir := filepath.Join(abs, "inputs")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make the place for shared inputs: %w", err)
	}
	return &Stage{dir}, nil
}

// Staged is a copy in use: Prune leaves it alone until Close.
type Staged struct {
	Path    string // absolute; a directory, or a file if the input was one
	Digest  string
	Reused  bool // it was there already
	Bytes   int64
	Skipped []Skipped

	lock int
}

// Close ends the use of the copy, which stays for the next one.
func (s *Staged) Close() error {
	if s.lock < 0 {
		return nil
	}
	fd := s.lock
	s.lock = -1
	return sys.CloseFD(fd)
}

const (
	partialPrefix = ".partial-"
	lockSuffix    = ".lock"
	stagedFile    = "content" // the name of a single file in its directory
)

// Add copies a directory, or one file, of the host unless the same version of it
// is there, and marks it as in use. Modes become 0444 and 0555, the owner is the
// process's own, blocks are shared with the source where the filesystem can.
// Relative symbolic links that stay inside are kept as they are; other links,
// special files and what lies beyond the limits are skipped and reported. A
// source that changes while it is copied is tried once more, then refused.
func (s *Stage) Add(ctx context.Context, hostPath string, l Limits) (*Staged, error) {
	l = l.withDefaults()
	var last error
	for range 2 {
		st, err := s.add(ctx, hostPath, l)
		if err == nil || !errors.Is(err, errMoved) {
			return st, err
		}
		last = err
	}
	return nil, last
}

var errMoved = errors.New("it changed while it was copied")

func (s *Stage) add(ctx context.Context, hostPath string, l Limits) (*Staged, error) {
	src, err := openSource(hostPath, l)
	if err != nil {
		return nil, err
	}
	defer src.close()
	digest := src.digest()
	lock, err := s.lockShared(digest)
	if err != nil {
		return nil, err
	}
	out := &Staged{Digest: digest, Path: filepath.Join(s.dir, digest), lock: lock}
	if _, err := os.Lstat(out.Path); err == nil {
		out.Reused = true
		_, out.Bytes, out.Skipped = src.plan()
	} else if err := s.build(ctx, src, out); err != nil {
		out.Close()
		return nil, fmt.Errorf("cannot stage %q: %w", hostPath, err)
	}
	if src.file != nil {
		out.Path = filepath.Join(out.Path, stagedFile)
	}
	return out, nil
}

// build copies into a directory of its own and renames it: what has the
// digest's name is whole.
func (s *Stage) build(ctx context.Context, src *source, out *Staged) error {
	partial := filepath.Join(s.dir, partialPrefix+rand.Text())
	if err := os.Mkdir(partial, 0o700); err != nil {
		return err
	}
	defer removeTree(partial) // of no effect after the rename
	dest, err := openExisting(partial)
	if err != nil {
		return err
	}
	defer dest.Close()
	if err := src.copyInto(ctx, dest, out); err != nil {
		return err
	}
	if again, err := src.again(); err != nil || again != out.Digest {
		return errors.Join(errMoved, err)
	}
	if err := sys.Fchmod(dest.fd, 0o555); err != nil {
		return err
	}
	err = os.Rename(partial, out.Path)
	if errors.Is(err, fs.ErrExist) || errors.Is(err, syscall.ENOTEMPTY) {
		out.Reused = true // someone else was faster
		return nil
	}
	return err
}

// lockShared marks a digest as in use. The lock file may be removed by Prune
// between the open and the lock; then there is another one, or none.
func (s *Stage) lockShared(digest string) (int, error) {
	path := filepath.Join(s.dir, digest+lockSuffix)
	for {
		fd, err := syscall.Open(path, syscall.O_RDWR|syscall.O_CREAT|syscall.O_CLOEXEC|syscall.O_NOFOLLOW, 0o600)
		if err != nil {
			return -1, fmt.Errorf("cannot lock the shared input: %w", err)
		}
		if err := sys.Flock(fd, syscall.LOCK_SH); err != nil {
			sys.CloseFD(fd)
			return -1, fmt.Errorf("cannot lock the shared input: %w", err)
		}
		var held, named syscall.Stat_t
		if sys.Fstat(fd, &held) == nil && syscall.Lstat(path, &named) == nil && held.Ino == named.Ino && held.Dev == named.Dev {
			now := time.Now()
			_ = os.Chtimes(path, now, now) // the last use, for Prune
			return fd, nil
		}
		sys.CloseFD(fd)
	}
}

// Prune removes the copies that nobody uses and nobody has taken for the given
// time, and what a process that died while it copied left behind.
func (s *Stage) Prune(unused time.Duration) (removed int, err error) {
	list, err := os.ReadDir(s.dir)
	if err != nil {
		return 0, fmt.Errorf("cannot list the shared inputs: %w", err)
	}
	for _, item := range list {
		name := item.Name()
		path := filepath.Join(s.dir, name)
		if strings.HasPrefix(name, partialPrefix) {
			if info, e := item.Info(); e == nil && time.Since(info.ModTime()) > max(unused, time.Hour) {
				err = errors.Join(err, removeTree(path))
			}
			continue
		}
		digest, isLock := strings.CutSuffix(name, lockSuffix)
		if !isLock {
			continue
		}
		done, e := s.pruneOne(digest, unused)
		if done {
			removed++
		}
		err = errors.Join(err, e)
	}
	return removed, err
}

// pruneOne removes one copy if its lock is free.
func (s *Stage) pruneOne(digest string, unused time.Duration) (bool, error) {
	path := filepath.Join(s.dir, digest+lockSuffix)
	fd, err := syscall.Open(path, syscall.O_RDWR|syscall.O_CLOEXEC|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return false, nil // another Prune was here
	}
	defer sys.CloseFD(fd)
	if sys.Flock(fd, syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		return false, nil
	}
	var st syscall.Stat_t
	if err := sys.Fstat(fd, &st); err != nil || time.Since(time.Unix(0, st.Mtim.Nano())) < unused {
		return false, err
	}
	// The copy loses its name first, so that no half of it is ever reused, and
	// the lock goes last: whoever waits for it finds that it has no name any
	// more, and begins again.
	partial := filepath.Join(s.dir, partialPrefix+rand.Text())
	err = os.Rename(filepath.Join(s.dir, digest), partial)
	switch {
	case err == nil:
		err = removeTree(partial)
	case errors.Is(err, fs.ErrNotExist): // its maker failed
		err = nil
	}
	if err == nil {
		err = os.Remove(path)
	}
	return err == nil, err
}

// removeTree removes a directory of our own, of read-only directories too.
func removeTree(path string) error {
	d, err := openExisting(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer d.Close()
	_ = sys.Fchmod(d.fd, 0o700)
	if err := d.Empty(context.Background()); err != nil {
		return err
	}
	return os.Remove(path)
}
