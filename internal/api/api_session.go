package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

// SessionPath is the part of a path that names a session of the caller.
type SessionPath struct {
	ID string `path:"id" doc:"The session."`
}

// addSession: GET and DELETE /v1/sessions/{id}.
func addSession(s *Server, api huma.API) {
	huma.Register(api, operation("getSession", http.MethodGet, "/v1/sessions/{id}", "Describe a session"),
		func(ctx context.Context, in *SessionPath) (*sessionOutput, error) {
			x, done, err := s.keeper.peek(callOf(ctx).owner, in.ID)
			if err != nil {
				return nil, failed(ctx, err)
			}
			defer done()
			return &sessionOutput{s.describe(x)}, nil
		})
	huma.Register(api, operation("deleteSession", http.MethodDelete, "/v1/sessions/{id}", "End a session and all that it holds; one that is not there is no error"),
		func(ctx context.Context, in *SessionPath) (*struct{}, error) {
			o := callOf(ctx).owner
			if x := s.keeper.lookup(o, in.ID); x != nil {
				if err := s.endSession(x); err != nil {
					return nil, failed(ctx, err)
				}
			}
			s.keeper.forget(o, in.ID)
			return nil, nil
		})
}
