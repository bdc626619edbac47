package sys

import (
	"syscall"
	"unsafe"
)

func fstatat(dirfd int, name *byte, st *syscall.Stat_t, flags int) syscall.Errno {
	_, _, errno := syscall.Syscall6(sysNewfstatat, uintptr(dirfd), uintptr(unsafe.Pointer(name)),
		uintptr(unsafe.Pointer(st)), uintptr(flags), 0, 0)
	return errno
}

func unlinkat(dirfd int, name *byte, flags int) syscall.Errno {
	_, _, errno := syscall.Syscall(syscall.SYS_UNLINKAT, uintptr(dirfd), uintptr(unsafe.Pointer(name)), uintptr(flags))
	return errno
}

func readlinkat(dirfd int, name *byte, buf []byte) (int, syscall.Errno) {
	n, _, errno := syscall.Syscall6(syscall.SYS_READLINKAT, uintptr(dirfd), uintptr(unsafe.Pointer(name)),
		uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)), 0, 0)
	return int(n), errno
}

func copyFileRange(src int, srcOff *int64, dst int, dstOff *int64, n int) (int, syscall.Errno) {
	r, _, errno := syscall.Syscall6(sysCopyFileRange, uintptr(src), uintptr(unsafe.Pointer(srcOff)),
		uintptr(dst), uintptr(unsafe.Pointer(dstOff)), uintptr(n), 0)
	return int(r), errno
}
