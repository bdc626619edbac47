package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/cellblock/cellblock/executor"
)

type sourceInput struct {
	Body Source
}

type validationOutput struct {
	Body Validation
}

// addValidate: POST /v1/validate.
func addValidate(s *Server, api huma.API) {
	op := operation("validate", http.MethodPost, "/v1/validate", "Say what the validator finds in code. It is a lint, not the boundary")
	huma.Register(api, op, func(ctx context.Context, in *sourceInput) (*validationOutput, error) {
		valid, issues, err := s.engine.Validate(ctx, in.Body.Code)
		if err != nil {
			return nil, failed(ctx, err)
		}
		if issues == nil {
			issues = []executor.Issue{}
		}
		return &validationOutput{Validation{valid, issues}}, nil
	})
}
