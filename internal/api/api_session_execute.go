package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

type sessionExecuteInput struct {
	SessionPath
	Body Execution
}

// addSessionExecute: POST /v1/sessions/{id}/execute.
func addSessionExecute(s *Server, api huma.API) {
	op := operation("executeInSession", http.MethodPost, "/v1/sessions/{id}/execute", "Run code in a session", executeResponses(api))
	huma.Register(api, op, func(ctx context.Context, in *sessionExecuteInput) (*huma.StreamResponse, error) {
		return s.executeNamed(ctx, in.ID, in.Body)
	})
}

// executeNamed runs code in a session of the caller.
func (s *Server) executeNamed(ctx context.Context, id string, body Execution) (*huma.StreamResponse, error) {
	x, done, err := s.keeper.find(callOf(ctx).owner, id)
	if err != nil {
		return nil, failed(ctx, err)
	}
	return s.executeIn(ctx, x, done, body)
}
