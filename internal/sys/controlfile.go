package sys

import (
	"os"
	"strings"
	"syscall"
)

// The files of cgroup and proc are opened here without package os: it would
// register each of them with the poller, two more system calls per file.

// OpenControl opens a control file with O_CLOEXEC added to flags.
func OpenControl(path string, flags int) (int, error) { return Open(path, flags, 0) }

// WriteControl writes a value to a control file that exists.
func WriteControl(path, value string) error {
	fd, err := OpenControl(path, syscall.O_WRONLY)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	if err := WriteControlFD(fd, value); err != nil {
		return &os.PathError{Op: "write", Path: path, Err: err}
	}
	return nil
}

// WriteControlFD writes a value in one write, as control files want it.
func WriteControlFD(fd int, value string) error {
	return retry("write", func() error { _, err := syscall.Write(fd, []byte(value)); return err })
}

// ReadControlFD reads an open control file from its start, anew on every call.
func ReadControlFD(fd int, buf []byte) (n int, err error) {
	err = retry("pread64", func() (e error) { n, e = syscall.Pread(fd, buf, 0); return e })
	return max(n, 0), err
}

// ReadControl reads a whole control file.
func ReadControl(path string) (string, error) {
	fd, err := OpenControl(path, syscall.O_RDONLY)
	if err != nil {
		return "", err
	}
	defer syscall.Close(fd)
	var text strings.Builder
	buf := make([]byte, 8192)
	for {
		n := 0
		err := retry("read", func() (e error) { n, e = syscall.Read(fd, buf); return e })
		switch {
		case err != nil:
			return "", &os.PathError{Op: "read", Path: path, Err: err}
		case n == 0:
			return text.String(), nil
		}
		text.Write(buf[:n])
	}
}
