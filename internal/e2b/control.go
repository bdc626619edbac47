package e2b

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// envdVersion is what the SDK goes by: with it, files go up as they are or
// zipped, no user is named, and neither metadata of files nor events of
// directories are asked for.
const envdVersion = "0.5.7"

// control registers the calls that make, list and end sandboxes.
func (s *Server) control() {
	for _, prefix := range []string{"", "/v2"} {
		s.handle("POST "+prefix+"/sandboxes", s.create)
		s.handle("GET "+prefix+"/sandboxes", s.list)
		s.handleOne("POST "+prefix+"/sandboxes/{id}/connect", s.connect)
	}
	s.handleOne("GET /sandboxes/{id}", s.info)
	s.handleOne("DELETE /sandboxes/{id}", s.remove)
	s.handleOne("POST /sandboxes/{id}/timeout", s.setTimeout)
	for call, what := range map[string]string{
		"POST /sandboxes/{id}/pause":     "a cell cannot be paused: it lives until its time is over",
		"POST /sandboxes/{id}/snapshots": "a cell cannot be stored",
		"POST /sandboxes/{id}/fork":      "a sandbox cannot be copied: make another",
		"PUT /sandboxes/{id}/network":    "a cell has no network, and cannot be given one",
		"GET /sandboxes/{id}/metrics":    "figures of a sandbox are not told here: see the service's own /v1/sessions",
	} {
		s.mux.HandleFunc(call, func(w http.ResponseWriter, r *http.Request) { fail(w, r, unsupported("%s", what)) })
	}
}

// caller is whose API key a request shows.
func (s *Server) caller(r *http.Request) (string, error) {
	key := r.Header.Get("X-Api-Key")
	if key == "" {
		return "", failed(http.StatusUnauthorized, "an API key is needed, in the header X-API-Key")
	}
	if s.settings.Open {
		return "e2b:open", nil
	}
	name, ok := s.service.Token(key)
	if !ok {
		return "", failed(http.StatusUnauthorized, "the API key is none of this service's tokens")
	}
	return name, nil
}

// handle registers a call of a known caller.
func (s *Server) handle(pattern string, f func(w http.ResponseWriter, r *http.Request, caller string) error) {
	s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		caller, err := s.caller(r)
		if err == nil {
			err = f(w, r, caller)
		}
		if err != nil {
			fail(w, r, err)
		}
	})
}

// handleOne registers a call about one of the caller's sandboxes. Another's is
// as one that is not there.
func (s *Server) handleOne(pattern string, f func(w http.ResponseWriter, r *http.Request, b *sandbox) error) {
	s.handle(pattern, func(w http.ResponseWriter, r *http.Request, caller string) error {
		id := r.PathValue("id")
		b := s.lookup(id)
		if b == nil || b.owner != caller {
			return failed(http.StatusNotFound, "there is no sandbox %q", shorten(id))
		}
		return f(w, r, b)
	})
}

// newSandbox is the body of a creation. What cells cannot give is refused.
type newSandbox struct {
	TemplateID          string            `json:"templateID"`
	Timeout             *float64          `json:"timeout"`
	Metadata            map[string]string `json:"metadata"`
	EnvVars             map[string]string `json:"envVars"`
	AllowInternetAccess *bool             `json:"allow_internet_access"`
	AutoPause           bool              `json:"autoPause"`
	Network             json.RawMessage   `json:"network"`
	IAM                 json.RawMessage   `json:"iam"`
	MCP                 json.RawMessage   `json:"mcp"`
	VolumeMounts        []any             `json:"volumeMounts"`

	life time.Duration
}

func (n *newSandbox) check(s *Server) (err error) {
	set := func(raw json.RawMessage) bool { return len(raw) > 0 && string(raw) != "null" }
	switch {
	case n.AllowInternetAccess != nil && *n.AllowInternetAccess, set(n.Network):
		return invalid("a cell has no network: leave allowInternetAccess and network out")
	case n.AutoPause:
		return invalid("a cell cannot be paused: its end is its end (lifecycle.onTimeout: kill)")
	case set(n.IAM), set(n.MCP), len(n.VolumeMounts) > 0:
		return invalid("iam, mcp and volumeMounts are not supported here")
	case len(n.TemplateID) > maxTemplate:
		return invalid("templateID: the name of a root has at most %d bytes", maxTemplate)
	case len(n.Metadata) > maxMetadata, size(n.Metadata) > maxMetadataBytes:
		return invalid("metadata: at most %d entries of %d bytes together are kept", maxMetadata, maxMetadataBytes)
	case size(n.EnvVars) > maxEnvBytes:
		return invalid("envVars: at most %d bytes together are allowed", maxEnvBytes)
	}
	n.life, err = s.life(n.Timeout)
	return err
}

// What is kept of a creation for as long as its sandbox lives is bounded.
const (
	maxTemplate      = 64 // as with POST /v1/sessions
	maxMetadata      = 64
	maxMetadataBytes = 16 << 10
	maxEnvBytes      = 256 << 10
)

// size is how many bytes the names and values have together.
func size(m map[string]string) int {
	n := 0
	for name, value := range m {
		n += len(name) + len(value)
	}
	return n
}

