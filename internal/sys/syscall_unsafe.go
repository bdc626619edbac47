package sys

import (
	"errors"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"github.com/cellblock/cellblock/internal/weaken"
)

// call runs one system call, again on EINTR.
func call(name string, nr uintptr, a ...uintptr) (r uintptr, err error) {
	var p [6]uintptr
	copy(p[:], a)
	err = retryEINTR(name, func() error {
		var errno syscall.Errno
		r, _, errno = syscall.Syscall6(nr, p[0], p[1], p[2], p[3], p[4], p[5])
		return errnoErr(errno)
	})
	return r, err
}

func cstr(s string) (*byte, error) { return syscall.BytePtrFromString(s) }

// strcall is call with one string argument at position at.
func strcall(name string, nr uintptr, at int, s string, a ...uintptr) (r uintptr, err error) {
	p, err := cstr(s)
	if err != nil {
		return 0, os.NewSyscallError(name, err)
	}
	var v [6]uintptr
	copy(v[:], a)
	err = retryEINTR(name, func() error {
		v[at] = uintptr(unsafe.Pointer(p))
		var errno syscall.Errno
		r, _, errno = syscall.Syscall6(nr, v[0], v[1], v[2], v[3], v[4], v[5])
		return errnoErr(errno)
	})
	runtime.KeepAlive(p)
	return r, err
}

// FsOpen opens a file system context.
func FsOpen(fstype string) (int, error) {
	r, err := strcall("fsopen", SysFsopen, 0, fstype, 0, fsopenCloexec)
	return int(r), err
}

// FsSet sets one parameter of a context.
func FsSet(fd int, key, value string) error {
	k, err := cstr(key)
	if err != nil {
		return os.NewSyscallError("fsconfig", err)
	}
	v, err := cstr(value)
	if err != nil {
		return os.NewSyscallError("fsconfig", err)
	}
	return retryEINTR("fsconfig "+key, func() error {
		_, _, errno := syscall.Syscall6(SysFsconfig, uintptr(fd), fsconfigSetString, uintptr(unsafe.Pointer(k)), uintptr(unsafe.Pointer(v)), 0, 0)
		return errnoErr(errno)
	})
}

// FsSetFD sets a parameter that is a file descriptor.
func FsSetFD(fd int, key string, aux int) error {
	_, err := strcall("fsconfig "+key, SysFsconfig, 2, key, uintptr(fd), fsconfigSetFD, 0, 0, uintptr(aux))
	return err
}

// FsCreate creates the superblock of a context.
func FsCreate(fd int) error {
	_, err := call("fsconfig create", SysFsconfig, uintptr(fd), fsconfigCreate)
	return err
}

// FsMount makes a detached mount of a context's superblock.
func FsMount(fd int, attr uint64) (int, error) {
	r, err := call("fsmount", SysFsmount, uintptr(fd), fsmountCloexec, uintptr(attr))
	return int(r), err
}

// OpenTree is open_tree(2); the descriptor is close-on-exec.
func OpenTree(dirfd int, path string, flags uint) (int, error) {
	r, err := strcall("open_tree", SysOpenTree, 1, path, uintptr(dirfd), 0, uintptr(flags|OpenTreeCloexec))
	return int(r), err
}

type mountAttr struct{ set, clr, propagation, userns uint64 }

// MountSetattr sets attributes and, where it is not 0, the propagation of the
// mount that fd refers to.
func MountSetattr(fd int, set, propagation uint64) error {
	empty, err := cstr("")
	if err != nil {
		return err
	}
	a := mountAttr{set: set, propagation: propagation}
	return retryEINTR("mount_setattr", func() error {
		_, _, errno := syscall.Syscall6(SysMountSetattr, uintptr(fd), uintptr(unsafe.Pointer(empty)), AtEmptyPath, uintptr(unsafe.Pointer(&a)), unsafe.Sizeof(a), 0)
		return errnoErr(errno)
	})
}

