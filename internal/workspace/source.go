package workspace

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/cellblock/cellblock/internal/sys"
)

// source is what is to be staged: a tree, or one file.
type source struct {
	limits Limits
	path   string
	dir    *Dir
	snap   Snapshot
	links  map[string]string // of the tree's symbolic links: what they say
	file   *File
}

func openSource(path string, l Limits) (*source, error) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the input: %w", err)
	}
	info, err := os.Lstat(real)
	if err != nil {
		return nil, fmt.Errorf("cannot read the input: %w", err)
	}
	src := &source{limits: l, path: real}
	if !info.IsDir() {
		src.file, err = openTrusted(real)
		return src, err
	}
	if src.dir, err = openExisting(real); err != nil {
		return nil, err
	}
	if err := src.list(); err != nil {
		src.close()
		return nil, err
	}
	return src, nil
}

func (s *source) close() {
	if s.dir != nil {
		s.dir.Close()
	}
	if s.file != nil {
		s.file.Close()
	}
}

func (s *source) list() (err error) {
	if s.snap, err = s.dir.Snapshot(s.limits); err != nil {
		return err
	}
	s.links = map[string]string{}
	for _, o := range s.snap.Others {
		if !o.Link {
			continue
		}
		if to, err := s.dir.readLink(o.Path); err == nil {
			s.links[o.Path] = to
		}
	}
	return nil
}

