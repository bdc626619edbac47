// Package sys holds the raw system calls of Cellblock, each as a thin
// function that retries EINTR and returns an *os.SyscallError.
//
// `unsafe` is used only in files named *_unsafe.go. It decides nothing.
package sys
