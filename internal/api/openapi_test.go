package api

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write openapi.json anew")

// The description that clients are generated from changes only on purpose: go
// test ./internal/api -run TestOpenAPI -update.
func TestOpenAPI(t *testing.T) {
	api := routes(&Server{settings: Settings{Version: "1"}.withDefaults(), metrics: &metrics{}}, http.NewServeMux())
	text, err := document(api)
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("openapi.json", text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(text, want) {
		t.Errorf("openapi.json is not what the code says (-file +code):\n%s", cmp.Diff(string(want), string(text)))
	}
}

// What is answered is what the document says, of which generated clients make
// types: every answer below is checked against its operation's schema.
func TestAnswersFitTheDocument(t *testing.T) {
	c := serve(t, Settings{})
	registry := c.server.api.OpenAPI().Components.Schemas
	fits := func(operation *huma.Operation, r *reply) {
		t.Helper()
		kind := "application/json"
		response := operation.Responses[strconv.Itoa(r.status)]
		if response == nil {
			response, kind = operation.Responses["default"], "application/problem+json"
		}
		if got, _, _ := strings.Cut(r.header.Get("Content-Type"), ";"); got == "application/x-ndjson" {
			kind = got
		} else if got != kind {
			t.Errorf("%s: %d is %q, and the document says %q", r.what, r.status, got, kind)
		}
		for line := range bytes.Lines(r.body) {
			var value any
			if err := json.Unmarshal(line, &value); err != nil {
				t.Fatalf("%s: %v: %.300s", r.what, err, line)
			}
			var found huma.ValidateResult
			huma.Validate(registry, response.Content[kind].Schema, huma.NewPathBuffer(nil, 0), huma.ModeReadFromServer, value, &found)
			for _, err := range found.Errors {
				t.Errorf("%s: %d: %v\n%.1000s", r.what, r.status, err, line)
			}
		}
	}
	paths := c.server.api.OpenAPI().Paths
	execute := paths["/v1/sessions/{id}/execute"].Post
	run := func(code string, headers ...string) *reply {
		return c.ask("POST", "/v1/sessions/s/execute", Execution{Code: code}, headers...)
	}
	files := func() *reply { return c.ask("GET", "/v1/sessions/s/files", nil) }

	fits(paths["/v1/sessions"].Get, c.ask("GET", "/v1/sessions", nil).want(200))
	fits(paths["/v1/sessions"].Post, c.ask("POST", "/v1/sessions", NewSession{ID: "s"}).want(201))
	fits(paths["/v1/sessions"].Post, c.ask("POST", "/v1/sessions", NewSession{ID: "s"}).want(409))
	fits(paths["/v1/sessions"].Post, c.ask("POST", "/v1/sessions", map[string]any{"memory": 1}).want(400))
	fits(paths["/v1/sessions"].Get, c.ask("GET", "/v1/sessions", nil).want(200))
	fits(paths["/v1/sessions/{id}/files"].Get, files().want(200))
	for _, code := range []string{"", "x = 1", "[1, 2]", "1/0", "def f(:", "import sys; sys.exit(3)", "import os; os._exit(1)", "open('f', 'w').write('x')", "import os; os.kill(os.getpid(), 9)"} {
		fits(execute, run(code).want(200))
		fits(execute, run(code, "Accept", "application/x-ndjson").want(200))
	}
	fits(execute, c.ask("POST", "/v1/sessions/s/execute", Execution{Code: "import socket", Validate: true}).want(200))
	fits(paths["/v1/execute"].Post, c.ask("POST", "/v1/execute", StandaloneExecution{Execution: Execution{Code: "while True: pass", Timeout: 0.2}}).want(200))
	fits(paths["/v1/sessions/{id}"].Get, c.ask("GET", "/v1/sessions/s", nil).want(200))
	fits(paths["/v1/sessions/{id}"].Get, c.ask("GET", "/v1/sessions/none", nil).want(404))
	fits(paths["/v1/sessions/{id}/files"].Get, files().want(200))
	fits(paths["/v1/validate"].Post, c.ask("POST", "/v1/validate", Source{Code: "x = 1"}).want(200))
	fits(paths["/v1/validate"].Post, c.ask("POST", "/v1/validate", Source{Code: "import socket"}).want(200))
	fits(paths["/v1/stats"].Get, c.ask("GET", "/v1/stats", nil).want(200))
}

func TestOpenAPIIsServed(t *testing.T) {
	c := serve(t, Settings{Version: "1"})
	want, err := os.ReadFile("openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	if r := c.ask("GET", "/openapi.json", nil).want(200); !bytes.Equal(r.body, want) {
		t.Errorf("another description is served: %.200s", r.body)
	}
}
