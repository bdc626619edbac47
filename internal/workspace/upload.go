package workspace

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/cellblock/cellblock/internal/sys"
)

// Writer writes into the workspace. It is the cell's init that does so, inside
// the cell and charged to it, on bytes that come through a pipe.
type Writer interface {
	// WriteFile makes or replaces a file of exactly size bytes, with the
	// directories above it. mode is 0644 or 0755. An error of r ends it and
	// must leave no file.
	WriteFile(ctx context.Context, path string, mode uint32, size int64, r io.Reader) error
	MkdirAll(ctx context.Context, path string) error
	Remove(ctx context.Context, path string) error
}

// Upload is a regular file of the host on its way into a workspace.
type Upload struct {
	Path string // in the workspace
	Size int64  // when it was listed; what Open gives is what is sent
	Mode uint32 // 0644, or 0755 when someone may execute it

	open func() (*File, error)
}

// Open opens the file; it is regular, or there is an error.
func (u Upload) Open() (*File, error) { return u.open() }

// uploadMode is the mode of a file in the workspace.
func uploadMode(mode uint32) uint32 {
	if mode&0o111 != 0 {
		return 0o755
	}
	return 0o644
}

// Plan lists the files of a folder that are new or differ from what was last
// seen, sorted by path. now and last are snapshots of d. What is gone from the
// folder is no upload: it stays in the workspace.
func (d *Dir) Plan(now, last Snapshot) []Upload {
	var out []Upload
	for _, e := range now.Files {
		if old, ok := last.find(e.Path); ok && old == e || isReserved(e.Path) {
			continue
		}
		out = append(out, d.upload(e, e.Path))
	}
	return out
}

func (d *Dir) upload(e Entry, path string) Upload {
	return Upload{
		Path: path, Size: e.Size, Mode: uploadMode(e.Mode),
		open: func() (*File, error) { return d.OpenFile(e.Path) },
	}
}

// HostFile is the upload of one file of the host that the caller chose; name is
// checked by CheckPath, and the path may go through symbolic links.
func HostFile(path, name string) (Upload, error) {
	clean, err := CheckPath(name)
	if err != nil {
		return Upload{}, err
	}
	f, err := openTrusted(path)
	if err != nil {
		return Upload{}, err
	}
	defer f.Close()
	return Upload{
		Path: clean, Size: f.Size, Mode: uploadMode(f.Mode),
		open: func() (*File, error) { return openTrusted(path) },
	}, nil
}

// openTrusted opens a regular file by a path that the caller of Cellblock gave.
func openTrusted(path string) (*File, error) {
	fd, err := sys.Open(path, syscall.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	return newFile(fd, path)
}

// CollectTree lists a directory of the host that is to be copied into the
// workspace as name ("" for its top). The directory is trusted as such, but a
// link in it leads out just as well: a symbolic link to a file inside is
// collected as that file, and one to a directory, to the outside or to nothing
// is skipped, as are FIFOs, sockets, devices and what lies beyond the limits.
// Close the tree when its uploads are done.
func CollectTree(dir, name string, l Limits) (*Tree, error) {
	if name != "" {
		clean, err := CheckPath(name)
		if err != nil {
			return nil, err
		}
		name = clean
	}
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot read the directory: %w", err)
	}
	d, err := openExisting(real)
	if err != nil {
		return nil, err
	}
	t := &Tree{dir: d}
	if err := t.collect(name, l.withDefaults()); err != nil {
		d.Close()
		return nil, err
	}
	return t, nil
}

// Tree is a directory of the host, listed for uploading.
type Tree struct {
	Uploads []Upload
	Dirs    []string // in the workspace
	Skipped []Skipped
	Bytes   int64

	dir *Dir
}

// Close gives the tree's descriptor back; its uploads cannot be opened then.
func (t *Tree) Close() error { return t.dir.Close() }

func (t *Tree) collect(name string, l Limits) error {
	snap, err := t.dir.Snapshot(l)
	if err != nil {
		return err
	}
	t.Skipped = append(t.Skipped, snap.Unread...)
	for _, p := range snap.Dirs {
		t.Dirs = append(t.Dirs, join(name, p))
	}
	if name != "" {
		t.Dirs = append([]string{name}, t.Dirs...)
	}
	for _, e := range snap.Files {
		t.add(t.dir.upload(e, join(name, e.Path)), e.Path, l)
	}
	for _, o := range snap.Others {
		if !o.Link {
			t.Skipped = append(t.Skipped, Skipped{Path: o.Path, Why: whyNotRegular})
			continue
		}
		f, err := t.dir.openLinkTarget(o.Path)
		if err != nil {
			t.Skipped = append(t.Skipped, Skipped{Path: o.Path, Why: whyLinkTarget(err)})
			continue
		}
		u := Upload{
			Path: join(name, o.Path), Size: f.Size, Mode: uploadMode(f.Mode),
			open: func() (*File, error) { return t.dir.openLinkTarget(o.Path) },
		}
		f.Close()
		t.add(u, o.Path, l)
	}
	slices.SortFunc(t.Uploads, func(a, b Upload) int { return strings.Compare(a.Path, b.Path) })
	return nil
}

func (t *Tree) add(u Upload, path string, l Limits) {
	switch {
	case u.Size > l.FileBytes:
		t.Skipped = append(t.Skipped, Skipped{Path: path, Why: whyFileSize(u.Size, l.FileBytes)})
	case u.Size > l.TotalBytes-t.Bytes:
		t.Skipped = append(t.Skipped, Skipped{Path: path, Why: whyTotal})
	default:
		t.Uploads = append(t.Uploads, u)
		t.Bytes += u.Size
	}
}

// linkTries is how often a link is followed whose ".." met a rename or a mount anywhere
// on the host: the kernel then cannot say that the path stays beneath (openat2(2), EAGAIN).
const linkTries = 100

// openLinkTarget opens the regular file that a symbolic link leads to, as long
// as every step stays beneath d.
func (d *Dir) openLinkTarget(path string) (*File, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	var fd int
	var err error
	for range linkTries {
		fd, err = sys.Openat2(d.fd, path, sys.OpenHow{
			Flags:   syscall.O_RDONLY | openFlags&^syscall.O_NOFOLLOW,
			Resolve: sys.ResolveBeneath | sys.ResolveNoMagiclinks | sys.ResolveNoXdev,
		})
		if !errors.Is(err, syscall.EAGAIN) {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("cannot open what %s leads to: %w", Quote(path), err)
	}
	return newFile(fd, path)
}

func whyLinkTarget(err error) string {
	switch {
	case errors.Is(err, syscall.EXDEV):
		return "a symbolic link that leads out of the directory"
	case errors.Is(err, syscall.ENOENT):
		return "a symbolic link to nothing"
	case errors.Is(err, syscall.ELOOP):
		return "a symbolic link that leads in a circle"
	case errors.Is(err, ErrNotRegular):
		return "a symbolic link to something that is no regular file"
	}
	why, _, _ := whyOpen(err)
	return "a symbolic link: " + why
}
