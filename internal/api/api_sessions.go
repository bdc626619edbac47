package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

type newSessionInput struct {
	Body NewSession
}

type sessionOutput struct {
	Body SessionInfo
}

type sessionListOutput struct {
	Body SessionList
}

// addSessions: POST and GET /v1/sessions.
func addSessions(s *Server, api huma.API) {
	made := func(op *huma.Operation) { op.DefaultStatus = http.StatusCreated }
	huma.Register(api, operation("createSession", http.MethodPost, "/v1/sessions", "Make a session", made),
		func(ctx context.Context, in *newSessionInput) (*sessionOutput, error) {
			c := callOf(ctx)
			x, err := s.makeSession(ctx, c.owner, in.Body.ID, "", in.Body.Creation, nil)
			if err != nil {
				return nil, failed(ctx, err)
			}
			c.session = x.id
			return &sessionOutput{s.describe(x)}, nil
		})
	huma.Register(api, operation("listSessions", http.MethodGet, "/v1/sessions", "List the caller's sessions"),
		func(ctx context.Context, _ *struct{}) (*sessionListOutput, error) {
			out := &sessionListOutput{SessionList{[]SessionInfo{}}}
			for _, x := range s.sessionsOf(callOf(ctx).owner) {
				out.Body.Sessions = append(out.Body.Sessions, s.describe(x))
			}
			return out, nil
		})
}
