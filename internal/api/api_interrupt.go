package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

// addInterrupt: POST /v1/sessions/{id}/interrupt.
func addInterrupt(s *Server, api huma.API) {
	op := operation("interruptSession", http.MethodPost, "/v1/sessions/{id}/interrupt",
		"Send the code that runs a KeyboardInterrupt; without any, nothing happens. Variables live on")
	huma.Register(api, op, func(ctx context.Context, in *SessionPath) (*struct{}, error) {
		x, done, err := s.keeper.find(callOf(ctx).owner, in.ID)
		if err != nil {
			return nil, failed(ctx, err)
		}
		defer done()
		if !s.keeper.isRunning(x) {
			return nil, nil
		}
		if err := x.session.Interrupt(); err != nil {
			return nil, failed(ctx, err)
		}
		return nil, nil
	})
}
