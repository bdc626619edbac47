package sys

import "syscall"

const soPassRights = 83 // since Linux 6.16

// RefuseFiles has nobody send descriptors over a Unix socket, or over the connections
// that a listening one will take. Closing one that nobody asked for can wait for its
// other end, for hours. Before Linux 6.16 it fails with ENOPROTOOPT.
func RefuseFiles(fd int) error {
	return syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, soPassRights, 0)
}
