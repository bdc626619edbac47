//go:build !cellblock_faults

package sys

import "syscall"

// fault is what a test build (fault.go) makes a system call fail with. Here it
// is nothing, and the compiler leaves it out.
func fault(string) syscall.Errno { return 0 }

// Fault is fault for a call that the standard library makes.
func Fault(string) error { return nil }
