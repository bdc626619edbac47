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
	server *Server
	mux    *http.ServeMux
	huma.Adapter
}

func (a adapter) Handle(op *huma.Operation, handler func(huma.Context)) {
	own := *op
	if strings.HasSuffix(own.Path, "/{path}") {
		own.Path = strings.TrimSuffix(own.Path, "}") + "...}"
	}
	if own.OperationID == "executeInSession" {
		handler = a.server.plainly(handler)
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
		if slices.Contains(requests, name) {
			continue
		}
		schema.AdditionalProperties = nil
		for _, property := range schema.Properties {
			if property.Type == huma.TypeArray {
				property.Nullable = false // an answer's list may be empty, and is no null
			}
		}
	}
	// A form of a result is a string, or with a JSON type any value.
	schemas["Bundle"].Properties["data"].AdditionalProperties = true
	result := schemas["Result"].Properties
	result["exception"] = &huma.Schema{AnyOf: []*huma.Schema{result["exception"], {Type: "null"}}}
	failure := &huma.Response{
		Description: "A problem",
		Headers: map[string]*huma.Param{"Retry-After": {
			Description: "Seconds after which trying again makes sense; with 429 and 503.", Schema: &huma.Schema{Type: huma.TypeInteger},
		}},
		Content: map[string]*huma.MediaType{"application/problem+json": {Schema: refTo[Problem](api)}},
	}
	for _, path := range api.OpenAPI().Paths {
		for _, op := range []*huma.Operation{path.Get, path.Post, path.Put, path.Delete} {
			if op != nil {
				op.Responses["default"] = failure
			}
		}
	}
}

// refTo is the schema of a type by its name, which generated clients have a type
// of the same name for.
func refTo[T any](api huma.API) *huma.Schema {
	return api.OpenAPI().Components.Schemas.Schema(typeOf[T](), true, "")
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
