package cli

import (
	"strings"
	"testing"

	"github.com/cellblock/cellblock/executor"
)

func TestValidateArguments(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "a.py", "import os")
	for args, want := range map[string]string{
		"":          "give one FILE",
		"a.py b.py": "give one FILE",
		"-c x a.py": "cannot go together",
		"nope.py":   `there is no file "nope.py"`,
		". ":        `"." is a directory`,
	} {
		status, _, _, err := runWith(t, "", append([]string{"validate"}, strings.Fields(args)...)...)
		if status != 2 || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("validate %s: status %d, %v; wanted 2 and %q", args, status, err, want)
		}
	}
}

func TestIssueLine(t *testing.T) {
	// The name in a message comes from hostile source.
	got := issueLine("a\n.py", executor.Issue{Message: "Blocked import detected: x\x1b[2J\ny", Line: 3, Column: 5})
	if want := `a; .py:3:5: Blocked import detected: x\x1b[2J; y`; got != want {
		t.Errorf("got %q, wanted %q", got, want)
	}
}
