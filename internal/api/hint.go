package api

import "strings"

// inRequests says in a hint's words what a request can do, where the hint speaks to
// people at a command line. Flags that are left are those of the service.
var inRequests = strings.NewReplacer(
	" (--file, input_files)", " (input_files, or PUT …/files/{path})",
	"give them with --file or --dir (input_files)", "give them with input_files, or PUT …/files/{path}",
	"a package comes with --with NAME (installed on the host) or --venv DIR, a file of your own with --file or --dir",
	"packages come with the service (its --with or --venv) or with another root, a file of your own with input_files",
	"name them when the root is built (--with NAME, or --venv DIR)", "they come with the service (its --with or --venv), or with another root",
	"hand it over with --stdin (Request.Stdin)", "write its input into the code instead",
	"Raise the limit with --timeout.", "Raise it with timeout.",
	"Raise the limit with --memory", "Raise it with limits.memory of a new session",
	"raise it with --memory", "raise it with limits.memory of a new session",
	"raise --workspace-size", "raise limits.workspace_size of a new session",
	"raise it with --pids", "raise it with limits.pids of a new session",
)
