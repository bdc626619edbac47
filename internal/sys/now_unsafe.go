package sys

import (
	"syscall"
	"unsafe"
)

// Calls that the kernel answers without waiting for anybody are made without telling
// Go's scheduler, as their names say. What it is told of it has watched, by a thread
// that looks every 20 µs whether the call takes long: that is dearer than a dozen of
// them. A call that may wait, for a disk or another process, must not be made so:
// until it returns nothing else runs in its place, and no garbage is collected. That is
// so of reading from a pipe, too, and of listing a directory, whatever their flags: who
// writes there holds a lock while its own memory is read, for as long as it can make
// that take.

// WriteNow writes what a file takes without waiting, perhaps nothing, and says how
// much. Why it is not all the next write will say.
func WriteNow(fd int, b []byte) int {
	const nowait, here = 0x8, ^uintptr(0) // RWF_NOWAIT, at the file's offset
	if len(b) == 0 {
		return 0
	}
	part := syscall.Iovec{Base: unsafe.SliceData(b)}
	part.SetLen(len(b))
	n, _, errno := syscall.RawSyscall6(sysPwritev2, uintptr(fd), uintptr(unsafe.Pointer(&part)), 1, here, 0, nowait)
	if errno != 0 {
		return 0
	}
	return int(n)
}

// preadNow is for control files, whose text the kernel has in memory.
func preadNow(fd int, b []byte, offset int64) (int, error) {
	n, _, errno := syscall.RawSyscall6(syscall.SYS_PREAD64, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), uintptr(offset), 0, 0)
	return int(n), errnoErr(errno)
}

func writeNow(fd int, b []byte) error {
	_, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	return errnoErr(errno)
}
