package workspace

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"syscall"

	"github.com/cellblock/cellblock/internal/sys"
)

// removedPrefix begins the name of a directory on its way out.
const removedPrefix = ".cellblock-removed-"

// Empty removes everything in d. Depth is no matter: directories below the
// second level are first moved up to the top, so that one descriptor at a time
// is open and no path is longer than a name. A tree that nobody may read (mode
// 000) goes as well, for root or its owner. Links are removed, never followed;
// nothing on another mount is touched.
func (d *Dir) Empty(ctx context.Context) error {
	d.listing.Lock()
	defer d.listing.Unlock()
	d.mu.RLock()
	defer d.mu.RUnlock()
	e := emptier{top: d.fd, buf: make([]byte, 32<<10)}
	for {
		left, err := e.level(ctx, d.fd, true)
		if err != nil {
			return fmt.Errorf("cannot empty the directory: %w", err)
		}
		if left == 0 {
			return nil
		}
	}
}

type emptier struct {
	top int
	buf []byte
}

// level takes away what one listing of the open directory fd shows, and returns
// how many names it dealt with. At the top directories are emptied; below it
// they are moved to the top.
func (e *emptier) level(ctx context.Context, fd int, top bool) (int, error) {
	type item struct {
		name string
		dir  bool
	}
	if _, err := sys.Lseek(fd, 0, 0); err != nil {
		return 0, err
	}
	var items []item
	for len(items) < 4096 {
		n, err := sys.Getdents(fd, e.buf)
		if err != nil {
			return 0, err
		}
		if n <= 0 {
			break
		}
		for rest := e.buf[:n]; len(rest) > 0; {
			name, kind, more := nextDirent(rest)
			if name == nil {
				return 0, errors.New("cannot make sense of the kernel's directory entries")
			}
			rest = more
			if text := string(name[:len(name)-1]); badName(text) == "" {
				items = append(items, item{text, kind == syscall.DT_DIR || kind == syscall.DT_UNKNOWN})
			}
		}
	}
	for _, it := range items {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		var err error
		if it.dir {
			err = e.dir(ctx, fd, it.name, top)
		}
		if !it.dir || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ELOOP) {
			err = sys.Unlinkat(fd, it.name, 0)
		}
		if err != nil && !errors.Is(err, syscall.ENOENT) {
			return 0, err
		}
	}
	return len(items), nil
}

// dir deals with one directory: removes it if it is empty, otherwise empties it
// (at the top) or moves it there.
func (e *emptier) dir(ctx context.Context, fd int, name string, top bool) error {
	err := sys.Unlinkat(fd, name, sys.AtRemovedir)
	if !errors.Is(err, syscall.ENOTEMPTY) && !errors.Is(err, syscall.EACCES) {
		return err
	}
	sub, err := openToEmpty(fd, name)
	if err != nil {
		return err
	}
	defer sys.CloseFD(sub)
	if !top {
		return sys.Renameat(fd, name, e.top, removedPrefix+rand.Text())
	}
	for {
		n, err := e.level(ctx, sub, false)
		if err != nil {
			return err
		}
		if n == 0 {
			return sys.Unlinkat(fd, name, sys.AtRemovedir)
		}
	}
}

// openToEmpty opens a directory for listing and sees that its owner may change
// it. Without the right to open it, it is reached by a descriptor that needs
// none; the magic link of that descriptor names this very directory, whatever
// has its name by now.
func openToEmpty(fd int, name string) (int, error) {
	how := sys.OpenHow{Flags: syscall.O_RDONLY | syscall.O_DIRECTORY | openFlags, Resolve: strict}
	sub, err := sys.Openat2(fd, name, how)
	if errors.Is(err, syscall.EACCES) {
		path, err := openRef(fd, name)
		if err != nil {
			return -1, err
		}
		defer sys.CloseFD(path)
		if err := syscall.Chmod("/proc/self/fd/"+strconv.Itoa(path), 0o700); err != nil {
			return -1, err
		}
		if sub, err = sys.Openat2(path, ".", how); err != nil {
			return -1, err
		}
	} else if err != nil {
		return -1, err
	}
	if err := sys.Fchmod(sub, 0o700); err != nil && !errors.Is(err, syscall.EPERM) {
		sys.CloseFD(sub)
		return -1, err
	}
	return sub, nil
}
