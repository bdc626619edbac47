package sys

import (
	"os"
	"strings"
	"syscall"
)

// The files of cgroup and proc are opened here without package os: it would
// register each of them with the poller, two more system calls per file.

// OpenControl opens a control file with O_CLOEXEC added to flags.
func OpenControl(path string, flags int) (int, error) {
	for {
		fd, err := syscall.Open(path, flags|syscall.O_CLOEXEC, 0)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return -1, &os.PathError{Op: "open", Path: path, Err: err}
		}
		return fd, nil
	}
}

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
	for {
		_, err := syscall.Write(fd, []byte(value))
		if err != syscall.EINTR {
			return err
		}
	}
}

// ReadControlFD reads an open control file from its start, anew on every call.
func ReadControlFD(fd int, buf []byte) (int, error) {
	for {
		n, err := syscall.Pread(fd, buf, 0)
		if err != syscall.EINTR {
			return n, err
		}
	}
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
		n, err := syscall.Read(fd, buf)
		switch {
		case err == syscall.EINTR:
			continue
		case err != nil:
			return "", &os.PathError{Op: "read", Path: path, Err: err}
		case n == 0:
			return text.String(), nil
		}
		text.Write(buf[:n])
	}
}
