package nsjail

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/cellblock/cellblock/cgroup"
	"github.com/cellblock/cellblock/internal/sys"
)

// slot is a number that no other living cell of this host has: it names the
// group and gives the two ids. The kernel's lock on its file in the runtime
// directory is what says that the owner lives; the file's content is what the
// next start removes when nobody holds it.
type slot struct {
	n    int
	file *os.File
	host idRange
}

// record is the content of a slot's file.
type record struct {
	Owner  int      `json:"owner"` // process id, for people
	Groups []string `json:"groups,omitempty"`
	// Identities of the groups, once they are made: a group of another belongs to
	// somebody else.
	Identities []uint64 `json:"identities,omitempty"`
}

// RuntimeDir is where the records of living cells are: /run/cellblock for
// root, below XDG_RUNTIME_DIR or the temporary directory otherwise.
func RuntimeDir() string {
	if dir := os.Getenv("CELLBLOCK_RUNTIME_DIR"); dir != "" {
		return dir
	}
	if os.Geteuid() == 0 {
		return "/run/cellblock"
	}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		return filepath.Join(dir, "cellblock")
	}
	return filepath.Join(os.TempDir(), "cellblock-"+strconv.Itoa(os.Geteuid()))
}

// openRuntimeDir makes the directory of the records, and refuses one that
// somebody else could write to.
func openRuntimeDir(dir string) (string, error) {
	if dir == "" {
		dir = RuntimeDir()
	}
	cells := filepath.Join(dir, "cells")
	if err := sys.MkdirAll(cells, 0o700); err != nil {
		return "", err
	}
	for _, d := range []string{dir, cells} {
		var st syscall.Stat_t
		if err := sys.Lstat(d, &st); err != nil {
			return "", err
		}
		if st.Mode&syscall.S_IFMT != syscall.S_IFDIR || int(st.Uid) != os.Geteuid() || st.Mode&0o022 != 0 {
			return "", fmt.Errorf("runtime directory %q must be a directory of uid %d that nobody else can write to", d, os.Geteuid())
		}
	}
	return cells, nil
}

// takeSlot finds a free number.
func takeSlot(cells string) (*slot, error) {
	host, err := hostIDs()
	if err != nil {
		return nil, err
	}
	if host.slots == 0 {
		return nil, errors.New("the user namespace of this root has too few ids for cells: " + mendIDs)
	}
	for try, n := 0, rand.IntN(host.slots); try < host.slots; try, n = try+1, (n+1)%host.slots {
		s, err := lockSlot(cells, n, true)
		if err != nil {
			return nil, err
		}
		if s == nil {
			continue
		}
		s.host = host
		// A record that nobody holds: its owner died. Clean up after it.
		if err := s.sweep(); err != nil {
			s.file.Close()
			continue
		}
		return s, nil
	}
	return nil, ErrExhausted
}

// lockSlot locks number n; nil when somebody else holds it.
func lockSlot(cells string, n int, create bool) (*slot, error) {
	flags := syscall.O_RDWR | syscall.O_NOFOLLOW
	if create {
		flags |= syscall.O_CREAT
	}
	path := filepath.Join(cells, strconv.Itoa(n))
	fd, err := sys.Open(path, flags, 0o600)
	if err != nil {
		if !create && errors.Is(err, os.ErrNotExist) {
			return nil, nil
		}
		return nil, err
	}
	s := &slot{n: n, file: os.NewFile(uintptr(fd), path)}
	// Twice, because without the lock the file that was made cannot be removed.
	if err := again(func() error { return sys.Flock(fd, syscall.LOCK_EX|syscall.LOCK_NB) }); err != nil {
		s.file.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, nil
		}
		return nil, err
	}
	// The file may have been unlinked between open and lock.
	var held, named syscall.Stat_t
	err = again(func() error {
		return errors.Join(sys.Fstat(fd, &held), sys.Lstat(path, &named))
	})
	if err == nil && held.Ino == named.Ino && held.Dev == named.Dev {
		return s, nil
	}
	s.file.Close()
	if err == nil || errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return nil, err
}

func (s *slot) name() string { return "cellblock-" + strconv.Itoa(s.n) }

// initUID is the first of the two host ids.
func (s *slot) initUID() int { return s.host.base + 2*s.n }

// ids is the map of a cell's user namespace: both ids of its slot.
func (s *slot) ids() string { return fmt.Sprintf("%d %d 2", initID, s.initUID()) }

// nestMap gives a nest its own two ids and, so that cells can be nested in it,
// those of every other slot as they are. None of them means anything on the
// host.
func (s *slot) nestMap() string {
	text := s.ids()
	if n := s.initUID() - s.host.base; n > 0 {
		text += fmt.Sprintf("\n%d %d %d", s.host.base, s.host.base, n)
	}
	after := s.initUID() + 2
	if n := s.host.base + 2*s.host.slots - after; n > 0 {
		text += fmt.Sprintf("\n%d %d %d", after, after, n)
	}
	return text
}

func (s *slot) write(r record) error {
	r.Owner = os.Getpid()
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	// In this order no moment has less in the file than the owner has made.
	fd := int(s.file.Fd())
	if err := sys.PwriteAll(fd, b, 0); err != nil {
		return err
	}
	return sys.Ftruncate(fd, int64(len(b)))
}

// release forgets the record. The file goes before the lock does.
func (s *slot) release() error {
	defer s.file.Close()
	return again(func() error { return sys.Unlink(s.file.Name()) })
}

// sweep removes what the record of a dead owner names.
func (s *slot) sweep() error {
	var st syscall.Stat_t
	if err := again(func() error { return sys.Fstat(int(s.file.Fd()), &st) }); err != nil || st.Size == 0 {
		return err
	}
	text, err := sys.ReadControl(s.file.Name())
	if err != nil {
		return err
	}
	var r record
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return fmt.Errorf("record %q: %w", s.file.Name(), err)
	}
	if err := cgroup.RemoveRecorded(r.Groups, r.Identities); err != nil {
		return err
	}
	return sys.Ftruncate(int(s.file.Fd()), 0)
}

// Sweep removes what cells of owners that no longer live left behind: their
// groups. It returns how many cells that were; an error tells of records that
// it had to leave, for the next sweep.
func Sweep(runtimeDir string) (int, error) {
	cells, err := openRuntimeDir(runtimeDir)
	if err != nil {
		return 0, err
	}
	names, err := sys.Names(cells)
	if err != nil {
		return 0, err
	}
	swept := 0
	var errs []error
	for _, name := range names {
		n, err := strconv.Atoi(name)
		if err != nil || n < 0 || n >= slots {
			continue
		}
		s, err := lockSlot(cells, n, false)
		if err != nil || s == nil {
			continue
		}
		if err := s.sweep(); err != nil {
			errs = append(errs, err)
			s.file.Close()
			continue
		}
		errs = append(errs, s.release())
		swept++
	}
	return swept, errors.Join(errs...)
}
