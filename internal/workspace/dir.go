package workspace

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/cellblock/cellblock/internal/sys"
)

// strict is how every path below a directory is walked. No path of ours has a
// ".." in it, so that the kernel's EAGAIN for a rename that raced with one
// cannot occur.
const strict = sys.ResolveBeneath | sys.ResolveNoSymlinks | sys.ResolveNoMagiclinks | sys.ResolveNoXdev

// openFlags keep an open from blocking (FIFO, lease), from following a link at
// the end, from taking a terminal, and from reaching a child.
const openFlags = syscall.O_NONBLOCK | syscall.O_NOFOLLOW | syscall.O_NOCTTY | syscall.O_CLOEXEC

// Dir is a directory that is reached through its descriptor only: a cell's
// workspace or a folder of the host. It is safe for concurrent use.
type Dir struct {
	listing sync.Mutex // held while the offset of fd is in use
	files   int        // how many the last listing found

	mu sync.RWMutex // held for reading while fd is in use, for writing to close it
	fd int

	lent Lent
}

// Open makes a Dir of the directory that fd refers to; fd may be one of
// fsmount(2) or O_PATH and stays the caller's. It fails with ErrNoOpenat2 where
// the kernel lacks the call.
func Open(fd int) (*Dir, error) {
	own, err := sys.Openat2(fd, ".", sys.OpenHow{
		Flags:   syscall.O_RDONLY | syscall.O_DIRECTORY | openFlags,
		Resolve: strict,
	})
	if err != nil {
		if errors.Is(err, syscall.ENOSYS) {
			err = ErrNoOpenat2
		}
		return nil, fmt.Errorf("cannot open the workspace: %w", err)
	}
	return &Dir{fd: own}, nil
}

// OpenFolder makes a Dir of a folder of the host, which is created when it is
// missing. The path to the folder is the caller's and trusted, but the folder
// itself must not be a symbolic link.
func OpenFolder(path string) (*Dir, error) {
	if err := sys.MkdirAll(path, 0o755); err != nil {
		return nil, fmt.Errorf("cannot make the folder %q: %w", path, err)
	}
	return openExisting(path)
}

func openExisting(path string) (*Dir, error) {
	// Clean, because "link/" would follow the link.
	fd, err := sys.Open(filepath.Clean(path), syscall.O_RDONLY|syscall.O_DIRECTORY|openFlags, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot open the folder %q: %w", path, err)
	}
	defer sys.CloseFD(fd)
	d, err := Open(fd)
	if err != nil {
		return nil, fmt.Errorf("cannot use the folder %q: %w", path, err)
	}
	return d, nil
}

// Close gives the descriptor back, and those of files that were lent. Calls after
// it fail with EBADF.
func (d *Dir) Close() error {
	err := d.lent.End()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fd < 0 {
		return err
	}
	fd := d.fd
	d.fd = -1
	return errors.Join(err, sys.CloseFD(fd))
}

// openBeneath opens path, which must have passed checkRaw. The caller holds mu.
func (d *Dir) openBeneath(path string, flags int, mode uint32) (int, error) {
	return sys.Openat2(d.fd, path, sys.OpenHow{
		Flags:   uint64(flags | openFlags),
		Mode:    uint64(mode),
		Resolve: strict,
	})
}

// openDir opens a directory for listing.
func (d *Dir) openDir(path string) (int, error) {
	return d.openBeneath(dotted(path), syscall.O_RDONLY|syscall.O_DIRECTORY, 0)
}

// refDir opens a directory for use in *at calls; that needs no right to list it.
func (d *Dir) refDir(path string) (int, error) { return openRef(d.fd, dotted(path)) }

// openRef is apart because openat2 takes hardly a flag beside O_PATH.
func openRef(dirfd int, path string) (int, error) {
	return sys.Openat2(dirfd, path, sys.OpenHow{
		Flags:   sys.OPath | syscall.O_DIRECTORY | syscall.O_NOFOLLOW | syscall.O_CLOEXEC,
		Resolve: strict,
	})
}

