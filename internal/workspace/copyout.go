package workspace

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/cellblock/cellblock/internal/sys"
)

// Report is what a copy did.
type Report struct {
	Copied  []string
	Deleted []string
	Skipped []Skipped
	Bytes   int64
}

// CopyOut carries changes of d out to dest: created and changed files are
// written there as they are now, deleted ones are removed. In dest nothing is
// followed and nothing is written through: a file is written under a name of its
// own and renamed into place, so that a link at its name is replaced and the
// link's target untouched. Modes are 0644, or 0755 for a file that someone may
// execute, under the umask; owner and group are the process's own; holes stay holes.
//
// What cannot be copied is in Report.Skipped. An error means that the rest was
// not tried: the context is done, or dest takes no more (full, read-only).
func (d *Dir) CopyOut(ctx context.Context, changes []Change, dest *Dir, l Limits) (Report, error) {
	c := newCopier(d, dest, l)
	defer c.close()
	for _, deleting := range []bool{true, false} { // a file's name may be a directory's now
		for _, change := range changes {
			if (change.Kind == Deleted) != deleting {
				continue
			}
			var err error
			if deleting {
				err = c.remove(change.Path)
			} else {
				_, err = c.copy(ctx, change.Path)
			}
			if err != nil {
				return c.report, err
			}
		}
	}
	return c.report, nil
}

// copier writes files of src beneath dest. It keeps the last directory of dest
// open, because sorted paths come with their neighbours.
type copier struct {
	src, dest *Dir
	limits    Limits
	deadline  time.Time
	report    Report

	parent   string
	parentFD int // -1: none
}

func newCopier(src, dest *Dir, l Limits) *copier {
	l = l.withDefaults()
	dest.mu.RLock() // no Close of dest while the copier uses its descriptor
	return &copier{src: src, dest: dest, limits: l, deadline: time.Now().Add(l.Time), parentFD: -1}
}

func (c *copier) close() {
	c.dropParent()
	c.dest.mu.RUnlock()
}

func (c *copier) dropParent() {
	if c.parentFD >= 0 {
		sys.CloseFD(c.parentFD)
	}
	c.parentFD = -1
}

func (c *copier) skip(path, why string, again bool) {
	c.report.Skipped = append(c.report.Skipped, Skipped{path, why, again})
}

// written is a file that the copier put in place.
type written struct {
	host    Entry // as it stands in dest
	settled bool  // nobody wrote to the source meanwhile
}

// copy brings one file over. A nil result without an error means skipped.
func (c *copier) copy(ctx context.Context, path string) (*written, error) {
	if isReserved(path) {
		c.skip(path, whyReserved, false)
		return nil, nil
	}
	src, err := c.src.OpenFile(path)
	if err != nil {
		why, _, again := whyOpen(err)
		c.skip(path, why, again)
		return nil, nil
	}
	defer src.Close()
	return c.put(ctx, src, path)
}

// put writes an open file to path.
func (c *copier) put(ctx context.Context, src *File, path string) (*written, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("cannot copy %s: %w", Quote(path), err)
	}
	if why, again := c.refuse(src.Size); why != "" {
		c.skip(path, why, again)
		return nil, nil
	}
	dir, name := split(path)
	if err := c.enter(dir, true); err != nil {
		return nil, c.failed(path, err)
	}
	host, n, err := c.write(ctx, src, name)
	c.report.Bytes += n
	if err != nil {
		return nil, c.failed(path, err)
	}
	host.Path = path
	c.report.Copied = append(c.report.Copied, path)
	return &written{host: host, settled: !src.Changed()}, nil
}

// refuse says why a file of this size is not copied.
func (c *copier) refuse(size int64) (why string, again bool) {
	switch {
	case size > c.limits.FileBytes:
		return whyFileSize(size, c.limits.FileBytes), false
	case size > c.limits.TotalBytes-c.report.Bytes:
		return whyTotal, true
	case time.Now().After(c.deadline):
		return whyTime, true
	}
	return "", false
}

// errSlow ends a copy whose time is over.
var errSlow = errors.New(whyTime)

// failed decides whether an error of dest or of the data concerns this file
// only (it is reported, and nil returned) or everything that follows.
func (c *copier) failed(path string, err error) error {
	for _, fatal := range []error{
		syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EIO, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM,
		syscall.EBADF, context.Canceled, context.DeadlineExceeded,
	} {
		if errors.Is(err, fatal) {
			return fmt.Errorf("cannot copy %s: %w", Quote(path), err)
		}
	}
	why, again := err.Error(), true
	switch {
	case errors.Is(err, syscall.ELOOP), errors.Is(err, syscall.ENOTDIR):
		why = whyThrough
	case errors.Is(err, syscall.EISDIR), errors.Is(err, syscall.ENOTEMPTY), errors.Is(err, syscall.EEXIST):
		why = "the host has a directory of that name"
	case errors.Is(err, syscall.EXDEV):
		why = "the host has another mount in its way"
	}
	c.skip(path, why, again)
	return nil
}

