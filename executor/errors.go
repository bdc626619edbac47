package executor

import (
	"errors"
	"fmt"
	"regexp"
)

// ErrClosed is returned by calls on an Executor or Session that was closed.
var ErrClosed = errors.New("closed")

// InvalidError is a request that makes no sense; nothing was run.
type InvalidError struct {
	What string // e.g. "session id"
	Got  string
	Why  string
}

func (e *InvalidError) Error() string {
	return fmt.Sprintf("invalid %s %q: %s", e.What, e.Got, e.Why)
}

var (
	sessionIDs = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
	stageNames = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
)

// check is what a request must keep to.
func (r Request) check() error {
	if r.SessionID != "" && !sessionIDs.MatchString(r.SessionID) {
		return &InvalidError{"session id", r.SessionID, "1 to 64 of A-Z a-z 0-9 . _ -, beginning with a letter or digit"}
	}
	if r.StageName != "" && !stageNames.MatchString(r.StageName) {
		return &InvalidError{"stage name", r.StageName, "1 to 64 of A-Z a-z 0-9 _ -"}
	}
	if r.Timeout < 0 {
		return &InvalidError{"timeout", r.Timeout.String(), "it must not be negative"}
	}
	if r.CPUTime < 0 {
		return &InvalidError{"CPU time", r.CPUTime.String(), "it must not be negative"}
	}
	return nil
}
