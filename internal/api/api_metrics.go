package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// addMetrics: GET /metrics.
func addMetrics(s *Server, api huma.API) {
	handler := promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{})
	text := func(op *huma.Operation) {
		op.Responses = map[string]*huma.Response{"200": {
			Description: "Prometheus metrics", Content: map[string]*huma.MediaType{"text/plain": {Schema: &huma.Schema{Type: huma.TypeString}}},
		}}
	}
	huma.Register(api, operation("metrics", http.MethodGet, "/metrics", "Tell the service's figures for Prometheus", text),
		func(context.Context, *struct{}) (*huma.StreamResponse, error) {
			return &huma.StreamResponse{Body: func(hctx huma.Context) {
				r, w := humago.Unwrap(hctx)
				handler.ServeHTTP(w, r)
			}}, nil
		})
}
