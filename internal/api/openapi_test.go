package api

import (
	"bytes"
	"flag"
	"net/http"
	"os"
	"testing"

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
