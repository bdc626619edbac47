package sys

import (
	"syscall"
	"unsafe"
)

// sysOpenat2 has one number on every architecture.
const sysOpenat2 = 437

func openat2(dirfd int, path *byte, how *OpenHow) (int, syscall.Errno) {
	fd, _, errno := syscall.Syscall6(sysOpenat2, uintptr(dirfd), uintptr(unsafe.Pointer(path)),
		uintptr(unsafe.Pointer(how)), unsafe.Sizeof(*how), 0, 0)
	return int(fd), errno
}
