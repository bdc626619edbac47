package api

import (
	"context"
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"github.com/cellblock/cellblock/executor"
)

func typeOf[T any]() reflect.Type { return reflect.TypeFor[T]() }

type executeInput struct {
	Body StandaloneExecution
}

// addExecute: POST /v1/execute.
func addExecute(s *Server, api huma.API) {
	op := operation("execute", http.MethodPost, "/v1/execute", "Run code in a cell of its own, or in a session", executeResponses(api))
	huma.Register(api, op, func(ctx context.Context, in *executeInput) (*huma.StreamResponse, error) {
		c := callOf(ctx)
		if in.Body.SessionID != "" {
			x, done, err := s.findOrMake(ctx, c.owner, in.Body.SessionID, in.Body.Creation)
			if err != nil {
				return nil, failed(ctx, err)
			}
			return s.executeIn(ctx, x, done, in.Body.Execution)
		}
		return s.executeAlone(ctx, in.Body)
	})
}

// findOrMake returns a session of the owner, made when there is none.
func (s *Server) findOrMake(ctx context.Context, o *owner, id string, creation Creation) (*session, func(), error) {
	x, done, err := s.keeper.find(o, id)
	if err == nil {
		if err = s.keepsTo(x, creation.Limits); err != nil {
			done()
			return nil, nil, err
		}
		return x, done, nil
	}
	if problemOf(err).Kind != KindNotFound {
		return nil, nil, err
	}
	if _, err := s.makeSession(ctx, o, id, "", creation, nil); err != nil {
		return nil, nil, err
	}
	return s.keeper.find(o, id)
}

// keepsTo says whether a session that is there has the limits that are asked for.
func (s *Server) keepsTo(x *session, asked Limits) error {
	want, err := s.limits(asked)
	if err != nil {
		return err
	}
	has := x.session.Limits()
	for _, err := range []error{
		differs("timeout", want.Timeout, has.Timeout),
		differs("cpu_time", want.CPUTime, has.CPUTime),
		differs("memory_mb", want.MaxMemoryMB, has.MaxMemoryMB),
		differs("cpus", want.CPUs, has.CPUs),
		differs("pids", want.PIDs, has.PIDs),
		differs("workspace_size", want.WorkspaceBytes, has.WorkspaceBytes),
		differs("workspace_files", want.WorkspaceFiles, has.WorkspaceFiles),
		differs("max_output", want.MaxOutput, has.MaxOutput),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}

// differs is an error where a limit is asked for, and is another.
func differs[T comparable](name string, want, has T) error {
	var none T
	if want == none || want == has {
		return nil
	}
	return problem(KindInvalid, "the session has its limits since it was made: %s is %v, and not %v", name, has, want)
}

// executeIn runs code in a session; done lets go of it.
func (s *Server) executeIn(ctx context.Context, x *session, done func(), body Execution) (*huma.StreamResponse, error) {
	c := callOf(ctx)
	c.session = x.id
	leave, err := s.keeper.enter(c.owner, x)
	if err != nil {
		done()
		return nil, failed(ctx, err)
	}
	e := &execution{server: s, call: c, body: body, session: x, run: x.session.Execute, leave: func() { leave(); done() }}
	return e.answer(ctx)
}

// executeAlone runs code in a cell that is gone afterwards.
func (s *Server) executeAlone(ctx context.Context, body StandaloneExecution) (*huma.StreamResponse, error) {
	c := callOf(ctx)
	leave, err := s.keeper.enter(c.owner, nil)
	if err != nil {
		return nil, failed(ctx, err)
	}
	run := func(ctx context.Context, r executor.Request) (executor.Result, error) {
		x, err := s.makeSession(ctx, c.owner, "", "once", body.Creation, nil)
		if err != nil {
			return executor.Result{}, err
		}
		r.Finish = true
		result, err := x.session.Execute(ctx, r)
		if cerr := s.endSession(x); err == nil {
			err = cerr
		}
		result.Session.ID = ""
		return result, err
	}
	e := &execution{server: s, call: c, body: body.Execution, run: run, leave: leave}
	return e.answer(ctx)
}