// life is a time-out in seconds as a time; none: the usual one.
func (s *Server) life(seconds *float64) (time.Duration, error) {
	if seconds == nil {
		return min(DefaultTimeout, s.settings.MaxTimeout), nil
	}
	if *seconds < 0 || *seconds > s.settings.MaxTimeout.Seconds() {
		return 0, invalid("timeout: a sandbox lives 0 to %g seconds", s.settings.MaxTimeout.Seconds())
	}
	return time.Duration(*seconds * float64(time.Second)), nil
}

// rootOf is the prepared root that a template's name stands for; "": the
// service's own, which has the part of E2B's usual templates.
func rootOf(template string) string {
	if template == "code-interpreter-v1" || template == "base" {
		return ""
	}
	return template
}

func (s *Server) create(w http.ResponseWriter, r *http.Request, caller string) error {
	var n newSandbox
	if err := readJSON(r, &n); err != nil {
		return err
	}
	if err := n.check(s); err != nil {
		return err
	}
	b, err := s.make(r.Context(), caller, n)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusCreated, b.handOver())
	return nil
}

// handOver is what the SDK uses a sandbox with.
func (b *sandbox) handOver() map[string]any {
	return map[string]any{
		"sandboxID": b.id, "templateID": b.template, "clientID": "cellblock", "alias": b.template, "envdVersion": envdVersion,
		"envdAccessToken": b.secret, "trafficAccessToken": b.secret, "domain": nil,
	}
}

// describe is a sandbox for people.
func (b *sandbox) describe() map[string]any {
	limits := b.lease.Limits()
	metadata := b.metadata
	if metadata == nil {
		metadata = map[string]string{}
	}
	return map[string]any{
		"sandboxID": b.id, "templateID": b.template, "clientID": "cellblock", "alias": b.template, "envdVersion": envdVersion,
		"startedAt": stamp(b.began), "endAt": stamp(b.endAt()), "state": "running", "metadata": metadata,
		"cpuCount": max(1, int(limits.CPUs)), "memoryMB": limits.MemoryBytes >> 20, "diskSizeMB": limits.WorkspaceBytes >> 20,
		"allowInternetAccess": false,
	}
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

func (s *Server) info(w http.ResponseWriter, _ *http.Request, b *sandbox) error {
	writeJSON(w, http.StatusOK, b.describe())
	return nil
}

func (s *Server) remove(w http.ResponseWriter, _ *http.Request, b *sandbox) error {
	if err := s.end(b); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

type timeoutBody struct {
	Timeout *float64 `json:"timeout"`
}

func (s *Server) setTimeout(w http.ResponseWriter, r *http.Request, b *sandbox) error {
	life, err := s.readLife(r)
	if err != nil {
		return err
	}
	b.live(life)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// connect hands a sandbox over once more; it never shortens its life.
func (s *Server) connect(w http.ResponseWriter, r *http.Request, b *sandbox) error {
	life, err := s.readLife(r)
	if err != nil {
		return err
	}
	b.liveLonger(life)
	writeJSON(w, http.StatusOK, b.handOver())
	return nil
}

func (s *Server) readLife(r *http.Request) (time.Duration, error) {
	var body timeoutBody
	if err := readJSON(r, &body); err != nil {
		return 0, err
	}
	return s.life(body.Timeout)
}

// list gives the caller's sandboxes, the newest first, in pages.
func (s *Server) list(w http.ResponseWriter, r *http.Request, caller string) error {
	q := r.URL.Query()
	wanted, err := url.ParseQuery(q.Get("metadata"))
	if err != nil {
		return invalid("metadata: %v", err)
	}
	if states := q.Get("state"); states != "" && !slices.Contains(splitList(states), "running") {
		writeJSON(w, http.StatusOK, []any{})
		return nil
	}
	boxes := slices.DeleteFunc(s.of(caller), func(b *sandbox) bool {
		for name := range wanted {
			if value, ok := b.metadata[unescape(name)]; !ok || value != unescape(wanted.Get(name)) {
				return true
			}
		}
		return false
	})
	slices.SortFunc(boxes, func(a, b *sandbox) int { return cmp.Or(b.began.Compare(a.began), cmp.Compare(a.id, b.id)) })
	limit, offset := number(q.Get("limit"), 100), number(q.Get("nextToken"), 0)
	boxes = boxes[min(offset, len(boxes)):]
	if len(boxes) > limit && limit > 0 {
		boxes = boxes[:limit]
		w.Header().Set("X-Next-Token", strconv.Itoa(offset+limit))
	}
	all := []any{}
	for _, b := range boxes {
		all = append(all, b.describe())
	}
	writeJSON(w, http.StatusOK, all)
	return nil
}

// splitList splits a value that names several.
func splitList(s string) []string { return strings.Split(s, ",") }

// unescape undoes the second escaping that the SDK gives values of metadata.
func unescape(s string) string {
	if plain, err := url.QueryUnescape(s); err == nil {
		return plain
	}
	return s
}

func number(s string, otherwise int) int {
	if n, err := strconv.Atoi(s); err == nil && n >= 0 {
		return n
	}
	return otherwise
}

// admitted runs f as an execution of the sandbox's, by its owner's quota.
func (b *sandbox) admitted(ctx context.Context, f func() error) error {
	leave, err := b.lease.Enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	return f()
}