// write puts the content of src into the open parent under name.
func (c *copier) write(ctx context.Context, src *File, name string) (Entry, int64, error) {
	mode := uint32(0o644)
	if src.Mode&0o111 != 0 {
		mode = 0o755
	}
	temp := tempPrefix + rand.Text()
	fd, err := sys.Openat2(c.parentFD, temp, sys.OpenHow{
		Flags:   syscall.O_WRONLY | syscall.O_CREAT | syscall.O_EXCL | openFlags,
		Mode:    uint64(mode),
		Resolve: strict,
	})
	if err != nil {
		return Entry{}, 0, err
	}
	defer sys.CloseFD(fd)
	n, err := copyData(ctx, src, fd, c.deadline)
	if err == nil {
		err = sys.Renameat(c.parentFD, temp, c.parentFD, name)
	}
	if err != nil {
		sys.Unlinkat(c.parentFD, temp, 0)
		return Entry{}, n, err
	}
	// Of the descriptor, after the rename (which sets ctime): whatever bears the
	// name by now, this is what was written.
	var st syscall.Stat_t
	if err := sys.Fstat(fd, &st); err != nil {
		return Entry{}, n, err
	}
	return entryOf("", &st), n, nil
}

// enter opens the directory of dest that the next file belongs into.
func (c *copier) enter(dir string, create bool) error {
	if c.parentFD >= 0 && c.parent == dir {
		return nil
	}
	c.dropParent()
	fd, err := c.dest.refDir(dir)
	if create && errors.Is(err, syscall.ENOENT) {
		if err := c.makeDirs(dir); err != nil {
			return err
		}
		fd, err = c.dest.refDir(dir)
	}
	if err != nil {
		return err
	}
	c.parent, c.parentFD = dir, fd
	return nil
}

// makeDirs makes dir and what is missing above it.
func (c *copier) makeDirs(dir string) error {
	for i := range len(dir) {
		if dir[i] == '/' {
			if err := c.makeDir(dir[:i]); err != nil {
				return err
			}
		}
	}
	return c.makeDir(dir)
}

// makeDir makes one directory whose parent exists. An existing name is no
// error; whether it is a directory shows when it is opened.
func (c *copier) makeDir(path string) error {
	dir, name := split(path)
	fd, err := c.dest.refDir(dir)
	if err != nil {
		return err
	}
	defer sys.CloseFD(fd)
	if err := sys.Mkdirat(fd, name, 0o755); err != nil && !errors.Is(err, syscall.EEXIST) {
		return err
	}
	return nil
}

// remove deletes one file of dest, never a directory.
func (c *copier) remove(path string) error {
	if err := checkRaw(path); err != nil {
		c.skip(path, err.Error(), false)
		return nil
	}
	dir, name := split(path)
	err := c.enter(dir, false)
	if err == nil {
		err = sys.Unlinkat(c.parentFD, name, 0)
	}
	switch {
	case err == nil:
		c.report.Deleted = append(c.report.Deleted, path)
		return nil
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ENOTDIR):
		return nil // not there: what was wanted
	}
	return c.failed(path, err)
}

// removeDir deletes one directory of dest if it is empty.
func (c *copier) removeDir(path string) {
	dir, name := split(path)
	if c.enter(dir, false) == nil {
		_ = sys.Unlinkat(c.parentFD, name, sys.AtRemovedir) // what is in it is the host's: it stays
	}
}

const copyBuffer = 256 << 10

var copyBuffers = sync.Pool{New: func() any { b := make([]byte, copyBuffer); return &b }}

// copyData writes src into the empty file dst and returns the size dst has
// then. At most src.Size bytes are written, however the source grows; if it
// shrinks, dst ends where it did. Holes stay holes, so that what the host's disk
// loses is what the cell's workspace held. Every step goes forward, so a source
// that changes under it cannot keep it for long.
func copyData(ctx context.Context, src *File, dst int, deadline time.Time) (int64, error) {
	buf := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)

	sparse := src.Blocks*512 < src.Size
	var at, size int64 // how far src is dealt with; where dst ends
	for at < src.Size {
		end := src.Size
		if sparse {
			if at, end = nextData(src, at); at == end {
				break // a hole up to the end
			}
		}
		for at < end {
			if err := ctx.Err(); err != nil {
				return size, err
			}
			if time.Now().After(deadline) {
				return size, errSlow
			}
			n, err := sys.Pread(src.fd, (*buf)[:min(end-at, copyBuffer)], at)
			if err != nil {
				return size, err
			}
			if n == 0 {
				return size, nil // truncated meanwhile
			}
			if err := sys.PwriteAll(dst, (*buf)[:n], at); err != nil {
				return size, err
			}
			at += int64(n)
			size = at
		}
	}
	if size == src.Size {
		return size, nil
	}
	var st syscall.Stat_t // it ends in a hole, or was truncated
	if err := sys.Fstat(src.fd, &st); err != nil {
		return size, err
	}
	if whole := min(st.Size, src.Size); whole > size {
		size = whole
	}
	return size, sys.Ftruncate(dst, size)
}

// nextData finds the next piece of src at or after at that may hold data; an
// empty piece is the end. Where the filesystem cannot tell, all is data.
func nextData(src *File, at int64) (from, to int64) {
	from, err := sys.Lseek(src.fd, at, sys.SeekData)
	if errors.Is(err, syscall.ENXIO) {
		return src.Size, src.Size
	}
	if err != nil || from < at {
		return at, src.Size
	}
	to, err = sys.Lseek(src.fd, from, sys.SeekHole)
	if err != nil || to <= from { // punched between the two calls
		to = from + 4096
	}
	return min(from, src.Size), min(to, src.Size)
}

// ensureDir makes a directory of dest for its own sake.
func (c *copier) ensureDir(path string) error {
	if err := c.makeDirs(path); err != nil {
		return c.failed(path, err)
	}
	return nil
}

// sortDeepestFirst orders directories so that a child comes before its parent.
func sortDeepestFirst(dirs []string) {
	slices.Sort(dirs)
	slices.Reverse(dirs)
}
