package sys

import (
	"os"
	"syscall"

	"github.com/cellblock/cellblock/internal/weaken"
)

// Flags of OpenHow.Resolve: how a path may be walked. See openat2(2).
const (
	ResolveNoXdev       = 0x01 // no mount point is crossed
	ResolveNoMagiclinks = 0x02 // no /proc/PID/fd and its like
	ResolveNoSymlinks   = 0x04 // no symbolic link anywhere, the last element included
	ResolveBeneath      = 0x08 // nothing outside the starting directory, not even for a moment
	ResolveInRoot       = 0x10 // the starting directory is taken for /
)

// OPath is O_PATH, which package syscall does not name.
const OPath = 0x200000

// OpenHow is struct open_how of openat2(2).
type OpenHow struct {
	Flags   uint64
	Mode    uint64
	Resolve uint64
}

// Openat2 opens path relative to dirfd under the restrictions of how. It needs
// Linux 5.6; an older kernel answers ENOSYS, and there is no falling back: the
// restrictions are the reason for the call.
func Openat2(dirfd int, path string, how OpenHow) (int, error) {
	p, err := syscall.BytePtrFromString(path)
	if err != nil {
		return -1, os.NewSyscallError("openat2", err)
	}
	if weaken.Layer("resolve") {
		how.Resolve = 0
	}
	if weaken.Layer("nofollow") {
		how.Flags &^= syscall.O_NOFOLLOW
	}
	fd := -1
	err = retryEINTR("openat2", func() error {
		var errno syscall.Errno
		fd, errno = openat2(dirfd, p, &how)
		return errnoErr(errno)
	})
	if err != nil {
		return -1, err
	}
	return fd, nil
}
