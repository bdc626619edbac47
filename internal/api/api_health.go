package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

type healthOutput struct {
	Body Health
}

// addHealth: GET /healthz.
func addHealth(_ *Server, api huma.API) {
	huma.Register(api, operation("health", http.MethodGet, "/healthz", "Say that the service lives"),
		func(context.Context, *struct{}) (*healthOutput, error) { return &healthOutput{Health{"ok"}}, nil })
}

// addReady: GET /readyz.
func addReady(s *Server, api huma.API) {
	huma.Register(api, operation("ready", http.MethodGet, "/readyz", "Say whether sessions can be made: not before the root is there, nor while the service ends"),
		func(ctx context.Context, _ *struct{}) (*healthOutput, error) {
			if !s.ready.Load() {
				return nil, failed(ctx, problem(KindUnavailable, "the service is starting or ending").retry(retryAfter))
			}
			return &healthOutput{Health{"ready"}}, nil
		})
}
