package mcp

import (
	"strings"
	"testing"
	"time"

	"github.com/cellblock/cellblock/executor"
)

// Hints are for who has tools and no command line.
func TestHints(t *testing.T) {
	limits := Limits{MaxTimeout: time.Minute}
	for _, c := range []struct {
		result executor.Result
		want   string
		not    string
	}{
		{executor.Result{Verdict: executor.VerdictTimeout, Hint: "Raise the limit with --timeout."}, "timeout_seconds (at most 60)", "--"},
		{executor.Result{Verdict: executor.VerdictOutputLimit}, "read_file", "--"},
		{executor.Result{Hint: "The sandbox has no network: give the data as files (--file, input_files)."}, "as files with upload_file", "--"},
		{executor.Result{Hint: "The sandbox sees no files of the host: give them with --file or --dir (input_files)."}, "give them with upload_file", "--"},
		{executor.Result{Hint: "The session's memory limit was reached: raise it with --memory, or work in smaller pieces."}, "the server is started with", "given"},
		{executor.Result{}, "", "--"},
	} {
		if got := hint(c.result, limits); !strings.Contains(got, c.want) || strings.Contains(got, c.not) {
			t.Errorf("%q became %q", c.result.Hint, got)
		}
	}
}
