// Package sys holds the raw system calls of Cellblock, each as a thin
// function that retries EINTR and returns an *os.SyscallError.
//
// It imports only the standard library: the init links it, and every
// package more costs start-up time of every cell. `unsafe` is used only in
// files named *_unsafe.go. It decides nothing.
package sys
