package e2b

import (
	"net/http"
	"strings"
	"time"

	"github.com/cellblock/cellblock/internal/api"
)

// Settings of a Server.
type Settings struct {
	// Open lets in whoever shows any API key: all of them are one caller.
	Open bool
	// MaxTimeout is the longest that a sandbox may ask to live; 24 h.
	MaxTimeout time.Duration
}

// DefaultTimeout is how long a sandbox lives that names no time, as with E2B.
const DefaultTimeout = 5 * time.Minute

// Server holds the sandboxes. It is safe for concurrent use.
type Server struct {
	service  *api.Server
	settings Settings
	boxes    sandboxes
	mux      *http.ServeMux
}

// New makes a Server over a service, whose Shutdown ends its sandboxes.
func New(service *api.Server, s Settings) *Server {
	if s.MaxTimeout == 0 {
		s.MaxTimeout = 24 * time.Hour
	}
	x := &Server{service: service, settings: s, mux: http.NewServeMux()}
	x.boxes.byID = map[string]*sandbox{}
	x.control()
	x.interpreter()
	x.files()
	x.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fail(w, r, unsupported("%s %s is no call that this service answers (see docs/e2b.md)", r.Method, shorten(r.URL.Path)))
	})
	return x
}

// Door is how requests get in that name one of hosts.
func (s *Server) Door(hosts []string) api.Door {
	return api.Door{
		Handler: s.mux,
		Hosts:   hosts,
		Upload:  func(r *http.Request) bool { return r.Method == http.MethodPost && r.URL.Path == "/files" },
		Takes: func(kind string) bool {
			return kind == "application/json" || strings.HasPrefix(kind, streamType)
		},
		Refuse: func(w http.ResponseWriter, r *http.Request, p *api.Problem) { fail(w, r, p) },
	}
}

func shorten(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}
