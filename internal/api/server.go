package api

import (
	"context"
	"errors"
	"log"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/cellblock/cellblock/internal/lane"
	"github.com/cellblock/cellblock/internal/warden"
)

// Server is the service. It is safe for concurrent use, and cannot be used
// again after Shutdown.
type Server struct {
	settings Settings
	engine   warden.Engine
	keeper   *keeper
	spool    *spool
	metrics  *metrics
	mcp      *mcpServers
	api      huma.API
	http     *http.Server
	lanes    *lane.Lanes   // what the Unix socket's short requests take
	large    chan struct{} // holds a token for each large body that is read
	doors    doors         // other protocols
	ready    atomic.Bool

	expiry context.CancelFunc
	idle   sync.WaitGroup // what expires sessions
	life   context.Context
	end    context.CancelCauseFunc // ends what goes on without a client
}

// New makes a Server. It builds no cell yet: see Warm.
func New(s Settings) (*Server, error) {
	s.Defaults = s.Engine.Defaults().Limits
	s = s.withDefaults()
	if err := s.Check(); err != nil {
		return nil, err
	}
	spool, err := newSpool(s.Spool, s.SpoolBytes)
	if err != nil {
		return nil, err
	}
	x := &Server{settings: s, engine: s.Engine, keeper: newKeeper(s), spool: spool, large: make(chan struct{}, largeBodies)}
	x.metrics = newMetrics(x)
	x.life, x.end = context.WithCancelCause(context.Background())
	x.mcp = newMCPServers(x)
	mux := http.NewServeMux()
	x.api = routes(x, mux)
	x.http = x.newHTTP(x.guard(straight(mux)))
	x.lanes = lane.New(lane.Config{
		Handler: x.http.Handler, Context: withPeer, Short: isShort,
		FirstTime: headerTime, IdleTime: idleTime, WriteTime: writeTime, Log: s.Log,
	})
	ctx, cancel := context.WithCancel(context.Background())
	x.expiry = cancel
	x.idle.Go(func() { x.expireIdle(ctx) })
	return x, nil
}

// newHTTP bounds what a client may take before a handler sees its request.
func (s *Server) newHTTP(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    32 << 10,
		ConnContext:       withPeer,
		ErrorLog:          log.New(logWriter{s.settings.Log}, "", 0),
	}
}

// logWriter passes what package http has to say on to the log.
type logWriter struct{ log *slog.Logger }

func (w logWriter) Write(b []byte) (int, error) {
	w.log.Warn("http", "message", string(b))
	return len(b), nil
}

// Warm proves that cells can be built, and builds the root if need be, which
// can take minutes; and it takes over the sessions that a process before this one
// has made. Until then /readyz says no.
func (s *Server) Warm(ctx context.Context) error {
	if err := s.engine.Ready(ctx); err != nil {
		return err
	}
	if err := s.adopt(ctx); err != nil {
		return err
	}
	s.ready.Store(true)
	return nil
}

// Renew has new sessions get what the host's Python and packages are now, without a
// break; see executor.Renew.
func (s *Server) Renew(ctx context.Context) error { return s.engine.Renew(ctx) }

// Serve answers on a listener until Shutdown.
func (s *Server) Serve(l net.Listener) error {
	return s.serve(s.http, s.lanes.Listen(s.limit(l)))
}

func (s *Server) limit(l net.Listener) net.Listener {
	return limitConnections(l, s.settings.Connections)
}

