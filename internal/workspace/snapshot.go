package workspace

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/cellblock/cellblock/internal/sys"
)

// Entry is a regular file as a listing saw it. Two equal entries are, by all
// that the kernel tells, the same content: ctime cannot be set by a cell. What
// a cell writes through a shared mapping escapes it (tmpfs moves no time then).
type Entry struct {
	Path         string // relative, raw bytes
	Dev, Ino     uint64
	Size         int64
	Blocks       int64  // of 512 bytes; less than Size where there are holes
	Mtime, Ctime int64  // ns since 1970
	Mode         uint32 // permission bits
}

func entryOf(path string, st *syscall.Stat_t) Entry {
	return Entry{
		Path: path,
		Dev:  uint64(st.Dev), Ino: st.Ino,
		Size: st.Size, Blocks: int64(st.Blocks),
		Mtime: st.Mtim.Nano(), Ctime: st.Ctim.Nano(),
		Mode: st.Mode & 0o7777,
	}
}

// Other is a name that is neither a regular file nor a directory. It is listed
// and never opened.
type Other struct {
	Path string
	Link bool // a symbolic link; otherwise a FIFO, socket or device
}

// Snapshot is what a listing found. The slices are sorted by path.
type Snapshot struct {
	Files  []Entry
	Dirs   []string
	Others []Other
	// Unread are the directories whose content is not known, because it could
	// not be read or a limit was reached; Path "" is the whole tree.
	Unread []Skipped
}

// Complete says whether everything was read.
func (s Snapshot) Complete() bool { return len(s.Unread) == 0 }

// unknown says whether path lies where the listing did not look, so that its
// absence means nothing.
func (s *Snapshot) unknown(path string) bool {
	for _, u := range s.Unread {
		if u.Path == "" || path == u.Path || strings.HasPrefix(path, u.Path) && path[len(u.Path)] == '/' {
			return true
		}
	}
	return false
}

func (s *Snapshot) find(path string) (Entry, bool) {
	i, ok := slices.BinarySearchFunc(s.Files, path, func(e Entry, p string) int { return strings.Compare(e.Path, p) })
	if !ok {
		return Entry{}, false
	}
	return s.Files[i], true
}

// Snapshot lists the tree. Regular files are described, not opened; an error
// means that not even the top could be read, and everything less is in Unread.
// It holds one descriptor at a time beside its own, whatever the depth.
func (d *Dir) Snapshot(l Limits) (Snapshot, error) {
	d.listing.Lock()
	defer d.listing.Unlock()
	d.mu.RLock()
	defer d.mu.RUnlock()

	buf := direntBuffers.Get().(*[]byte)
	defer direntBuffers.Put(buf)
	s := scan{limits: l.withDefaults(), buf: *buf}
	s.Files = make([]Entry, 0, d.files)
	s.deadline = time.Now().Add(s.limits.Time)

	if _, err := sys.Lseek(d.fd, 0, 0); err != nil {
		return Snapshot{}, fmt.Errorf("cannot list the workspace: %w", err)
	}
	if err := s.list(d.fd, branch{}); err != nil {
		return Snapshot{}, fmt.Errorf("cannot list the workspace: %w", err)
	}
	for len(s.todo) > 0 && !s.full {
		b := s.todo[len(s.todo)-1]
		s.todo = s.todo[:len(s.todo)-1]
		s.descend(d, b)
	}
	d.files = len(s.Files)
	return s.finish(), nil
}

// direntBuffers hold what one getdents64 returns; 32 KiB is what libc takes.
var direntBuffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

// branch is a directory that is still to be listed.
type branch struct {
	path  string
	depth int
}

// scan is one listing under way.
type scan struct {
	Snapshot

	limits    Limits
	deadline  time.Time
	buf       []byte
	todo      []branch
	seen      int // names of any kind
	pathBytes int
	full      bool // a limit of the whole is reached
}

// descend lists the directory b. Between the listing of its parent and now the
// cell may have put anything in its place: what is no directory any more is gone.
func (s *scan) descend(d *Dir, b branch) {
	if b.depth > s.limits.Depth {
		s.unread(b.path, fmt.Sprintf("deeper than %d directories", s.limits.Depth))
		return
	}
	if time.Now().After(s.deadline) {
		s.stop("the time for the listing is over")
		return
	}
	fd, err := d.openDir(b.path)
	if err != nil {
		why, gone, again := whyOpen(err)
		if !gone && why != whyThrough {
			s.Unread = append(s.Unread, Skipped{b.path, why, again})
		}
		return
	}
	defer sys.CloseFD(fd)
	if err := s.list(fd, b); err != nil {
		s.unread(b.path, err.Error())
	}
}

