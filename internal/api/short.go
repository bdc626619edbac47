package api

import (
	"net/http"
	"strings"

	"github.com/cellblock/cellblock/internal/ndjson"
)

// isShort says of which requests the answer is one piece: all of /v1 but streams
// and files.
func isShort(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodPost, http.MethodDelete:
		return strings.HasPrefix(r.URL.Path, "/v1/") && !strings.Contains(r.URL.Path, "/files") && !accepts(r, ndjson.Type)
	}
	return false
}
