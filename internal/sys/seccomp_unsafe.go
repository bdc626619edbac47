package sys

import (
	"os"
	"runtime"
	"syscall"
	"unsafe"
)

// sockFprog is struct sock_fprog.
type sockFprog struct {
	length uint16
	filter *byte
}

func loadSeccomp(program []byte) error {
	p := sockFprog{length: uint16(len(program) / sockFilterSize), filter: &program[0]}
	_, _, errno := syscall.RawSyscall6(syscall.SYS_PRCTL, prSetSeccomp, seccompModeFilter, uintptr(unsafe.Pointer(&p)), 0, 0, 0)
	runtime.KeepAlive(program)
	if errno != 0 {
		return os.NewSyscallError("prctl seccomp", errno)
	}
	return nil
}
