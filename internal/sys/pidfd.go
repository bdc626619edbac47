package sys

import (
	"os"
	"syscall"
)

const sysPidfdOpen = 434 // the same on every architecture

// OpenPidfd returns a descriptor of a process, closed on exec, that never
// blocks and becomes readable when the process has ended (pidfd_open(2)).
func OpenPidfd(pid int) (int, error) {
	if errno := fault("pidfd_open"); errno != 0 {
		return -1, os.NewSyscallError("pidfd_open", errno)
	}
	fd, _, errno := syscall.RawSyscall(sysPidfdOpen, uintptr(pid), syscall.O_NONBLOCK, 0)
	if errno != 0 {
		return -1, os.NewSyscallError("pidfd_open", errno)
	}
	return int(fd), nil
}
