package rootfs

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// index is what a spec's key leads to.
type index struct {
	Digest    string    `json:"digest"`
	Witnesses []witness `json:"witnesses"`
}

// A witness is a host file as it was when a root was built from it: the
// interpreter, every shared library, the metadata of every package. An
// upgrade replaces the file, and the root is built anew.
type witness struct {
	Path  string `json:"p"`
	Inode uint64 `json:"i"`
	Size  int64  `json:"s"`
	Mtime int64  `json:"m"` // ns
}

func observe(paths []string) []witness {
	ws := make([]witness, len(paths))
	for i, p := range paths {
		ws[i] = observeOne(p)
	}
	return ws
}

func observeOne(p string) witness {
	w := witness{Path: p}
	if fi, err := os.Stat(p); err == nil {
		w.Inode, w.Size, w.Mtime = statOf(fi).Ino, fi.Size(), fi.ModTime().UnixNano()
	}
	return w
}

// sealFile is what the check of a start compares with, so that it needs
// neither the manifest nor a walk.
type sealFile struct {
	Root  Root     `json:"root"`
	Files int      `json:"files"`
	Bytes int64    `json:"bytes"`
	Seals []sealed `json:"seals"`
}

// A sealed file is one whose inode must be as it was left. The change time
// can be set by nobody: a write, chmod or rename shows even when content and
// modification time are put back.
type sealed struct {
	Path  string `json:"p"` // relative to the root's directory
	Inode uint64 `json:"i"`
	Size  int64  `json:"s"`
	Mode  uint32 `json:"o"`
	UID   uint32 `json:"u"`
	Ctime int64  `json:"c"` // ns
}

// about is what is worth knowing of a root but no part of its content.
type about struct {
	Created  time.Time `json:"created"`
	Host     Origin    `json:"host"`
	Warnings []string  `json:"warnings"`
}

// Find returns the root that was built for spec, if there is one and the
// host's files it was built from are unchanged. It is on the path of every
// start: no Python is run and no tree is walked. A root that is not as it was
// built is ErrTampered.
func (s *Store) Find(spec Spec) (*Root, bool, error) {
	spec, err := spec.normalised()
	if err != nil {
		return nil, false, err
	}
	var idx index
	if err := readJSON(s.path("index", spec.key()+".json"), &idx); err != nil {
		return nil, false, nil // never built; an index that cannot be read is built anew
	}
	for _, w := range idx.Witnesses {
		if observeOne(w.Path) != w {
			return nil, false, nil
		}
	}
	root, err := s.open(idx.Digest)
	if errors.Is(err, ErrNotFound) {
		return nil, false, nil
	}
	return root, err == nil, err
}

// open makes the check of a start: the store belongs to us and others cannot
// write to it, and every sealed file is as it was left. If one is not (the
// store was copied or restored, or somebody was at it) the whole root is
// verified, and either sealed anew or refused.
func (s *Store) open(digest string) (*Root, error) {
	if !digestPattern.MatchString(digest) {
		return nil, fmt.Errorf("%w: %q is no digest", ErrNotFound, digest)
	}
	dir := s.path("roots", digest)
	for _, d := range []string{s.dir, s.path("roots"), dir} {
		if err := trustedDir(d); err != nil {
			return nil, err
		}
	}
	var sl sealFile
	if readJSON(filepath.Join(dir, "seal.json"), &sl) == nil && sl.intact(dir) {
		root := s.rootOf(digest, &sl)
		return &root, nil
	}
	return s.openUnsealed(digest)
}

func (s *Store) openUnsealed(digest string) (*Root, error) {
	report, m, err := s.verify(digest, nil)
	if err != nil {
		return nil, err
	}
	if !report.OK() {
		return nil, fmt.Errorf("%w: %s: remove it with \"cellblock rootfs remove %s\" and it is built anew", ErrTampered, report, digest)
	}
	if err := s.seal(digest, m); err != nil && !errors.Is(err, fs.ErrPermission) {
		return nil, err // a store that cannot be written is verified at every start
	}
	sl := sealOf(m)
	root := s.rootOf(digest, &sl)
	return &root, nil
}

