package cgroup

import (
	"os"
	"syscall"

	"github.com/cellblock/cellblock/internal/sys"
)

// The kernel reports a change of a *.events file as an exceptional condition
// (POLLPRI with POLLERR), which the poller of the Go runtime passes on, until
// the file is read again; a pidfd becomes readable. Neither is ever read by
// the waiting itself.

// openPolled opens an events file such that it can be waited on.
func openPolled(path string) (*os.File, error) {
	fd, err := sys.OpenControl(path, syscall.O_RDONLY|syscall.O_NONBLOCK)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

// readPolled reads an events file from its start; nothing when that fails.
func readPolled(f *os.File) []byte {
	c, err := f.SyscallConn()
	if err != nil {
		return nil
	}
	var buf [512]byte
	n := 0
	c.Control(func(fd uintptr) { n, _ = sys.ReadControlFD(int(fd), buf[:]) })
	return buf[:max(n, 0)]
}

// awaitEvent waits until the poller reports something of the file, at times
// for nothing. It fails when the file is closed or its read deadline passes.
func awaitEvent(f *os.File) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	woken := false
	return c.Read(func(uintptr) bool {
		again := woken
		woken = true
		return again
	})
}
