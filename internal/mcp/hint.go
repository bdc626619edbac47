package mcp

import (
	"fmt"
	"strings"

	"github.com/cellblock/cellblock/executor"
)

// inTools says in a hint's words what a model can do, where the hint speaks to
// people at a command line.
var inTools = strings.NewReplacer(
	" (--file, input_files)", " with upload_file",
	"give them with --file or --dir (input_files)", "give them with upload_file",
	"a file of your own with --file or --dir", "a file of your own with upload_file",
	"hand it over with --stdin (Request.Stdin)", "write its input into the code instead",
	"Raise the limit with --timeout.", "",
)

// hint is what to do about a failure, in terms of the tools.
func hint(r executor.Result, l Limits) string {
	switch r.Verdict {
	case executor.VerdictTimeout:
		return fmt.Sprintf("Give run_python a larger timeout_seconds (at most %g), or do less at once.", l.MaxTimeout.Seconds())
	case executor.VerdictOutputLimit:
		return "Print less, or write to a file and read that with read_file."
	}
	if r.Exception != nil && r.Exception.Name == "ModuleNotFoundError" && strings.Contains(r.Hint, "not in the sandbox") {
		return "The module is not installed, and cannot be from inside: packages lists those that are. A module of your own comes with upload_file."
	}
	text := inTools.Replace(r.Hint)
	if strings.Contains(text, "--") {
		text += " (Flags are those that the server is started with.)"
	}
	return text
}
