package sys

import (
	"encoding/binary"
	"os"
	"strings"
	"syscall"
)

// The calls that take a path and follow it as the kernel does. Each returns an
// *os.PathError.

// pathCall makes one call on a path, again on EINTR.
func pathCall(op, path string, call func() error) error {
	err := retry(op, call)
	if errno, bare := err.(syscall.Errno); bare {
		return &os.PathError{Op: op, Path: path, Err: errno}
	}
	return err // nil, or of package os
}

// Open opens a file, with O_CLOEXEC added to flags and without the poller.
func Open(path string, flags int, mode uint32) (fd int, err error) {
	err = pathCall("open", path, func() (e error) { fd, e = syscall.Open(path, flags|syscall.O_CLOEXEC, mode); return e })
	if err != nil {
		return -1, err
	}
	return fd, nil
}

// Stat describes what a path leads to.
func Stat(path string, st *syscall.Stat_t) error {
	return pathCall("stat", path, func() error { return syscall.Stat(path, st) })
}

// Lstat is Stat that describes a symbolic link itself.
func Lstat(path string, st *syscall.Stat_t) error {
	return pathCall("lstat", path, func() error { return syscall.Lstat(path, st) })
}

// Readlink returns what a symbolic link says.
func Readlink(path string) (target string, err error) {
	buf := make([]byte, 4096) // a link is never longer than PATH_MAX
	n := 0
	err = pathCall("readlink", path, func() (e error) { n, e = syscall.Readlink(path, buf); return e })
	return string(buf[:max(n, 0)]), err
}

// Fstatfs describes the file system of an open file.
func Fstatfs(fd int, st *syscall.Statfs_t) error {
	return retryEINTR("fstatfs", func() error { return syscall.Fstatfs(fd, st) })
}

// Mkdir makes a directory.
func Mkdir(path string, mode uint32) error {
	return pathCall("mkdir", path, func() error { return syscall.Mkdir(path, mode) })
}

// MkdirAll makes a directory and those above it that are missing.
func MkdirAll(path string, mode os.FileMode) error {
	return pathCall("mkdir", path, func() error { return os.MkdirAll(path, mode) })
}

// Rmdir removes an empty directory.
func Rmdir(path string) error {
	return pathCall("rmdir", path, func() error { return syscall.Rmdir(path) })
}

// Unlink removes a name that is no directory.
func Unlink(path string) error {
	return pathCall("unlink", path, func() error { return syscall.Unlink(path) })
}

// Names lists the names in a directory, in the kernel's order.
func Names(dir string) ([]string, error) {
	return names(dir, func(byte) bool { return true })
}

// Directories lists the directories in a directory.
func Directories(dir string) ([]string, error) {
	return names(dir, func(kind byte) bool { return kind == syscall.DT_DIR })
}

func names(dir string, wanted func(kind byte) bool) ([]string, error) {
	fd, err := Open(dir, syscall.O_RDONLY|syscall.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	defer syscall.Close(fd)
	var names []string
	buf := make([]byte, 8192)
	for {
		n, err := Getdents(fd, buf)
		if err != nil {
			return nil, &os.PathError{Op: "read", Path: dir, Err: err}
		}
		if n == 0 {
			return names, nil
		}
		// struct linux_dirent64: d_ino, d_off, u16 d_reclen, u8 d_type, d_name
		for rest := buf[:n]; len(rest) > 19; rest = rest[binary.NativeEndian.Uint16(rest[16:]):] {
			name, _, _ := strings.Cut(string(rest[19:binary.NativeEndian.Uint16(rest[16:])]), "\x00")
			if name != "." && name != ".." && wanted(rest[18]) {
				names = append(names, name)
			}
		}
	}
}
