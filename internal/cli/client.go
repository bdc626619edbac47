package cli

import (
	"io"

	"github.com/cellblock/cellblock/executor"
)

// ExitStatus is the exit status of `cellblock run` for a result; for commands
// that have it from a service.
func ExitStatus(r executor.Result) int { return exitStatus(r) }

// Explain says on w, in the words of `cellblock run`, why an execution failed.
func Explain(w io.Writer, r executor.Result) {
	a := &app{Streams: Streams{Err: w}}
	a.explain(executor.Request{Filename: "<string>"}, r, false)
}
