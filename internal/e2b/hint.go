package e2b

import (
	"strings"

	"github.com/cellblock/cellblock/executor"
)

// inSDK says in a hint's words what a program with the SDK can do, where the hint
// speaks to people at a command line.
var inSDK = strings.NewReplacer(
	" (--file, input_files)", " with files.write",
	"give them with --file or --dir (input_files)", "write them with files.write",
	"a package comes with --with NAME (installed on the host) or --venv DIR, a file of your own with --file or --dir",
	"packages come with the service (its --with or --venv), or with a template; a file of your own with files.write",
	"name them when the root is built (--with NAME, or --venv DIR)", "they come with the service (its --with or --venv), or with a template",
	"hand it over with --stdin (Request.Stdin)", "write its input into the code instead",
	"Raise the limit with --timeout.", "The limit is the service's --max-timeout.",
)

// hint is what to do about a failure, as a line of its own, or "".
func hint(r *executor.Result) string {
	if r.Hint == "" {
		return ""
	}
	text := inSDK.Replace(r.Hint)
	if strings.Contains(text, "--") && !strings.Contains(text, "the service") {
		text += " (Flags are the service's.)"
	}
	return "\ncellblock: hint: " + text
}
