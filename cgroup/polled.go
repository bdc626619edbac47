package cgroup

import (
	"os"
	"syscall"

	"github.com/cellblock/cellblock/internal/sys"
)

// openPolled opens a *.events file such that it can be waited on: the kernel
// reports a change of it as an exceptional condition (POLLPRI with POLLERR),
// once per reading of the file, and the poller of the Go runtime passes that on.
func openPolled(path string) (*os.File, error) {
	fd, err := sys.OpenControl(path, syscall.O_RDONLY|syscall.O_NONBLOCK)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

// await waits until there holds of the file's descriptor. It is asked at the
// start and whenever the poller reports something: the poller reports edges,
// so one that came before the wait would otherwise be lost. It fails when the
// file is closed or its read deadline passes.
func await(f *os.File, there func(fd int) bool) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	return c.Read(func(fd uintptr) bool { return there(int(fd)) })
}

// readAll reads a short control file from its start, which also tells the
// kernel that its changes were seen; nothing when that fails.
func readAll(fd int) []byte {
	var buf [512]byte
	n, err := sys.ReadControlFD(fd, buf[:])
	if err != nil {
		return nil
	}
	return buf[:n]
}
