package sys

import (
	"os"
	"syscall"
)

// Flags of the *at calls.
const (
	AtSymlinkNofollow = 0x100
	AtRemovedir       = 0x200
	AtNoAutomount     = 0x800
)

// Values of whence that ask for data and holes; see lseek(2).
const (
	SeekData = 3
	SeekHole = 4
)

// retryEINTR repeats call until a signal no longer interrupts it.
func retryEINTR(name string, call func() error) error {
	err := retry(name, call)
	if errno, bare := err.(syscall.Errno); bare {
		return os.NewSyscallError(name, errno)
	}
	return err // nil, or of package os, which has named the call
}

// retry is retryEINTR that returns the bare error.
func retry(name string, call func() error) error {
	for {
		if errno := fault(name); errno == syscall.EINTR {
			continue
		} else if errno != 0 {
			return errno
		}
		if err := call(); err != syscall.EINTR {
			return err
		}
	}
}

// Fstatat describes name, which ends in a zero byte, in the directory dirfd.
// It takes bytes so that a name can be used where the kernel left it in a
// buffer of directory entries. The error is a bare errno: it is called once an entry.
func Fstatat(dirfd int, name []byte, st *syscall.Stat_t, flags int) syscall.Errno {
	if len(name) == 0 || name[len(name)-1] != 0 {
		return syscall.EINVAL
	}
	for {
		errno := fault("fstatat")
		if errno == 0 {
			errno = fstatat(dirfd, &name[0], st, flags)
		}
		if errno != syscall.EINTR {
			return errno
		}
	}
}

// FstatatName is Fstatat for a Go string.
func FstatatName(dirfd int, name string, st *syscall.Stat_t, flags int) error {
	b, err := syscall.ByteSliceFromString(name)
	if err != nil {
		return os.NewSyscallError("fstatat", err)
	}
	if errno := Fstatat(dirfd, b, st, flags); errno != 0 {
		return os.NewSyscallError("fstatat", errno)
	}
	return nil
}

// Fstat describes an open file.
func Fstat(fd int, st *syscall.Stat_t) error {
	return retryEINTR("fstat", func() error { return syscall.Fstat(fd, st) })
}

// Getdents reads directory entries (struct linux_dirent64) into buf.
func Getdents(fd int, buf []byte) (n int, err error) {
	err = retryEINTR("getdents64", func() (e error) { n, e = syscall.ReadDirent(fd, buf); return e })
	return n, err
}

// Lseek moves the offset of fd and returns it.
func Lseek(fd int, offset int64, whence int) (at int64, err error) {
	err = retryEINTR("lseek", func() (e error) { at, e = syscall.Seek(fd, offset, whence); return e })
	return at, err
}

// Pread reads at an offset; 0 without an error is the end of the file.
func Pread(fd int, p []byte, offset int64) (n int, err error) {
	err = retryEINTR("pread64", func() (e error) { n, e = syscall.Pread(fd, p, offset); return e })
	return max(n, 0), err
}

// PwriteAll writes all of p at an offset.
func PwriteAll(fd int, p []byte, offset int64) error {
	for len(p) > 0 {
		var n int
		err := retryEINTR("pwrite64", func() (e error) { n, e = syscall.Pwrite(fd, p, offset); return e })
		if err != nil {
			return err
		}
		p, offset = p[n:], offset+int64(n)
	}
	return nil
}

// Ftruncate sets the size of an open file.
func Ftruncate(fd int, size int64) error {
	return retryEINTR("ftruncate", func() error { return syscall.Ftruncate(fd, size) })
}

// Fchmod sets the mode of an open file.
func Fchmod(fd int, mode uint32) error {
	return retryEINTR("fchmod", func() error { return syscall.Fchmod(fd, mode) })
}

// CloseFD closes fd. EINTR is not repeated: Linux has closed it by then.
func CloseFD(fd int) error { return os.NewSyscallError("close", syscall.Close(fd)) }

// Flock takes or gives back a lock on an open file; see flock(2).
func Flock(fd, how int) error {
	return retryEINTR("flock", func() error { return syscall.Flock(fd, how) })
}

// Renameat renames; it replaces a link at the new name and does not follow it.
// Both names should be single elements.
func Renameat(olddirfd int, oldname string, newdirfd int, newname string) error {
	return retryEINTR("renameat", func() error { return syscall.Renameat(olddirfd, oldname, newdirfd, newname) })
}

// Unlinkat removes name, with AtRemovedir an empty directory. name should be a
// single element.
func Unlinkat(dirfd int, name string, flags int) error {
	p, err := syscall.BytePtrFromString(name)
	if err != nil {
		return os.NewSyscallError("unlinkat", err)
	}
	return retryEINTR("unlinkat", func() error { return errnoErr(unlinkat(dirfd, p, flags)) })
}

// Readlinkat returns what a symbolic link says. With name "" dirfd is the link
// itself, opened with OPath.
func Readlinkat(dirfd int, name string) (string, error) {
	p, err := syscall.BytePtrFromString(name)
	if err != nil {
		return "", os.NewSyscallError("readlinkat", err)
	}
	buf := make([]byte, 4096) // a link is never longer than PATH_MAX
	n := 0
	err = retryEINTR("readlinkat", func() error {
		var errno syscall.Errno
		n, errno = readlinkat(dirfd, p, buf)
		return errnoErr(errno)
	})
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

// CopyFileRange copies up to n bytes between two files inside the kernel and
// shares the blocks where the filesystem can. 0 is the end of the source.
func CopyFileRange(src int, srcOff int64, dst int, dstOff int64, n int) (copied int, err error) {
	err = retryEINTR("copy_file_range", func() error {
		in, out := srcOff, dstOff
		var errno syscall.Errno
		copied, errno = copyFileRange(src, &in, dst, &out, n)
		return errnoErr(errno)
	})
	return max(copied, 0), err
}

// errnoErr keeps a zero Errno from becoming an error that is not nil.
func errnoErr(errno syscall.Errno) error {
	if errno == 0 {
		return nil
	}
	return errno
}

// DupFD is another descriptor of what fd is open for.
func DupFD(fd int) (int, error) {
	dup, err := call("fcntl F_DUPFD_CLOEXEC", syscall.SYS_FCNTL, uintptr(fd), syscall.F_DUPFD_CLOEXEC, 0)
	return int(dup), err
}
