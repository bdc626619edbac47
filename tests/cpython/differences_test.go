package cpython

import (
	"regexp"
	"strings"
)

// A reason is why a test cannot pass in a cell although it passes outside.
type reason struct {
	short string
	why   string
	// proof is found in what the test says inside: that it failed for this
	// reason and no other.
	proof *regexp.Regexp
}

var (
	programs = &reason{
		"program", "it starts another program, and a cell runs none",
		regexp.MustCompile(`PermissionError: \[Errno 1\] Operation not permitted: '`),
	}
	sockets = &reason{
		"socket", "it opens a socket, and a cell has no network and no named sockets",
		regexp.MustCompile(`Address family not supported by protocol`),
	}
)

// reasons in the order of the summary.
var reasons = []*reason{programs, sockets}

// A difference is a test that passes in one place only, for a reason.
type difference struct {
	module string
	test   string // its id without that of the module; a star at the end stands for the rest
	why    *reason
	// sometimes is set where it depends on the machine whether the test differs.
	sometimes bool
}

func (d difference) matches(id string) bool {
	_, rest, ok := strings.Cut(id, d.module+".")
	if !ok {
		rest = id
	}
	start, star := strings.CutSuffix(d.test, "*")
	return rest == start || star && strings.HasPrefix(rest, start)
}

// differences are the whole list. What is not in it passes inside as outside.
var differences = []difference{}
