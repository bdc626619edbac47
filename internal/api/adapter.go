package api

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// adapter gives huma's operations to the mux. A path that ends in {path} takes
// the rest of the URL, slashes included, which OpenAPI has no word for.
type adapter struct {
	mux *http.ServeMux
	huma.Adapter
}

func (a adapter) Handle(op *huma.Operation, handler func(huma.Context)) {
	own := *op
	if strings.HasSuffix(own.Path, "/{path}") {
		own.Path = strings.TrimSuffix(own.Path, "}") + "...}"
	}
	a.Adapter.Handle(&own, handler)
}

// operation has what all operations have in common.
func operation(id, method, path, summary string, also ...func(*huma.Operation)) huma.Operation {
	op := huma.Operation{
		OperationID: id, Method: method, Path: path, Summary: summary,
		BodyReadTimeout: -1, // the guard sees to it
		MaxBodyBytes:    -1, // likewise
	}
	for _, f := range also {
		f(&op)
	}
	return op
}

// requests are the schemas of what clients send, in which an unknown field is an
// error. In answers it is not: fields may be added.
var requests = []string{"Execution", "StandaloneExecution", "NewSession", "Limits", "InputFile", "Source"}

// polish mends what huma cannot know from the types.
func polish(api huma.API) {
	schemas := api.OpenAPI().Components.Schemas.Map()
	for name, schema := range schemas {
		if schema.AdditionalProperties == false && !slices.Contains(requests, name) {
			schema.AdditionalProperties = nil
		}
	}
	result := schemas["Result"].Properties
	result["exception"] = &huma.Schema{AnyOf: []*huma.Schema{result["exception"], {Type: "null"}}}
	problem := huma.SchemaFromType(api.OpenAPI().Components.Schemas, typeOf[Problem]())
	for _, path := range api.OpenAPI().Paths {
		for _, op := range []*huma.Operation{path.Get, path.Post, path.Put, path.Delete} {
			if op != nil && op.Responses["default"] == nil {
				op.Responses["default"] = &huma.Response{
					Description: "A problem", Content: map[string]*huma.MediaType{"application/problem+json": {Schema: problem}},
				}
			}
		}
	}
}

func addOpenAPI(api huma.API, mux *http.ServeMux) {
	mux.HandleFunc("GET /openapi.json", func(w http.ResponseWriter, r *http.Request) {
		text, err := document(api)
		if err != nil {
			writeProblem(w, r, problemOf(err))
			return
		}
		w.Header().Set("Content-Type", "application/openapi+json")
		w.Write(text)
	})
}

// document is the OpenAPI description, for people to read too.
func document(api huma.API) ([]byte, error) {
	text, err := json.MarshalIndent(api.OpenAPI(), "", "  ")
	if err != nil {
		return nil, err
	}
	return append(text, '\n'), nil
}
