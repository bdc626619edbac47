package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/cellblock/cellblock/executor"
)

// addResult: GET /v1/sessions/{id}/result.
func addResult(s *Server, api huma.API) {
	result := func(op *huma.Operation) {
		op.Responses = map[string]*huma.Response{"200": {
			Description: "What came of it.",
			Content:     map[string]*huma.MediaType{"application/json": {Schema: api.OpenAPI().Components.Schemas.Schema(typeOf[executor.Result](), true, "Result")}},
		}}
	}
	op := operation("lastResult", http.MethodGet, "/v1/sessions/{id}/result",
		"Get the result of a session's last execution, once nothing runs in it; also of one whose client, or whose service, went away", result)
	huma.Register(api, op, func(ctx context.Context, in *SessionPath) (*huma.StreamResponse, error) {
		o := callOf(ctx).owner
		x, done, err := s.keeper.find(o, in.ID)
		if err != nil {
			return nil, failed(ctx, err)
		}
		defer done()
		leave, err := s.keeper.read(o)
		if err != nil {
			return nil, failed(ctx, err)
		}
		answers := false
		defer func() {
			if !answers {
				leave()
			}
		}()
		wait, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		stop := context.AfterFunc(s.life, func() { cancel(errDraining()) })
		defer stop()
		r, err := x.session.Result(wait)
		if err != nil {
			if s.life.Err() != nil {
				err = errDraining()
			}
			return nil, failed(ctx, err)
		}
		answers = true
		return &huma.StreamResponse{Body: func(hctx huma.Context) {
			defer leave()
			writeJSON(hctx, http.StatusOK, r)
		}}, nil
	})
}
