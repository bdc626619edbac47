package sys

import (
	"errors"
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

// AwaitPressure waits for the event of a pressure trigger (Documentation/accounting/psi.rst)
// and says true, or until stop is closed at its other end.
func AwaitPressure(trigger, stop int) (bool, error) {
	const pollIn, pollPri = 1, 2
	type pollfd struct {
		fd              int32
		events, revents int16
	}
	p := [2]pollfd{{int32(trigger), pollPri, 0}, {int32(stop), pollIn, 0}}
	for {
		_, _, errno := syscall.Syscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&p[0])), 2, 0, 0, 0, 0)
		switch {
		case errno != 0 && errno != syscall.EINTR:
			return false, os.NewSyscallError("ppoll", errno)
		case p[1].revents != 0:
			return false, nil
		case p[0].revents == pollPri:
			return true, nil
		case p[0].revents != 0:
			return false, errors.New("cannot watch the pressure on memory: the trigger is gone")
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
