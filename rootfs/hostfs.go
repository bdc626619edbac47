package rootfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
)

// host reads the machine a plan is made from, by absolute path. It only ever
// opens resolved paths, so that it means the same over os.DirFS and over a
// file system held in memory.
type host struct {
	fsys fs.FS
	dirs map[string]string // directory as named → with its links resolved
}

func newHost(fsys fs.FS) *host { return &host{fsys: fsys, dirs: map[string]string{"/": "/"}} }

func inFS(p string) string {
	if p = strings.TrimPrefix(path.Clean(p), "/"); p == "" {
		return "."
	}
	return p
}

func (h *host) lstat(p string) (fs.FileInfo, error) { return fs.Lstat(h.fsys, inFS(p)) }

// resolve follows every link in p, as the kernel would.
func (h *host) resolve(p string) (string, error) {
	links := 0
	return h.resolveCounted(path.Clean(p), &links)
}

func (h *host) resolveCounted(p string, links *int) (string, error) {
	if r, ok := h.dirs[p]; ok {
		return r, nil
	}
	dir, err := h.resolveCounted(path.Dir(p), links)
	if err != nil {
		return "", err
	}
	real := path.Join(dir, path.Base(p))
	fi, err := h.lstat(real)
	if err != nil {
		return "", err
	}
	if fi.Mode()&fs.ModeSymlink != 0 {
		if *links++; *links > 40 {
			return "", &fs.PathError{Op: "resolve", Path: p, Err: errors.New("too many links")}
		}
		target, err := fs.ReadLink(h.fsys, inFS(real))
		if err != nil {
			return "", err
		}
		if !path.IsAbs(target) {
			target = path.Join(dir, target)
		}
		return h.resolveCounted(path.Clean(target), links)
	}
	if fi.IsDir() {
		h.dirs[p] = real
	}
	return real, nil
}

// stat follows links and says where they lead.
func (h *host) stat(p string) (real string, fi fs.FileInfo, err error) {
	if real, err = h.resolve(p); err != nil {
		return "", nil, err
	}
	fi, err = h.lstat(real)
	return real, fi, err
}

func (h *host) isDir(p string) bool {
	_, fi, err := h.stat(p)
	return err == nil && fi.IsDir()
}

func (h *host) exists(p string) bool {
	_, err := h.resolve(p)
	return err == nil
}

func (h *host) isFile(p string) bool {
	_, fi, err := h.stat(p)
	return err == nil && fi.Mode().IsRegular()
}

func (h *host) readFile(p string) ([]byte, error) {
	real, fi, err := h.stat(p)
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() {
		return nil, fmt.Errorf("cannot read %q: not a regular file", p)
	}
	return fs.ReadFile(h.fsys, inFS(real))
}

func (h *host) readDir(p string) ([]fs.DirEntry, error) {
	real, err := h.resolve(p)
	if err != nil {
		return nil, err
	}
	return fs.ReadDir(h.fsys, inFS(real))
}

// readerAt opens a regular file for random access.
func (h *host) readerAt(p string) (io.ReaderAt, io.Closer, error) {
	real, fi, err := h.stat(p)
	if err != nil {
		return nil, nil, err
	}
	if !fi.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("cannot read %q: not a regular file", p)
	}
	f, err := h.fsys.Open(inFS(real))
	if err != nil {
		return nil, nil, err
	}
	r, ok := f.(io.ReaderAt)
	if !ok {
		f.Close()
		return nil, nil, fmt.Errorf("cannot read %q at an offset", p)
	}
	return r, f, nil
}

// below says whether p is dir or lies in it.
func below(p, dir string) bool {
	return p == dir || dir == "/" || strings.HasPrefix(p, dir+"/")
}
