package e2b

import (
	"strings"
	"testing"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/internal/api"
)

// Hints are for who has the SDK and no command line.
func TestHints(t *testing.T) {
	for _, c := range []struct{ hint, want, not string }{
		{"", "", "hint"},
		{"The sandbox has no network: give the data as files (--file, input_files).", "give the data as files with files.write.", "--"},
		{"The sandbox sees no files of the host: give them with --file or --dir (input_files).", "write them with files.write", "--"},
		{"Raise the limit with --timeout.", "the service's --max-timeout", "Raise"},
		{"Raise the limit with --memory, or work in smaller pieces.", "(Flags are the service's.)", "files.write"},
	} {
		if got := hint(&executor.Result{Hint: c.hint}); !strings.Contains(got, c.want) || strings.Contains(got, c.not) {
			t.Errorf("%q became %q", c.hint, got)
		}
	}
}

// What code meets in a cell is explained below its traceback, whatever the words
// of the executor are by now.
func TestHintsBelowTracebacks(t *testing.T) {
	c := serve(t, api.Settings{}, Settings{})
	c.sandbox()
	for code, want := range map[string]string{
		"import nothing":                 "files.write",
		"open('nothing')":                "files.write",
		"import socket; socket.socket()": "files.write",
		"import pip":                     "with a template",
		"input()":                        "write its input into the code",
	} {
		var told string
		_, frames := c.run(map[string]any{"code": code})
		for _, f := range frames {
			if f["type"] == "error" {
				told = f["traceback"].(string)
			}
		}
		if !strings.Contains(told, "Error: ") || !strings.Contains(told, "\ncellblock: hint: ") || !strings.Contains(told, want) ||
			strings.Contains(told, "--file") || strings.Contains(told, "--stdin") {
			t.Errorf("%s: %q", code, told)
		}
	}
}
