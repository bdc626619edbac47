package e2b

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/internal/ndjson"
)

// newExecution is the body of POST /execute.
type newExecution struct {
	Code      string            `json:"code"`
	ContextID string            `json:"context_id"`
	Language  string            `json:"language"`
	EnvVars   map[string]string `json:"env_vars"`
}

// frame is one line of the answer to it.
type frame map[string]any

// execute runs code and tells of it frame by frame. A client that goes away
// interrupts its code: that is how the SDK keeps its time-out.
func (s *Server) execute(w http.ResponseWriter, r *http.Request, b *sandbox) error {
	var n newExecution
	if err := readJSON(r, &n); err != nil {
		return err
	}
	c := b.contexts.find(n.ContextID)
	if c == nil {
		return noContext(n.ContextID)
	}
	leave, err := b.lease.Enter(r.Context())
	if err != nil {
		return err
	}
	defer leave()
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	settings := s.service.Settings()
	out := ndjson.Start(w, settings.KeepAlive, frame{"type": "keepalive"}, cancel)
	defer out.End()
	if !isPython(n.Language) {
		out.Send(failureFrame("UnsupportedLanguage", "the language "+strconv.Quote(shorten(n.Language))+" is not available here: only python is"))
		out.Send(frame{"type": "end_of_execution"})
		return nil
	}
	text := func(kind string) *ndjson.Text {
		return &ndjson.Text{To: func(text string) { out.Send(frame{"type": kind, "text": text}) }}
	}
	stdout, stderr := text("stdout"), text("stderr")
	lost, err := c.renew(ctx)
	if err != nil {
		// Its directory is gone: the code runs in the workspace, as it says.
		stderr.Take([]byte("cellblock: " + failureOf(err).message + "\n"))
	}
	result, err := b.lease.Execute(ctx, c.repl.Execute, executor.Request{
		Code: n.Code, Env: n.EnvVars, Timeout: settings.MaxTimeout, Stdout: stdout.Take, Stderr: stderr.Take,
	})
	if isClosed(b.ended) || b.lease.Ended() {
		// The SDK looks, when its connection is cut, whether the sandbox lives.
		panic(http.ErrAbortHandler)
	}
	stdout.End()
	stderr.End()
	if err != nil {
		out.Send(failureFrame("ExecutionFailed", failureOf(err).message))
	} else {
		tell(out, c.number(result), &result, lost || result.Session.Lost && result.Success)
	}
	out.Send(frame{"type": "end_of_execution"})
	return nil
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func failureFrame(name, value string) frame {
	return frame{"type": "error", "name": name, "value": value, "traceback": name + ": " + value}
}

// tell sends what came of an execution. anew says that it had a fresh REPL.
func tell(out *ndjson.Stream, number int, r *executor.Result, anew bool) {
	if anew {
		out.Send(frame{"type": "stderr", "text": "cellblock: this context had ended, and began anew: its variables are gone, files are kept\n"})
	}
	for _, b := range r.Results {
		out.Send(resultFrame(b))
	}
	out.Send(frame{"type": "number_of_executions", "execution_count": number})
	if f := errorFrame(r); f != nil {
		f["traceback"] = strings.TrimRight(f["traceback"].(string), "\n") + hint(r)
		out.Send(f)
	}
}

// forms are the names that the SDK has for MIME types. Others go into extra.
var forms = map[string]string{
	"text/plain": "text", "text/html": "html", "text/markdown": "markdown", "image/svg+xml": "svg", "image/png": "png",
	"image/jpeg": "jpeg", "application/pdf": "pdf", "text/latex": "latex", "application/json": "json", "application/javascript": "javascript",
}

func resultFrame(b executor.Bundle) frame {
	f := frame{"type": "result", "is_main_result": b.Kind == "value"}
	extra := map[string]any{}
	for mime, form := range b.Data {
		var value any = form
		if mime == "application/json" || strings.HasSuffix(mime, "+json") {
			value = json.RawMessage(form)
		}
		if name := forms[mime]; name != "" {
			f[name] = value
		} else {
			extra[mime] = value
		}
	}
	if len(extra) > 0 {
		f["extra"] = extra
	}
	return f
}

// names are those of endings that no exception tells of: by the host's own word.
var names = map[executor.Verdict]string{
	executor.VerdictTimeout: "ExecutionTimeout", executor.VerdictCPUTime: "ExecutionTimeout", executor.VerdictOutOfMemory: "OutOfMemory",
	executor.VerdictOutputLimit: "OutputLimit", executor.VerdictKilled: "ExecutionKilled", executor.VerdictCrashed: "ContextCrashed",
	executor.VerdictRefused: "ExecutionRefused",
}

// errorFrame is how an execution failed, or nil.
func errorFrame(r *executor.Result) frame {
	name, told := names[r.Verdict]
	switch {
	case told:
		value := ""
		if r.Error != nil {
			value = *r.Error
		}
		return failureFrame(name, value)
	case r.Verdict == executor.VerdictExit:
		return failureFrame("SystemExit", strconv.Itoa(r.ReturnCode))
	case r.Exception != nil:
		return frame{"type": "error", "name": r.Exception.Name, "value": r.Exception.Value, "traceback": r.Exception.Traceback}
	case r.Error != nil:
		return failureFrame("ExecutionFailed", *r.Error)
	}
	return nil
}
