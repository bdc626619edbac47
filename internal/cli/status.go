package cli

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/rootfs"
)

// The exit statuses that are Cellblock's own. A program in a cell has the rest.
const (
	statusUsage    = 2   // the command line, or a file that it names, is wrong
	statusTimeout  = 124 // wall clock or CPU time
	statusFailed   = 125 // Cellblock could not do its part
	statusRefused  = 126 // the validator
	statusKilled   = 137 // out of memory, or killed
	statusOfSignal = 128 // plus the signal's number
)

// statusHelp is the part of help texts that lists them.
const statusHelp = `Exit status:
  the program's own   of several -c, that of the first that failed
  124                 a time limit was reached (--timeout, --cpu-time)
  125                 Cellblock itself failed: no Python, a package that is not
                      installed, a root that was tampered with, no permission,
                      no cgroup, a kernel without a layer
  126                 the validator refused the program (--validate)
  137                 out of memory, or killed
  128+n               another signal ended the program; 130 and 143 also when
                      SIGINT or SIGTERM ended cellblock
  2                   wrong usage: a flag, a size, or a file that cannot be read
To tell a program's own 124 from Cellblock's, see "verdict" in --json or --result.`

// usageError is a command line that cannot be carried out. Nothing was run.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func usagef(format string, a ...any) error { return &usageError{fmt.Sprintf(format, a...)} }

// signalError says that a signal to cellblock ended what it did.
type signalError struct{ signal syscall.Signal }

func (e *signalError) Error() string { return e.signal.String() }

// statusOf is the exit status of a command that failed.
func statusOf(err error) int {
	var usage *usageError
	var invalid *executor.InvalidError
	var signal *signalError
	switch {
	case errors.As(err, &signal):
		return statusOfSignal + int(signal.signal)
	case errors.As(err, &usage), errors.As(err, &invalid), errors.Is(err, rootfs.ErrSpec):
		return statusUsage
	}
	return statusFailed
}

// quiet takes away an error that needs no words: who sent a signal knows.
func quiet(err error) error {
	var signal *signalError
	if errors.As(err, &signal) {
		return nil
	}
	return err
}

// because replaces the error of a context that a signal ended by the signal.
func because(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// exitStatus is the exit status for one execution.
func exitStatus(r executor.Result) int {
	switch r.Verdict {
	case executor.VerdictTimeout, executor.VerdictCPUTime:
		return statusTimeout
	case executor.VerdictRefused:
		return statusRefused
	case executor.VerdictOutOfMemory, executor.VerdictKilled, executor.VerdictOutputLimit:
		return statusKilled
	case executor.VerdictCrashed:
		if n := executor.Signal(r.Signal); n > 0 {
			return statusOfSignal + int(n)
		}
		return statusKilled // it was ended for breaking the protocol
	}
	if !r.Success && r.ReturnCode == 0 {
		return 1
	}
	return r.ReturnCode & 0xff
}
