package rootfs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/cellblock/cellblock/internal/sys"
)

// An inode is a file as it was when it was looked at. Fields that do not
// matter for its use are zero.
type inode struct {
	path  string
	ino   uint64
	size  int64
	mtime int64 // ns
	ctime int64 // ns
	mode  uint32
	uid   uint32
}

const (
	atFDCWD         = -100
	symlinkNofollow = 0x100
)

// witnessOf looks at a host file that a root was built from: the interpreter,
// a shared library, the metadata of a package. An upgrade replaces the file,
// and the root is built anew. Links are followed, so that it shows when an
// alternative is switched.
func witnessOf(p string) (inode, error) {
	var st syscall.Stat_t
	if err := sys.FstatatName(atFDCWD, p, &st, 0); err != nil {
		return inode{path: p}, err
	}
	return inode{path: p, ino: st.Ino, size: st.Size, mtime: st.Mtim.Nano()}, nil
}

// sealOf looks at a file of a root. The change time can be set by nobody: a
// write, chmod or rename shows even when content and modification time were
// put back.
func sealOf(dir, rel string) (inode, error) {
	var st syscall.Stat_t
	if err := sys.FstatatName(atFDCWD, dir+"/"+rel, &st, symlinkNofollow); err != nil {
		return inode{path: rel}, err
	}
	return inode{path: rel, ino: st.Ino, size: st.Size, ctime: st.Ctim.Nano(), mode: st.Mode, uid: st.Uid}, nil
}

// index is what a spec's key leads to: a root and the host's files it was
// built from, the first Fences of which are looked at on every start, and all
// of them when a fence has changed.
type index struct {
	Digest string `json:"digest"`
	Fences int    `json:"fences"`
	inodes []inode
}

func newIndex(plan *Plan) index {
	return index{Fences: len(plan.Fences), inodes: observe(append(slices.Clone(plan.Fences), plan.Witnesses...))}
}

// fresh says whether the host is as it was; moved, that fences have changed
// though no witness has, and idx now knows them as they are.
func (idx *index) fresh() (fresh, moved bool) {
	if idx.Fences > len(idx.inodes) {
		return false, false
	}
	for i, want := range idx.inodes {
		if i == idx.Fences && !moved {
			return true, false
		}
		got, err := witnessOf(want.path)
		if got == want && err == nil {
			continue
		}
		if i >= idx.Fences {
			return false, false
		}
		idx.inodes[i], moved = got, true
	}
	return true, moved
}

// observe looks at all witnesses; one that is missing is written down as such
// and will be found changed when it appears.
func observe(paths []string) []inode {
	list := make([]inode, len(paths))
	for i, p := range paths {
		list[i], _ = witnessOf(p)
	}
	return list
}

// seal is what the check of a start compares with, so that it needs neither
// the manifest nor a walk.
type seal struct {
	Root  Root  `json:"root"`
	Files int   `json:"files"`
	Bytes int64 `json:"bytes"`
	files []inode
}

func (sl *seal) intact(dir string) bool {
	for _, want := range sl.files {
		if got, err := sealOf(dir, want.path); err != nil || got != want {
			return false
		}
	}
	return len(sl.files) > 0
}

// newSeal takes from a manifest how its root is used.
func newSeal(m *manifest) seal {
	sl := seal{Root: Root{
		Python: m.Python, Version: m.Version, Prefix: m.Prefix, Stdlib: m.Stdlib,
		SysPath: m.SysPath, Packages: m.Packages,
	}}
	for _, e := range m.Entries {
		if e.Type == "file" {
			sl.Files++
			sl.Bytes += e.Size
		}
	}
	return sl
}

// seal records the inodes of the files a cell's safety rests on.
func (s *Store) seal(digest string, m *manifest) error {
	dir := s.path("roots", digest)
	sl := newSeal(m)
	paths := []string{"manifest.json"}
	for _, e := range m.Entries {
		if worthSealing(m, e) {
			paths = append(paths, path.Join("tree", e.Path))
		}
	}
	for _, p := range paths {
		f, err := sealOf(dir, p)
		if err != nil {
			return fmt.Errorf("cannot seal root %s: %w", digest, err)
		}
		sl.files = append(sl.files, f)
	}
	return writeRecord(filepath.Join(dir, "seal"), sl, sl.files)
}

// startLibraries are what the interpreter is started with.
var startLibraries = []string{"libc.so", "libm.so", "libpython", "libdl.so", "libpthread.so", "libz.so", "libexpat.so", "libutil.so"}

// worthSealing chooses what a start looks at: the tree itself, the programs,
// the libraries the interpreter is started with, everything of the caller's,
// /etc, and the directories a module could be slipped into.
func worthSealing(m *manifest, e manifestEntry) bool {
	p := "/" + e.Path
	switch e.Type {
	case "dir":
		if e.Path == "" || p == "/etc" || p == m.Stdlib || p == path.Join(m.Stdlib, "lib-dynload") {
			return true
		}
		for _, d := range m.SysPath {
			if p == d {
				return true
			}
		}
	case "file":
		if e.Mode == programMode || p == "/etc/ld.so.preload" {
			return true
		}
		for _, lib := range startLibraries {
			if strings.HasPrefix(path.Base(p), lib) {
				return true
			}
		}
	}
	return below(p, "/cellblock")
}

// A record is a file with a JSON value on its first line and one inode on
// each further line. It is read on every start, where parsing all of it as
// JSON would cost more than the system calls.
func writeRecord(p string, head any, files []inode) error {
	data, err := json.Marshal(head)
	if err != nil {
		return err
	}
	b := bytes.NewBuffer(append(data, '\n'))
	for _, f := range files {
		if strings.ContainsRune(f.path, '\n') {
			return fmt.Errorf("%w: a file name with a line break: %q", ErrSpec, f.path)
		}
		fmt.Fprintf(b, "%d %d %d %d %d %d %s\n", f.ino, f.size, f.mtime, f.ctime, f.mode, f.uid, f.path)
	}
	return writeFile(p, b.Bytes())
}

func readRecord(p string, head any, files *[]inode) error {
	data, err := os.ReadFile(p)
	if err != nil {
		return err
	}
	line, rest, _ := bytes.Cut(data, []byte{'\n'})
	if err := json.Unmarshal(line, head); err != nil {
		return err
	}
	*files, err = parseInodes(string(rest))
	return err
}

func parseInodes(s string) ([]inode, error) {
	if s != "" && !strings.HasSuffix(s, "\n") {
		return nil, errors.New("record is cut short")
	}
	files := make([]inode, 0, strings.Count(s, "\n"))
	for s != "" {
		var line string
		line, s, _ = strings.Cut(s, "\n")
		var n [6]int64
		for i := range n {
			var word string
			var err error
			if word, line, _ = strings.Cut(line, " "); word == "" {
				return nil, errors.New("record has a short line")
			}
			if n[i], err = strconv.ParseInt(word, 10, 64); err != nil {
				return nil, err
			}
		}
		files = append(files, inode{
			path: line, ino: uint64(n[0]), size: n[1], mtime: n[2], ctime: n[3],
			mode: uint32(n[4]), uid: uint32(n[5]),
		})
	}
	return files, nil
}
