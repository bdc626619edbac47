package cli

import "golang.org/x/term"

func terminal(fd int) bool { return term.IsTerminal(fd) }

// terminalWidth is the number of columns, or 80 where it cannot be told.
func terminalWidth(fd int) int {
	if w, _, err := term.GetSize(fd); err == nil && w > 0 {
		return w
	}
	return 80
}
