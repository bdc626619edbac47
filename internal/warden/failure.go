package warden

import (
	"context"
	"errors"
	"io/fs"
	"syscall"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/nsjail"
	"github.com/cellblock/cellblock/rootfs"
)

// failure is an error on its way over the socket: what it says, and which of the
// errors that an asker tells apart it is.
type failure struct {
	Class   string `json:"class"`
	Message string `json:"message"`
	// Of an executor.InvalidError and a nsjail.MissingError.
	What string `json:"what,omitempty"`
	Got  string `json:"got,omitempty"`
	Why  string `json:"why,omitempty"`
}

// The classes that have fields. The others are those of sentinels.
const (
	classInvalid = "invalid"
	classMissing = "missing-layer"
	classOther   = "internal"
	classNoRoom  = "no-room" // of a sentinel
)

// sentinels are the errors that an asker tells apart; the first that fits.
var sentinels = []struct {
	class string
	is    error
}{
	{"no-result", ErrNoResult},
	{"restarting", ErrRestarting},
	{"leaving", errLeaving},
	{"exhausted", ErrExhausted},
	{"no-root", rootfs.ErrNotFound},
	{"bad-root", rootfs.ErrSpec},
	{"workspace-full", executor.ErrWorkspaceFull},
	{"not-found", fs.ErrNotExist},
	{"closed", executor.ErrClosed},
	{"closed", nsjail.ErrClosed},
	{"deadline", context.DeadlineExceeded},
	{"cancelled", context.Canceled},
	{classNoRoom, nsjail.ErrExhausted},
	{classNoRoom, syscall.EMFILE},
	{classNoRoom, syscall.ENFILE},
	{classNoRoom, syscall.ENOMEM},
	{classNoRoom, syscall.ENOSPC},
	{classNoRoom, syscall.EAGAIN},
	{classNoRoom, syscall.EDQUOT},
	{classNoRoom, syscall.EUSERS},
}

// failureOf is err for the wire.
func failureOf(err error) *failure {
	f := &failure{Class: classOther, Message: err.Error()}
	var invalid *executor.InvalidError
	var missing *nsjail.MissingError
	switch {
	case errors.As(err, &invalid):
		f.Class, f.What, f.Got, f.Why = classInvalid, invalid.What, invalid.Got, invalid.Why
	case errors.As(err, &missing):
		f.Class, f.What, f.Got, f.Why = classMissing, string(missing.Layer), missing.Mend, missing.Why
	default:
		for _, s := range sentinels {
			if errors.Is(err, s.is) {
				f.Class = s.class
				break
			}
		}
	}
	return f
}

// err is what failureOf was made from, as far as an asker tells errors apart.
func (f *failure) err() error {
	switch f.Class {
	case classInvalid:
		return &executor.InvalidError{What: f.What, Got: f.Got, Why: f.Why}
	case classMissing:
		return &nsjail.MissingError{Layer: nsjail.Layer(f.What), Mend: f.Got, Why: f.Why}
	}
	for _, s := range sentinels {
		if s.class == f.Class {
			return &wardenError{f.Message, s.is}
		}
	}
	return &wardenError{f.Message, nil}
}

// wardenError is an error that the warden told of.
type wardenError struct {
	message string
	is      error // nil: none of the sentinels
}

func (e *wardenError) Error() string { return e.message }

func (e *wardenError) Unwrap() error { return e.is }
