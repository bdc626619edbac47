package rootfs

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

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
	name := s.path("index", spec.key())
	if err := readRecord(name, &idx, &idx.inodes); err != nil {
		return nil, false, nil // never built; an index that cannot be read is built anew
	}
	fresh, moved := idx.fresh()
	if !fresh {
		return nil, false, nil
	}
	root, err := s.open(idx.Digest)
	if errors.Is(err, ErrNotFound) {
		return nil, false, nil
	}
	if moved && err == nil {
		// The next start is faster for it; a store that is not ours to write stays as it is.
		_ = writeRecord(name, idx, idx.inodes)
	}
	return root, err == nil, err
}

// open makes the check of a start: the store belongs to us and others cannot
// write to it, and every sealed file is as it was left. If one is not (the
// store was copied or restored, or somebody was at it) the whole root is
// verified, and either sealed anew or refused.
func (s *Store) open(digest string) (*Root, error) {
	if !digestPattern().MatchString(digest) {
		return nil, fmt.Errorf("%w: %q is no digest", ErrNotFound, digest)
	}
	dir := s.path("roots", digest)
	for _, d := range []string{s.dir, s.path("roots"), dir} {
		if err := trustedDir(d); err != nil {
			return nil, err
		}
	}
	var sl seal
	if readRecord(filepath.Join(dir, "seal"), &sl, &sl.files) == nil && sl.intact(dir) {
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
	sl := newSeal(m)
	root := s.rootOf(digest, &sl)
	return &root, nil
}

func (s *Store) rootOf(digest string, sl *seal) Root {
	root := sl.Root
	root.Digest, root.Dir = digest, s.path("roots", digest, "tree")
	return root
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