func (s *Server) serve(h *http.Server, l net.Listener) error {
	err := h.Serve(l)
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// Shutdown admits nothing more, waits for executions until ctx ends, and ends
// all sessions. Nothing of them is left when it returns. Where the engine's are
// lasting, they stay, and what still runs in them goes on.
func (s *Server) Shutdown(ctx context.Context) error {
	s.ready.Store(false)
	s.keeper.mu.Lock()
	s.keeper.draining = true
	s.keeper.mu.Unlock()
	s.expiry()
	s.idle.Wait()
	var wg sync.WaitGroup
	wg.Go(s.mcp.close) // or their streams would be waited for
	err := s.answered(ctx)
	s.end(s.endCause())
	for _, x := range s.keeper.drain(s.engine.Lasting()) {
		wg.Go(func() { s.finishSession(x) })
	}
	wg.Wait()
	// Whose code was cut is told so before his connection is closed.
	last, done := context.WithTimeout(context.Background(), tellTime)
	defer done()
	err = errors.Join(err, s.answered(last), s.engine.Close())
	for _, h := range s.servers() {
		h.Close()
	}
	s.lanes.Close()
	s.spool.close()
	return err
}

// tellTime is how long answers may take that are under way when all code has ended.
const tellTime = 5 * time.Second

// answered takes no requests any more, and returns when all are answered, or ctx
// ends.
func (s *Server) answered(ctx context.Context) error {
	var serving sync.WaitGroup
	all := s.servers()
	errs := make([]error, len(all))
	for i, h := range all {
		serving.Go(func() { errs[i] = ignoreDeadline(h.Shutdown(ctx)) })
	}
	serving.Go(func() { s.lanes.Shutdown(ctx) }) // it fails by its deadline only
	serving.Wait()
	return errors.Join(errs...)
}

// endCause is why what goes on without a client is ended with the service.
func (s *Server) endCause() error {
	if s.engine.Lasting() {
		return warden.ErrDetach
	}
	return errDraining()
}

// ignoreDeadline: executions that were cut are no failure of a shutdown.
func ignoreDeadline(err error) error {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// expireIdle ends sessions that nobody uses.
func (s *Server) expireIdle(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		expired, next := s.keeper.expire(time.Now())
		for _, x := range expired {
			s.settings.Log.Info("session expired", "owner", x.owner.name, "session", x.id)
			s.finishSession(x)
		}
		timer.Reset(next)
	}
}

// routes registers every endpoint.
func routes(s *Server, mux *http.ServeMux) huma.API {
	problems()
	config := huma.DefaultConfig("Cellblock", s.settings.Version)
	config.Info.Description = "Runs Python that nobody trusts, in sessions whose variables and files live on between executions. " +
		"An error is an RFC 9457 problem detail whose kind is one of a closed set; whatever code did, a crash included, is a result."
	config.DocsPath, config.SchemasPath, config.CreateHooks = "", "", nil
	config.OpenAPIPath = "" // served below, and only as 3.1
	config.RejectUnknownQueryParameters = true
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"token": {Type: "http", Scheme: "bearer", Description: "Over TCP. On the Unix socket the kernel says who calls."},
	}
	config.Security = []map[string][]string{{"token": {}}, {}}
	api := huma.NewAPI(config, adapter{s, mux, humago.NewAdapter(mux, "")})
	for _, add := range []func(*Server, huma.API){
		addExecute, addSessions, addSession, addSessionExecute, addResult, addInterrupt, addFiles, addFile,
		addValidate, addStats, addHealth, addReady, addMetrics,
	} {
		add(s, api)
	}
	polish(api)
	addOpenAPI(api, mux)
	mux.Handle(mcpPath, s.mcp)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if allowed := methodsAt(mux, r); len(allowed) > 0 {
			w.Header().Set("Allow", strings.Join(allowed, ", "))
			p := problem(KindInvalid, "%s takes %s, and not %s", shorten(r.URL.Path), strings.Join(allowed, ", "), shorten(r.Method))
			p.Status = http.StatusMethodNotAllowed
			writeProblem(w, r, p)
			return
		}
		writeProblem(w, r, problem(KindNotFound, "there is nothing at %s", shorten(r.URL.Path)))
	})
	return api
}

// methodsAt are those with which something is at a request's path.
func methodsAt(mux *http.ServeMux, r *http.Request) (allowed []string) {
	for _, method := range []string{http.MethodDelete, http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut} {
		other := r.WithContext(r.Context()) // a copy
		other.Method = method
		if _, pattern := mux.Handler(other); pattern != "/" {
			allowed = append(allowed, method)
		}
	}
	return allowed
}
