package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

type statsOutput struct {
	Body Stats
}

// addStats: GET /v1/stats.
func addStats(s *Server, api huma.API) {
	huma.Register(api, operation("stats", http.MethodGet, "/v1/stats", "Tell the caller's figures"),
		func(ctx context.Context, _ *struct{}) (*statsOutput, error) {
			o := callOf(ctx).owner
			s.keeper.mu.Lock()
			defer s.keeper.mu.Unlock()
			return &statsOutput{Stats{
				Owner: o.name, Sessions: len(o.sessions), Running: o.running, MemoryBytes: o.memory,
				Executions: o.executions, Failures: o.failures, Expired: o.expired, Quota: s.settings.Quota,
			}}, nil
		})
}
