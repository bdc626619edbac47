package sys

import (
	"syscall"
	"unsafe"
)

// WaitPidfd waits until the child of a pidfd has ended, reaps it and says how
// it ended: the siginfo's code and status.
func WaitPidfd(pidfd int) (code, status int32, err error) {
	const pPidfd, wExited = 3, 4
	var info [128]byte
	err = retryEINTR("waitid", func() error {
		_, _, errno := syscall.Syscall6(syscall.SYS_WAITID, pPidfd, uintptr(pidfd), uintptr(unsafe.Pointer(&info[0])), wExited, 0, 0)
		return errnoErr(errno)
	})
	if err != nil {
		return 0, 0, err
	}
	// si_signo, si_errno, si_code, padding, si_pid, si_uid, si_status
	return *(*int32)(unsafe.Pointer(&info[8])), *(*int32)(unsafe.Pointer(&info[24])), nil
}
