package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

type fileListOutput struct {
	Body FileList
}

// addFiles: GET /v1/sessions/{id}/files.
func addFiles(s *Server, api huma.API) {
	op := operation("listFiles", http.MethodGet, "/v1/sessions/{id}/files", "List the files of a session's workspace, also while code runs")
	huma.Register(api, op, func(ctx context.Context, in *SessionPath) (*fileListOutput, error) {
		x, done, err := s.keeper.find(callOf(ctx).owner, in.ID)
		if err != nil {
			return nil, failed(ctx, err)
		}
		defer done()
		files, whole, err := x.session.Files()
		if err != nil {
			return nil, failed(ctx, err)
		}
		return &fileListOutput{FileList{files, whole}}, nil
	})
}
