package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/internal/ndjson"
	"github.com/cellblock/cellblock/internal/warden"
	"github.com/cellblock/cellblock/nsjail"
)

// execution is one execution, whichever route it came by.
type execution struct {
	server  *Server
	call    *call
	body    Execution
	session *session // nil: a cell of its own
	run     func(context.Context, executor.Request) (executor.Result, error)
	leave   func()
}

// answer runs it and gives the answer, streamed if the client asked for that.
func (e *execution) answer(ctx context.Context) (*huma.StreamResponse, error) {
	if err := e.server.checkTimeout(e.body.Timeout); err != nil {
		e.leave()
		return nil, failed(ctx, err)
	}
	if accepts(e.call.r, ndjson.Type) {
		return &huma.StreamResponse{Body: func(hctx huma.Context) {
			_, w := humago.Unwrap(hctx)
			defer e.leave()
			e.stream(ctx, w)
		}}, nil
	}
	defer e.leave()
	result, err := e.execute(ctx, nil, nil)
	if err != nil {
		return nil, failed(ctx, err)
	}
	return &huma.StreamResponse{Body: func(hctx huma.Context) { writeJSON(hctx, http.StatusOK, result) }}, nil
}

// execute runs it, and notes what came of it.
func (e *execution) execute(ctx context.Context, stdout, stderr func([]byte)) (executor.Result, error) {
	files, remove, err := e.server.spool.inputs(e.call.owner, e.body.InputFiles)
	if err != nil {
		return executor.Result{}, err
	}
	defer remove()
	result, err := e.perform(ctx, executor.Request{
		Code: e.body.Code, StageName: e.body.StageName, InputFiles: files, FreshNamespace: e.body.FreshNamespace,
		Timeout: duration(e.body.Timeout), Validate: e.body.Validate, Stdout: stdout, Stderr: stderr,
	})
	result.Hint = inRequests.Replace(result.Hint)
	return result, err
}

// perform is execute for a request that is ready.
func (e *execution) perform(ctx context.Context, r executor.Request) (executor.Result, error) {
	ctx, cancel := e.context(ctx)
	defer cancel()
	result, err := e.run(ctx, r)
	err = e.withService(e.nameInputs(err))
	e.note(result, err)
	return result, err
}

// withService says of code that ended with the service that it did. In a session that
// outlives this process it goes on, which its error says.
func (e *execution) withService(err error) error {
	s := e.server
	ended := errors.Is(err, warden.ErrDetach) || errors.Is(err, context.Canceled) || errors.Is(err, executor.ErrClosed) || errors.Is(err, nsjail.ErrClosed)
	if !ended || s.life.Err() == nil || s.engine.Lasting() && e.session != nil && e.session.kind == "" {
		return err
	}
	p := problem(KindUnavailable, "the service is ending, and the code was ended with it: run it again").retry(5 * time.Second)
	p.cause = err
	return p
}

// context is the client's, or for one that may go away the service's.
func (e *execution) context(ctx context.Context) (context.Context, context.CancelFunc) {
	if e.body.KeepRunning {
		ctx = context.WithoutCancel(ctx)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(e.server.life, func() { cancel(context.Cause(e.server.life)) })
	return ctx, func() { stop(); cancel(nil) }
}

// nameInputs makes an error about a spooled file speak of the file's own name.
func (e *execution) nameInputs(err error) error {
	var invalid *executor.InvalidError
	if errors.As(err, &invalid) && invalid.What == "input file" {
		return problem(KindInvalid, "input_files: %s", invalid.Why)
	}
	return err
}

// note is the metrics and the audit line.
func (e *execution) note(r executor.Result, err error) {
	s, id := e.server, ""
	if e.session != nil {
		id = e.session.id
	}
	hash := sha256.Sum256([]byte(e.body.Code))
	fields := []any{"request", e.call.id, "owner", e.call.owner.name, "session", id, "code_sha256", hex.EncodeToString(hash[:])}
	if err != nil {
		p := problemOf(err)
		s.metrics.executions.WithLabelValues("none").Inc()
		s.keeper.count(e.call.owner, e.session, nil)
		s.settings.Log.Info("execution", append(fields, "verdict", "none", "kind", string(p.Kind))...)
		return
	}
	s.metrics.executions.WithLabelValues(string(r.Verdict)).Inc()
	s.metrics.seconds.Observe(r.ExecutionTime)
	s.keeper.count(e.call.owner, e.session, &r)
	s.settings.Log.Info("execution", append(fields, "verdict", string(r.Verdict), "return_code", r.ReturnCode, "lost", r.Session.Lost,
		"wall_s", r.Usage.WallSeconds, "cpu_s", r.Usage.CPUSeconds, "memory_peak_bytes", r.Usage.MemoryPeakBytes)...)
}

// accepts says whether the client names a media type among those it takes.
func accepts(r *http.Request, kind string) bool {
	for _, line := range r.Header.Values("Accept") {
		for part := range strings.SplitSeq(line, ",") {
			name, _, _ := strings.Cut(part, ";")
			if strings.EqualFold(strings.TrimSpace(name), kind) {
				return true
			}
		}
	}
	return false
}

// writeJSON answers where huma does not.
func writeJSON(ctx huma.Context, status int, v any) {
	ctx.SetHeader("Content-Type", "application/json")
	ctx.SetStatus(status)
	huma.DefaultJSONFormat.Marshal(ctx.BodyWriter(), v) // who reads it no more has nobody to tell
}

// executeResponses are those that OpenAPI names for an execution.
func executeResponses(api huma.API) func(*huma.Operation) {
	return func(op *huma.Operation) {
		op.Responses = map[string]*huma.Response{"200": {
			Description: "What came of it. With Accept: application/x-ndjson, frames, one a line, as they come.",
			Content: map[string]*huma.MediaType{
				"application/json": {Schema: refTo[executor.Result](api)},
				ndjson.Type:        {Schema: refTo[Frame](api)},
			},
		}}
	}
}
