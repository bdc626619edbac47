package sys

import (
	"os"
	"syscall"
	"unsafe"
)

// AwaitReadable waits until reading from fd would not wait.
func AwaitReadable(fd int) error {
	const pollIn = 1
	p := struct {
		fd              int32
		events, revents int16
	}{int32(fd), pollIn, 0}
	for {
		_, _, errno := syscall.Syscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&p)), 1, 0, 0, 0, 0)
		if errno == 0 {
			return nil
		}
		if errno != syscall.EINTR {
			return os.NewSyscallError("ppoll", errno)
		}
	}
}

// Readable says whether reading from fd would not wait now. What cannot be
// asked counts as readable.
func Readable(fd int) bool {
	const pollIn = 1
	p := struct {
		fd              int32
		events, revents int16
	}{int32(fd), pollIn, 0}
	var now syscall.Timespec
	for {
		n, _, errno := syscall.RawSyscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&p)), 1, uintptr(unsafe.Pointer(&now)), 0, 0, 0)
		if errno != syscall.EINTR {
			return errno != 0 || n > 0
		}
	}
}
