//go:build cellblock_faults

package sys

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// This file is in one test binary only (tests/faults). There every system call
// of this package asks a hook first, which may make it fail.

// FaultHook is told the call that is about to be made and the place outside of
// this package that wants it ("nsjail/start.go:291 (*Cell).clone"). What
// it returns, when that is not 0, is the call's error; the call is not made.
type FaultHook func(place, call string) syscall.Errno

var faultHook atomic.Pointer[FaultHook]

// SetFaultHook sets the hook; nil ends it.
func SetFaultHook(hook FaultHook) {
	if hook == nil {
		faultHook.Store(nil)
		return
	}
	faultHook.Store(&hook)
}

// Fault is fault for a call that the standard library makes.
func Fault(call string) error {
	for {
		errno := fault(call)
		if errno == syscall.EINTR {
			continue // it makes the call again
		}
		if errno == 0 {
			return nil
		}
		return os.NewSyscallError(call, errno)
	}
}

func fault(call string) syscall.Errno {
	hook := faultHook.Load()
	if hook == nil {
		return 0
	}
	return (*hook)(faultPlace(), call)
}

// faultPlace is the first caller outside of this package and of the standard
// library.
func faultPlace() string {
	const module = "github.com/cellblock/cellblock/"
	pcs := make([]uintptr, 32)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs)])
	for {
		f, more := frames.Next()
		if name, ours := strings.CutPrefix(f.Function, module); ours && !strings.HasPrefix(name, "internal/sys.") {
			pkg := strings.LastIndexByte(name, '/') + 1
			pkg += strings.IndexByte(name[pkg:], '.')
			file := f.File[strings.LastIndexByte(f.File, '/'):]
			return name[:pkg] + file + ":" + strconv.Itoa(f.Line) + " " + name[pkg+1:]
		}
		if !more {
			return "elsewhere"
		}
	}
}
