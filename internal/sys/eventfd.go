package sys

import (
	"os"
	"syscall"
)

// Eventfd makes an eventfd that starts at 0, is closed on exec and never
// blocks, so that an os.File made of it waits in the poller (eventfd(2)).
func Eventfd() (int, error) {
	if errno := fault("eventfd2"); errno != 0 {
		return -1, os.NewSyscallError("eventfd2", errno)
	}
	fd, _, errno := syscall.RawSyscall(syscall.SYS_EVENTFD2, 0, syscall.O_CLOEXEC|syscall.O_NONBLOCK, 0)
	if errno != 0 {
		return -1, os.NewSyscallError("eventfd2", errno)
	}
	return int(fd), nil
}