// digest names this version of the source. The limits belong to it, because
// they decide what is left out.
func (s *source) digest() string {
	h := sha256.New()
	fmt.Fprintf(h, "cellblock input 1 %d %d %d %d\n", s.limits.FileBytes, s.limits.TotalBytes, s.limits.Entries, s.limits.Depth)
	line := func(kind string, e Entry) {
		fmt.Fprintf(h, "%s %q %d %d %d %d %d %o\n", kind, e.Path, e.Size, e.Mtime, e.Ctime, e.Ino, e.Dev, e.Mode)
	}
	if s.file != nil {
		e := s.file.Entry
		e.Path = ""
		line("file", e)
		return hex.EncodeToString(h.Sum(nil))
	}
	for _, d := range s.snap.Dirs {
		line("dir", Entry{Path: d})
	}
	for _, e := range s.snap.Files {
		line("file", e)
	}
	for _, o := range s.snap.Others {
		fmt.Fprintf(h, "other %q %t %q\n", o.Path, o.Link, s.links[o.Path])
	}
	for _, u := range s.snap.Unread {
		fmt.Fprintf(h, "unread %q %q\n", u.Path, u.Why)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// again is the digest of the source as it is now.
func (s *source) again() (string, error) {
	now, err := openSource(s.path, s.limits)
	if err != nil {
		return "", err
	}
	defer now.close()
	return now.digest(), nil
}

// plan decides, from the listing alone, which files are taken.
func (s *source) plan() (files []Entry, bytes int64, skipped []Skipped) {
	if s.file != nil {
		return nil, s.file.Size, nil
	}
	skipped = append(skipped, s.snap.Unread...)
	for _, e := range s.snap.Files {
		switch {
		case e.Size > s.limits.FileBytes:
			skipped = append(skipped, Skipped{Path: e.Path, Why: whyFileSize(e.Size, s.limits.FileBytes)})
		case e.Size > s.limits.TotalBytes-bytes:
			skipped = append(skipped, Skipped{Path: e.Path, Why: whyTotal})
		default:
			files = append(files, e)
			bytes += e.Size
		}
	}
	for _, o := range s.snap.Others {
		if !o.Link {
			skipped = append(skipped, Skipped{Path: o.Path, Why: whyNotRegular})
		} else if to, ok := s.links[o.Path]; !ok || !staysInside(o.Path, to) {
			skipped = append(skipped, Skipped{Path: o.Path, Why: "a symbolic link that leads out of the directory"})
		}
	}
	return files, bytes, skipped
}

func (s *source) copyInto(ctx context.Context, dest *Dir, out *Staged) error {
	if s.file != nil {
		if s.file.Size > s.limits.FileBytes {
			return errors.New(whyFileSize(s.file.Size, s.limits.FileBytes))
		}
		out.Bytes = s.file.Size
		return copyStaged(ctx, s.file, dest.fd, stagedFile)
	}
	var files []Entry
	files, out.Bytes, out.Skipped = s.plan()
	c := newCopier(s.dir, dest, s.limits)
	defer c.close()
	for _, d := range s.snap.Dirs {
		if err := c.makeDirs(d); err != nil {
			return err
		}
	}
	for _, e := range files {
		dir, name := split(e.Path)
		if err := c.enter(dir, true); err != nil {
			return err
		}
		f, err := s.dir.OpenFile(e.Path)
		if err != nil {
			if why, gone, _ := whyOpen(err); !gone && why != whyNotRegular && why != whyThrough {
				out.Skipped = append(out.Skipped, Skipped{Path: e.Path, Why: why})
				out.Bytes -= e.Size
				continue
			}
			return errors.Join(errMoved, err)
		}
		if f.Entry != e {
			err = errMoved
		} else {
			err = copyStaged(ctx, f, c.parentFD, name)
		}
		f.Close()
		if err != nil {
			return err
		}
	}
	for path, to := range s.links {
		if !staysInside(path, to) {
			continue
		}
		dir, name := split(path)
		if err := c.enter(dir, true); err != nil {
			return err
		}
		if err := sys.Symlinkat(to, c.parentFD, name); err != nil {
			return err
		}
	}
	for _, d := range s.snap.Dirs { // last: root aside, nothing is made in them any more
		fd, err := dest.openDir(d)
		if err != nil {
			return err
		}
		err = sys.Fchmod(fd, 0o555)
		sys.CloseFD(fd)
		if err != nil {
			return err
		}
	}
	return nil
}

// copyStaged copies one file, sharing its blocks where that is possible.
func copyStaged(ctx context.Context, src *File, dirfd int, name string) error {
	fd, err := sys.Openat2(dirfd, name, sys.OpenHow{
		Flags:   syscall.O_WRONLY | syscall.O_CREAT | syscall.O_EXCL | openFlags,
		Mode:    0o600,
		Resolve: strict,
	})
	if err != nil {
		return err
	}
	defer sys.CloseFD(fd)
	if err := cloneData(ctx, src, fd); err != nil {
		return err
	}
	mode := uint32(0o444)
	if src.Mode&0o111 != 0 {
		mode = 0o555
	}
	return sys.Fchmod(fd, mode)
}

// cloneData is copyData inside the kernel, where source and destination allow.
// The source is a file of the host's: none of a cell gets here.
func cloneData(ctx context.Context, src *File, dst int) error {
	const piece = 64 << 20 // between two looks at ctx
	for at := int64(0); at < src.Size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := sys.CopyFileRange(src.fd, at, dst, at, int(min(src.Size-at, piece)))
		if at == 0 && (err != nil || n == 0) {
			_, err = copyData(ctx, src, dst, time.Now().Add(24*time.Hour)) // ctx is the limit here
			return err
		}
		if err != nil {
			return err
		}
		if n == 0 {
			return errMoved
		}
		at += int64(n)
	}
	return nil
}

// staysInside says whether a link at path that says to leads to a place inside
// the tree. Steps up may only come first: they then start from the link's real
// directory, whatever other links the rest goes through.
func staysInside(path, to string) bool {
	if to == "" || strings.HasPrefix(to, "/") {
		return false
	}
	up := strings.Count(path, "/")
	leading := true
	for _, name := range strings.Split(to, "/") {
		switch name {
		case "..":
			if up--; !leading || up < 0 {
				return false
			}
		case "", ".":
		default:
			leading = false
		}
	}
	return true
}

// readLink returns what the symbolic link at path says.
func (d *Dir) readLink(path string) (string, error) {
	dir, name := split(path)
	d.mu.RLock()
	defer d.mu.RUnlock()
	fd, err := d.refDir(dir)
	if err != nil {
		return "", err
	}
	defer sys.CloseFD(fd)
	return sys.Readlinkat(fd, name)
}