// list reads the entries of one open directory.
func (s *scan) list(fd int, b branch) error {
	var st syscall.Stat_t
	for !s.full {
		n, err := sys.Getdents(fd, s.buf)
		if err != nil {
			if why, gone, _ := whyOpen(err); gone {
				return nil // removed while it was open
			} else if b.path != "" {
				s.unread(b.path, why)
				return nil
			}
			return err
		}
		if n <= 0 {
			return nil
		}
		for rest := s.buf[:n]; len(rest) > 0 && !s.full; {
			var name []byte
			var kind byte
			name, kind, rest = nextDirent(rest)
			if name == nil {
				return fmt.Errorf("cannot make sense of the kernel's directory entries")
			}
			s.entry(fd, b, name, kind, &st)
		}
	}
	return nil
}

// entry takes one name, which ends in a zero byte.
func (s *scan) entry(fd int, b branch, name []byte, kind byte, st *syscall.Stat_t) {
	text := name[:len(name)-1]
	if len(text) == 0 || text[0] == '.' && (len(text) == 1 || len(text) == 2 && text[1] == '.') {
		return
	}
	if s.seen++; s.seen > s.limits.Entries {
		s.stop(fmt.Sprintf("more than %d entries", s.limits.Entries))
		return
	}
	if s.seen%512 == 0 && time.Now().After(s.deadline) {
		s.stop("the time for the listing is over")
		return
	}
	// The kind that the directory tells is a hint that saves a call; nothing
	// rests on it.
	if kind == syscall.DT_REG || kind == syscall.DT_UNKNOWN {
		errno := sys.Fstatat(fd, name, st, sys.AtSymlinkNofollow|sys.AtNoAutomount)
		if errno == syscall.ENOENT {
			return
		}
		if errno != 0 {
			s.unread(join(b.path, string(text)), errno.Error())
			return
		}
		kind = byte(st.Mode & syscall.S_IFMT >> 12) // DT_x is S_IFx >> 12
	}
	path := join(b.path, string(text))
	if s.pathBytes += len(path); s.pathBytes > maxPathBytes {
		s.stop("the names are too long together")
		return
	}
	switch kind {
	case syscall.DT_REG:
		s.Files = append(s.Files, entryOf(path, st))
	case syscall.DT_DIR:
		s.Dirs = append(s.Dirs, path)
		if len(path) > maxPath {
			s.unread(path, "its path is too long")
			return
		}
		s.todo = append(s.todo, branch{path, b.depth + 1})
	default:
		s.Others = append(s.Others, Other{path, kind == syscall.DT_LNK})
	}
}

func (s *scan) unread(path, why string) { s.Unread = append(s.Unread, Skipped{Path: path, Why: why}) }

// stop ends the listing; what was not seen can be anywhere.
func (s *scan) stop(why string) {
	s.full = true
	s.unread("", why)
}

// finish sorts, and drops what a rename during the listing showed twice.
func (s *scan) finish() Snapshot {
	slices.SortFunc(s.Files, func(a, b Entry) int { return strings.Compare(a.Path, b.Path) })
	s.Files = slices.CompactFunc(s.Files, func(a, b Entry) bool { return a.Path == b.Path })
	slices.Sort(s.Dirs)
	s.Dirs = slices.Compact(s.Dirs)
	slices.SortFunc(s.Others, func(a, b Other) int { return strings.Compare(a.Path, b.Path) })
	s.Others = slices.Compact(s.Others)
	return s.Snapshot
}

// nextDirent cuts one struct linux_dirent64 off buf: u64 ino, s64 off, u16
// reclen, u8 type, then the name with its zero byte. name is nil when buf is
// not one.
func nextDirent(buf []byte) (name []byte, kind byte, rest []byte) {
	const header = 19
	if len(buf) < header {
		return nil, 0, nil
	}
	size := int(binary.NativeEndian.Uint16(buf[16:]))
	if size < header || size > len(buf) {
		return nil, 0, nil
	}
	end := bytes.IndexByte(buf[header:size], 0)
	if end < 0 {
		return nil, 0, nil
	}
	return buf[header : header+end+1], buf[18], buf[size:]
}
