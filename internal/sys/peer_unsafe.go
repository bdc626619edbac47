package sys

import (
	"os"
	"syscall"
	"unsafe"
)

// Peer is the user at the other end of a connected Unix socket, and all the
// groups it was in when it connected.
func Peer(fd int) (uid int, groups []int, err error) {
	cred, err := syscall.GetsockoptUcred(fd, syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	if err != nil {
		return 0, nil, os.NewSyscallError("getsockopt SO_PEERCRED", err)
	}
	const soPeergroups = 59
	list := make([]uint32, 64)
	for {
		size := uint32(len(list) * 4)
		_, _, errno := syscall.Syscall6(syscall.SYS_GETSOCKOPT, uintptr(fd), syscall.SOL_SOCKET, soPeergroups,
			uintptr(unsafe.Pointer(&list[0])), uintptr(unsafe.Pointer(&size)), 0)
		if errno == syscall.ERANGE && int(size/4) > len(list) {
			list = make([]uint32, size/4) // the kernel says how many there are
			continue
		}
		if errno != 0 {
			return 0, nil, os.NewSyscallError("getsockopt SO_PEERGROUPS", errno)
		}
		list = list[:size/4]
		break
	}
	groups = []int{int(cred.Gid)}
	for _, g := range list {
		groups = append(groups, int(g))
	}
	return int(cred.Uid), groups, nil
}
