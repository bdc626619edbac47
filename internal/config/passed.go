package config

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// firstPassed is the descriptor at which systemd's begin: sd_listen_fds(3).
const firstPassed = 3

// Passed is what systemd holds for this process: the listeners of socket units, and what
// the process before it has stored under one name each.
type Passed struct {
	Sockets []net.Listener
	Stored  map[string][]*os.File
}

// TakePassed takes it. Descriptors with a name among stored are those that were
// stored; all others have to be listening Unix sockets.
func TakePassed(stored ...string) (p Passed, err error) {
	for _, key := range []string{"LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"} {
		defer os.Unsetenv(key)
	}
	p.Stored = map[string][]*os.File{}
	if os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return p, nil
	}
	n, err := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	if err != nil || n < 0 || n > 64 {
		return p, fmt.Errorf("LISTEN_FDS is %q", os.Getenv("LISTEN_FDS"))
	}
	names := strings.Split(os.Getenv("LISTEN_FDNAMES"), ":")
	var errs []error
	for i := range n {
		fd := firstPassed + i
		syscall.CloseOnExec(fd)
		f := os.NewFile(uintptr(fd), "socket "+strconv.Itoa(fd))
		if i < len(names) && isOne(names[i], stored) {
			p.Stored[names[i]] = append(p.Stored[names[i]], f)
			continue
		}
		l, err := net.FileListener(f)
		f.Close()
		if err != nil {
			errs = append(errs, fmt.Errorf("descriptor %d is no listening socket: %w", fd, err))
			continue
		}
		if _, ok := l.(*net.UnixListener); !ok {
			l.Close()
			errs = append(errs, fmt.Errorf("descriptor %d is no Unix socket: for TCP, use listen, which has tokens and TLS", fd))
			continue
		}
		p.Sockets = append(p.Sockets, l)
	}
	return p, errors.Join(errs...)
}

func isOne(name string, of []string) bool {
	for _, s := range of {
		if name == s {
			return true
		}
	}
	return false
}

// PassedSockets are the listeners that a socket unit holds for this process.
func PassedSockets() ([]net.Listener, error) {
	p, err := TakePassed()
	return p.Sockets, err
}