func (s *Store) rootOf(digest string, sl *sealFile) Root {
	root := sl.Root
	root.Digest, root.Dir = digest, s.path("roots", digest, "tree")
	return root
}

func (sl *sealFile) intact(dir string) bool {
	if len(sl.Seals) == 0 {
		return false
	}
	for _, want := range sl.Seals {
		if got, err := sealPath(dir, want.Path); err != nil || got != want {
			return false
		}
	}
	return true
}

func sealPath(dir, rel string) (sealed, error) {
	fi, err := os.Lstat(dir + "/" + rel)
	if err != nil {
		return sealed{}, err
	}
	st := statOf(fi)
	return sealed{Path: rel, Inode: st.Ino, Size: st.Size, Mode: st.Mode, UID: st.Uid, Ctime: st.Ctim.Nano()}, nil
}

// sealOf takes from a manifest how its root is used.
func sealOf(m *manifest) sealFile {
	sl := sealFile{Root: Root{Python: m.Python, Version: m.Version, Prefix: m.Prefix, Stdlib: m.Stdlib,
		SysPath: m.SysPath, Packages: m.Packages}}
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
	sl := sealOf(m)
	paths := []string{"manifest.json"}
	for _, e := range m.Entries {
		if worthSealing(m, e) {
			paths = append(paths, path.Join("tree", e.Path))
		}
	}
	for _, p := range paths {
		seal, err := sealPath(dir, p)
		if err != nil {
			return fmt.Errorf("cannot seal root %s: %w", digest, err)
		}
		sl.Seals = append(sl.Seals, seal)
	}
	return writeJSON(filepath.Join(dir, "seal.json"), sl)
}

// worthSealing chooses what a start looks at: the tree itself, the programs,
// the libraries the interpreter is started with, everything of the caller's,
// /etc, and the directories a module could be slipped into.
func worthSealing(m *manifest, e manifestEntry) bool {
	p := "/" + e.Path
	switch {
	case e.Path == "", e.Mode == "0555" && e.Type == "file", e.Type == "link" && path.Dir(p) == "/":
		return true
	case below(p, "/cellblock"), p == "/etc", path.Dir(p) == "/etc":
		return true
	case e.Type == "dir":
		if p == m.Stdlib || path.Dir(p) == m.Stdlib && path.Base(p) == "lib-dynload" {
			return true
		}
		for _, d := range m.SysPath {
			if p == d {
				return true
			}
		}
	}
	base := path.Base(p)
	for _, lib := range []string{"libc.so", "libm.so", "libpython", "libdl.so", "libpthread.so", "libz.so", "libexpat.so", "libutil.so"} {
		if strings.HasPrefix(base, lib) && e.Type == "file" {
			return true
		}
	}
	return false
}

// trustedDir refuses a directory that somebody else owns or can write to.
func trustedDir(dir string) error {
	fi, err := os.Lstat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %s does not exist", ErrNotFound, dir)
	}
	if err != nil {
		return fmt.Errorf("cannot look at %q: %w", dir, err)
	}
	switch st := statOf(fi); {
	case !fi.IsDir():
		return fmt.Errorf("%w: %q is not a directory", ErrTampered, dir)
	case st.Uid != 0 && st.Uid != uint32(os.Geteuid()):
		return fmt.Errorf("%w: %q belongs to user %d", ErrTampered, dir, st.Uid)
	case fi.Mode()&0o022 != 0:
		return fmt.Errorf("%w: others can write to %q: mend it with \"chmod go-w %s\"", ErrTampered, dir, dir)
	}
	return nil
}

func statOf(fi fs.FileInfo) *syscall.Stat_t { return fi.Sys().(*syscall.Stat_t) }

func readJSON(p string, v any) error {
	data, err := os.ReadFile(p)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, v)
}

func writeJSON(p string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return writeFile(p, append(data, '\n'))
}

// writeFile replaces a file whole or not at all.
func writeFile(p string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(p), ".new-")
	if err != nil {
		return fmt.Errorf("cannot write %q: %w", p, err)
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), p)
	}
	if err != nil {
		os.Remove(f.Name())
		return fmt.Errorf("cannot write %q: %w", p, err)
	}
	return nil
}
