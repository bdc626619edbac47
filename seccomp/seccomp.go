// Package seccomp holds the system calls that code in a cell may make: a
// table (Policy) and the filter compiled from it ahead of time (Cell).
//
//	filter, err := seccomp.Cell()
//	if err != nil { … } // no filter for this architecture: start nothing
//	// In the child, with no_new_privs set, last thing before exec:
//	err = sys.SeccompLoad(filter)
//
// The filter allows execve, because Python is yet to be started. The last
// filter of a cell (nsjail/native/src/lock.c) takes that away before Python's
// main; code runs under both, and Filters is how many that are.
//
// It does not load anything, and does not compile when a program runs:
// package compile does that, at generation, and the tests compare. It cannot
// judge what a pointer points to; paths, for one, are the mount table's.
package seccomp

import (
	_ "embed"
	"fmt"
	"runtime"
)

//go:generate go run ./gen

// Filters is the number of filters on a REPL that may be given code: Cell's
// and the lock's. The kernel shows it as Seccomp_filters in /proc/PID/status.
const Filters = 2

var (
	//go:embed filter_amd64.bpf
	amd64 string
	//go:embed filter_arm64.bpf
	arm64 string
)

// Cell returns the cell's filter for this architecture: instructions of
// struct sock_filter, 8 bytes each, little-endian. The caller may keep and
// change it.
func Cell() ([]byte, error) { return cellFor(runtime.GOARCH) }

func cellFor(arch string) ([]byte, error) {
	switch arch {
	case "amd64":
		return []byte(amd64), nil
	case "arm64":
		return []byte(arm64), nil
	}
	return nil, fmt.Errorf("no system call filter for architecture %q: there is one for amd64 and one for arm64", arch)
}
