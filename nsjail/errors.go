package nsjail

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// ErrClosed is returned by calls on a cell that has ended.
var ErrClosed = errors.New("the cell has ended")

// ErrWriterEnded says that something in the cell ended the process that wrote a
// file there.
var ErrWriterEnded = errors.New("the writer was ended")

// ErrNotForked says that a template, or the cell, ended before a REPL was forked.
var ErrNotForked = errors.New("no REPL was forked: the template or the cell has ended")

// ErrExhausted says that every id of the host's range is in use.
var ErrExhausted = errors.New("no free cell id: too many cells are alive on this host")

// StepError is a step of building a cell that failed.
type StepError struct {
	Step  string        // as in docs/architecture.md
	Index int           // of the plan; -1 where the host itself failed
	Errno syscall.Errno // 0 where there is none
	Text  string

	cause error // where there is no errno: such as that of a context
}

func (e *StepError) Error() string {
	if e.Index < 0 {
		return fmt.Sprintf("cannot build the cell: step %s: %s", e.Step, e.Text)
	}
	return fmt.Sprintf("cannot build the cell: step %d %s: %s", e.Index, e.Step, e.Text)
}

// Unwrap gives the errno, so that errors.Is(err, syscall.EPERM) works, or else what
// was behind it: errors.Is(err, context.Canceled).
func (e *StepError) Unwrap() error {
	if e.Errno == 0 {
		return e.cause
	}
	return e.Errno
}

// hostStep makes a StepError of something the host did. A deadline is a shortage, of
// CPU: the machine is too busy for now.
func hostStep(step string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("not done within %s, the machine is too busy: %w", buildTime, syscall.EAGAIN)
	}
	var errno syscall.Errno
	errors.As(err, &errno)
	return &StepError{Step: step, Index: -1, Errno: errno, Text: err.Error(), cause: err}
}

// MissingError is a layer that this host cannot give and that the caller did
// not allow to be missing.
type MissingError struct {
	Layer Layer
	Why   string
	Mend  string
}

func (e *MissingError) Error() string {
	s := fmt.Sprintf("layer %s is not to be had: %s", e.Layer, e.Why)
	if e.Mend != "" {
		s += "; " + e.Mend
	}
	return s + fmt.Sprintf(" (or leave it out: --without %s)", e.Layer)
}

// PostureError lists in what a process differs from what its cell was to be.
type PostureError struct{ Findings []string }

func (e *PostureError) Error() string {
	s := "the cell is not what it was to be"
	for i, f := range e.Findings {
		if i == 0 {
			s += ": "
		} else {
			s += "; "
		}
		s += f
	}
	return s
}
