package sys

import (
	"errors"
	"fmt"
	"syscall"
)

const (
	prSetSeccomp      = 22
	prSetNoNewPrivs   = 38
	seccompModeFilter = 2

	sockFilterSize = 8
	bpfMaxInsns    = 4096
)

var errSeccompSize = errors.New("a filter is 1 to 4096 instructions of 8 bytes")

// SeccompLoad sets no_new_privs and installs a compiled system call filter
// (struct sock_filter array) on the calling thread, for good; its later
// children and what it executes inherit both. A Go caller locks the
// goroutine to its thread first and goes on to Exec.
//
// no_new_privs comes first, because without it only a privileged thread may
// install a filter (Documentation/userspace-api/seccomp_filter.rst).
func SeccompLoad(program []byte) error {
	if len(program) == 0 || len(program)%sockFilterSize != 0 || len(program)/sockFilterSize > bpfMaxInsns {
		return fmt.Errorf("cannot load a system call filter of %d bytes: %w", len(program), errSeccompSize)
	}
	if _, err := call("prctl no_new_privs", syscall.SYS_PRCTL, prSetNoNewPrivs, 1); err != nil {
		return err
	}
	return loadSeccomp(program)
}
