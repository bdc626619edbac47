package cli

import (
	"os"

	"golang.org/x/term"
)

func terminal(fd int) bool { return term.IsTerminal(fd) }

// terminalWidth is the number of columns, or 80 where it cannot be told.
func terminalWidth(fd int) int {
	if w, _, err := term.GetSize(fd); err == nil && w > 0 {
		return w
	}
	return 80
}

// terminalState returns a function that puts a terminal back to its present
// state.
func terminalState(f *os.File) (restore func(), err error) {
	state, err := term.GetState(int(f.Fd()))
	if err != nil {
		return nil, err
	}
	return func() { _ = term.Restore(int(f.Fd()), state) }, nil // nothing is left to try
}
