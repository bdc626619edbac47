package workspace

import (
	"fmt"
	"slices"
	"syscall"

	"github.com/cellblock/cellblock/internal/foreign"
	"github.com/cellblock/cellblock/internal/sys"
	"github.com/cellblock/cellblock/internal/weaken"
)

// Source is where the content of a File comes from that has no descriptor of its own.
type Source interface {
	// ReadAt may read less than it was asked for; nothing without an error is the end.
	ReadAt(p []byte, off int64) (int, error)
	// Now describes the file as it is now.
	Now() (Entry, error)
	// Close may come in the middle of ReadAt, which then fails with fs.ErrClosed.
	Close() error
}

// NewFile is a File whose content comes from elsewhere.
func NewFile(e Entry, from Source) *File { return &File{Entry: e, from: from} }

// GivenUpload is the upload of a file that somebody else has opened, who may be after
// no good; fd must stay open until it is done. What is not to be had of the file in
// time is foreign.ErrNoAnswer. It is never opened anew: who gave it may hold no more
// than a name of what only this process may read (O_PATH).
func GivenUpload(fd int, name string) (Upload, error) {
	clean, err := CheckPath(name)
	if err != nil {
		return Upload{}, err
	}
	f, err := openGiven(fd, clean)
	if err != nil {
		return Upload{}, err
	}
	f.Close()
	return Upload{
		Path: clean, Size: f.Size, Mode: uploadMode(f.Mode),
		open: func() (*File, error) { return openGiven(fd, clean) },
	}, nil
}

func openGiven(fd int, path string) (*File, error) {
	if weaken.Layer("given-as-opened") {
		anew, err := sys.Open(fmt.Sprintf("/proc/self/fd/%d", fd), syscall.O_RDONLY|syscall.O_NONBLOCK, 0)
		if err != nil {
			return nil, err
		}
		defer sys.CloseFD(anew)
		fd = anew
	}
	own, err := foreign.Copy(fd)
	if err != nil {
		return nil, fmt.Errorf("cannot open %s: %w", Quote(path), err)
	}
	fsType, e, err := inspect(own, path)
	if err == nil && slices.Contains(ofTheKernel, fsType) && !weaken.Layer("given-of-the-kernel") {
		err = fmt.Errorf("cannot open %s: %w: it is of a file system in which the kernel answers", Quote(path), ErrNotRegular)
	}
	if err != nil {
		own.Close()
		return nil, err
	}
	return NewFile(e, &given{file: own, path: path}), nil
}

// ofTheKernel are the file systems (linux/magic.h) whose regular files are answers of
// the kernel, or of a driver: it may answer this process what it does not answer who
// opened the file, and reads of some wait for an event.
var ofTheKernel = []int64{
	0x9fa0,     // proc: stat, syscall, io of another process
	0x62656572, // sysfs
	0x64626720, // debugfs
	0x74726163, // tracefs: trace_pipe
	0x73636673, // securityfs
	0x62656570, // configfs
	0x27e0eb,   // cgroup
	0x63677270, // cgroup2
	0xcafe4a11, // bpf
	0x6165676c, // pstore
	0xde5e81e4, // efivarfs
	0x19800202, // mqueue
	0xa647361,  // functionfs: the endpoints of a USB gadget
	0x7655821,  // resctrl
	0x42494e4d, // binfmt_misc
}

// inspect is regular for a given file, and the type of its file system.
func inspect(f *foreign.File, path string) (fsType int64, e Entry, err error) {
	var fs syscall.Statfs_t
	var entry Entry
	var failed error
	err = f.Do(func(fd int) {
		if entry, failed = regular(fd, path); failed == nil {
			failed = sys.Fstatfs(fd, &fs)
		}
	})
	if err != nil { // the call may still write to what it was to fill
		return 0, Entry{}, fmt.Errorf("cannot open %s: %w", Quote(path), err)
	}
	return int64(fs.Type), entry, failed
}

// given is the Source that a foreign file is.
type given struct {
	file *foreign.File
	path string
	into []byte // what was read into before
}

// ReadAt reads into a buffer of its own: a call that is given up may still write there.
func (g *given) ReadAt(p []byte, off int64) (int, error) {
	const most = 256 << 10
	size := min(len(p), most)
	if len(g.into) < size {
		g.into = make([]byte, size)
	}
	var n int
	var failed error
	into := g.into[:size]
	if err := g.file.Do(func(fd int) { n, failed = sys.Pread(fd, into, off) }); err != nil {
		g.into = nil
		return 0, fmt.Errorf("cannot read %s: %w", Quote(g.path), err)
	}
	return copy(p, into[:n]), failed
}

func (g *given) Now() (Entry, error) {
	_, e, err := inspect(g.file, g.path)
	return e, err
}

func (g *given) Close() error {
	g.file.Close()
	return nil
}