// dotted is path as a system call takes it.
func dotted(path string) string {
	if path == "" {
		return "."
	}
	return path
}

// OpenFile opens a regular file for reading. Links, FIFOs, sockets and devices
// give an error that is ErrNotRegular or that of the kernel; no call blocks.
func (d *Dir) OpenFile(path string) (*File, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.openFile(path)
}

// Lend is OpenFile for who reads in his own time: the file is closed with the Dir.
func (d *Dir) Lend(path string) (*File, error) {
	f, err := d.OpenFile(path)
	if err != nil {
		return nil, err
	}
	if err := d.lent.Add(f); err != nil {
		return nil, err
	}
	return f, nil
}

// openFile is OpenFile for a caller that holds mu.
func (d *Dir) openFile(path string) (*File, error) {
	if err := checkRaw(path); err != nil {
		return nil, err
	}
	fd, err := d.openBeneath(path, syscall.O_RDONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot open %s: %w", Quote(path), err)
	}
	return newFile(fd, path)
}

// newFile takes fd, which it closes when it is not a regular file.
func newFile(fd int, path string) (*File, error) {
	e, err := regular(fd, path)
	if err != nil {
		sys.CloseFD(fd)
		return nil, err
	}
	return &File{fd: fd, Entry: e}, nil
}

// regular describes fd, which has to be a regular file.
func regular(fd int, path string) (Entry, error) {
	var st syscall.Stat_t
	err := sys.Fstat(fd, &st)
	if err == nil && st.Mode&syscall.S_IFMT != syscall.S_IFREG {
		err = ErrNotRegular
	}
	if err != nil {
		return Entry{}, fmt.Errorf("cannot open %s: %w", Quote(path), err)
	}
	return entryOf(path, &st), nil
}

// File is a regular file opened for reading. Read ends at the size the file
// had when it was opened, however much it has grown. It offers no descriptor:
// sendfile and splice would fill holes of a tmpfs with pages, and a mapping
// would fault when the cell truncates. It is not safe for concurrent use, but for
// Close.
type File struct {
	Entry // as it was when opened

	off  int64
	lent *Lent  // nil: to nobody
	from Source // in place of fd; nil: what is read is fd

	mu sync.Mutex // held while fd is in use
	fd int        // -1: closed
}

// Read implements io.Reader.
func (f *File) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	p = p[:max(min(int64(len(p)), f.Size-f.off), 0)]
	if len(p) == 0 {
		return 0, io.EOF
	}
	n, err := f.readAt(p, f.off)
	f.off += int64(n)
	if err == nil && n == 0 {
		err = io.EOF
	}
	return n, err
}

func (f *File) readAt(p []byte, off int64) (int, error) {
	if f.from != nil {
		return f.from.ReadAt(p, off)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fd < 0 {
		return 0, fmt.Errorf("cannot read %s: %w", Quote(f.Path), fs.ErrClosed)
	}
	return sys.Pread(f.fd, p, off)
}

// Seek implements io.Seeker.
func (f *File) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += f.off
	case io.SeekEnd:
		offset += f.Size
	}
	if offset < 0 {
		return f.off, fmt.Errorf("cannot seek before the start of %s", Quote(f.Path))
	}
	f.off = offset
	return offset, nil
}

// Changed says whether the file is no longer what it was when it was opened.
func (f *File) Changed() bool {
	if f.from != nil {
		now, err := f.from.Now()
		return err != nil || now != f.Entry
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var st syscall.Stat_t
	return sys.Fstat(f.fd, &st) != nil || entryOf(f.Path, &st) != f.Entry
}

// Close gives the descriptor back; once more, it does nothing.
func (f *File) Close() error {
	f.mu.Lock()
	fd := f.fd
	f.fd = -1
	f.mu.Unlock()
	if fd < 0 {
		return nil
	}
	if f.lent != nil {
		f.lent.forget(f)
	}
	if f.from != nil {
		return f.from.Close()
	}
	return sys.CloseFD(fd)
}
