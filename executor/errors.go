package executor

import (
	"errors"
	"fmt"
	"strings"
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

// isName says whether s is 1 to 64 of A-Z a-z 0-9 and of extra.
func isName(s, extra string) bool {
	for _, c := range []byte(s) {
		if !isAlnum(c) && !strings.ContainsRune(extra, rune(c)) {
			return false
		}
	}
	return s != "" && len(s) <= 64
}

func isAlnum(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

func isSessionID(s string) bool { return isName(s, "._-") && isAlnum(s[0]) }

// check is what a request must keep to.
func (r Request) check() error {
	if r.SessionID != "" && !isSessionID(r.SessionID) {
		return &InvalidError{"session id", r.SessionID, "1 to 64 of A-Z a-z 0-9 . _ -, beginning with a letter or digit"}
	}
	if r.StageName != "" && !isName(r.StageName, "_-") {
		return &InvalidError{"stage name", r.StageName, "1 to 64 of A-Z a-z 0-9 _ -"}
	}
	if r.Validate && r.Module != "" {
		return &InvalidError{"module", r.Module, "the validator looks at source, and a module is found only inside the cell"}
	}
	if r.FigureFormat != "" && r.FigureFormat != "png" && r.FigureFormat != "svg" {
		return &InvalidError{"figure format", r.FigureFormat, "png or svg"}
	}
	if err := checkEnv(r.Env); err != nil {
		return err
	}
	if r.Timeout < 0 {
		return &InvalidError{"timeout", r.Timeout.String(), "it must not be negative"}
	}
	if r.CPUTime < 0 {
		return &InvalidError{"CPU time", r.CPUTime.String(), "it must not be negative"}
	}
	return nil
}