// Memfd makes a memory file with the given content, sealed against every
// change (CVE-2019-5736: what runs as init can never be written to).
func Memfd(name string, content []byte) (*os.File, error) {
	r, err := strcall("memfd_create", sysMemfdCreate, 0, name, 0, memfdCloexec|memfdAllowSealing)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(r, name)
	if err := PwriteAll(int(f.Fd()), content, 0); err != nil {
		f.Close()
		return nil, err
	}
	if _, err := call("fcntl add seals", syscall.SYS_FCNTL, f.Fd(), fAddSeals, sealAll); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Sealed says whether a memory file is sealed as Memfd does it.
func Sealed(fd int) bool {
	seals, err := call("fcntl get seals", syscall.SYS_FCNTL, uintptr(fd), fGetSeals)
	return err == nil && seals&sealAll == sealAll
}

// Rlimit is a soft and a hard limit.
type Rlimit struct{ Soft, Hard uint64 }

// Prlimit sets (new not nil) a resource limit of pid (0: this process) and
// returns the old one.
func Prlimit(pid, resource int, limit *Rlimit) (Rlimit, error) {
	var old Rlimit
	err := retryEINTR("prlimit", func() error {
		_, _, errno := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(pid), uintptr(resource), uintptr(unsafe.Pointer(limit)), uintptr(unsafe.Pointer(&old)), 0, 0)
		return errnoErr(errno)
	})
	if weaken.Layer("user-namespace") {
		return old, nil // its processes are such that need CAP_SYS_RESOURCE here
	}
	return old, err
}

// Setns moves the calling thread into a namespace.
func Setns(fd int, kind int) error {
	_, err := call("setns", SysSetns, uintptr(fd), uintptr(kind))
	return err
}

// PidfdSignal sends a signal to the process of a pidfd.
func PidfdSignal(pidfd int, sig syscall.Signal) error {
	_, err := call("pidfd_send_signal", SysPidfdSendSignal, uintptr(pidfd), uintptr(sig), 0, 0)
	return err
}

// Mknod makes a device node below dirfd.
func Mknod(dirfd int, name string, mode uint32, major, minor uint32) error {
	_, err := strcall("mknodat", syscall.SYS_MKNODAT, 1, name, uintptr(dirfd), 0, uintptr(mode), uintptr(major<<8|minor))
	return err
}

// Fchmodat changes a mode below dirfd (symbolic links are followed; use it
// on trees of our own only).
func Fchmodat(dirfd int, name string, mode uint32) error {
	_, err := strcall("fchmodat", syscall.SYS_FCHMODAT, 1, name, uintptr(dirfd), 0, uintptr(mode))
	return err
}

// Symlinkat makes a symbolic link below dirfd.
func Symlinkat(target string, dirfd int, name string) error {
	t, err := cstr(target)
	if err != nil {
		return err
	}
	n, err := cstr(name)
	if err != nil {
		return err
	}
	return retryEINTR("symlinkat", func() error {
		_, _, errno := syscall.Syscall(syscall.SYS_SYMLINKAT, uintptr(unsafe.Pointer(t)), uintptr(dirfd), uintptr(unsafe.Pointer(n)))
		return errnoErr(errno)
	})
}

// Mkdirat makes a directory below dirfd.
func Mkdirat(dirfd int, name string, mode uint32) error {
	_, err := strcall("mkdirat", syscall.SYS_MKDIRAT, 1, name, uintptr(dirfd), 0, uintptr(mode))
	return err
}

// LandlockABI is the Landlock version of the kernel, 0 for none (it was built
// without, or not enabled at boot).
func LandlockABI() (int, error) {
	r, err := call("landlock_create_ruleset", SysLandlockCreate, 0, 0, 1)
	if errors.Is(err, syscall.ENOSYS) || errors.Is(err, syscall.EOPNOTSUPP) {
		return 0, nil
	}
	return int(r), err
}
