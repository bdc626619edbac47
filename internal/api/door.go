package api

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/internal/warden"
)

// Door is how another protocol than this package's own reaches sessions. What
// comes through it has the same owners, quotas, admission, metrics and log.
type Door struct {
	// Handler answers. It identifies the caller by itself (Server.Token).
	Handler http.Handler
	// Hosts are what a request may name in Host.
	Hosts []string
	// Upload says whether the body is that of a file, which its workspace bounds.
	Upload func(*http.Request) bool
	// Takes says whether a body of this media type is read; of an upload, any is.
	Takes func(kind string) bool
	// Refuse answers a request that is not let in, or whose handler failed.
	Refuse func(http.ResponseWriter, *http.Request, *Problem)
}

// doors are the servers of other protocols.
type doors struct {
	mu   sync.Mutex
	http []*http.Server
}

// ServeDoor answers on a listener through a door until Shutdown.
func (s *Server) ServeDoor(l net.Listener, d Door) error {
	h := s.newHTTP(s.watch(d.Handler, d.Refuse, func(c *call, w *answer) (func(), error) {
		if err := crossOrigin(c.r); err != nil {
			return nil, err
		}
		if !isOneOf(d.Hosts, c.r) {
			return nil, problem(KindForbidden, "this service does not go by the name %q", shorten(c.r.Host))
		}
		return s.admitBody(c.r, w, d.Upload(c.r), d.Takes)
	}))
	s.doors.mu.Lock()
	s.doors.http = append(s.doors.http, h)
	s.doors.mu.Unlock()
	return s.serve(h, s.limit(l))
}

func (s *Server) servers() []*http.Server {
	s.doors.mu.Lock()
	defer s.doors.mu.Unlock()
	return append([]*http.Server{s.http}, s.doors.http...)
}

// Token is the caller that a secret stands for.
func (s *Server) Token(secret string) (name string, ok bool) {
	name, ok = s.settings.Tokens.find(secret)
	return "token:" + name, ok
}

// Settings are those that the Server was made from, with their defaults.
func (s *Server) Settings() Settings { return s.settings }

// ProblemOf maps every error of this package, and of package executor, to a kind.
func ProblemOf(err error) *Problem { return problemOf(err) }

// RetryAfter is when trying again makes sense; 0: not said.
func (p *Problem) RetryAfter() time.Duration { return p.after }

// Note makes a problem the outcome of the call that ctx belongs to.
func Note(ctx context.Context, p *Problem) { note(ctx, p) }

// Lease is a session that is held: it is not ended for being idle. It is safe
// for concurrent use.
type Lease struct {
	server *Server
	x      *session
	done   func()
}

// Lease makes a session of a caller, whose request ctx is of. kind names the
// protocol: its sessions end with this process. Errors are Problems, or ProblemOf
// tells which.
func (s *Server) Lease(ctx context.Context, caller, id, kind string, c Creation, env map[string]string) (*Lease, error) {
	o := s.keeper.of(caller)
	callOf(ctx).owner = o
	if _, err := s.makeSession(ctx, o, id, kind, c, env); err != nil {
		return nil, err
	}
	x, done, err := s.keeper.find(o, id)
	if err != nil {
		return nil, err
	}
	return &Lease{s, x, done}, nil
}

// Session is the session.
func (l *Lease) Session() warden.Session { return l.x.session }

// Limits are those of the session.
func (l *Lease) Limits() CurrentLimits { return l.server.describe(l.x).Limits }

// Spool keeps a body as a file for the workspace, until it is removed. One that is
// larger than the workspace is a Problem, and so is what the session's owner may
// not have on its way at once.
func (l *Lease) Spool(body io.Reader) (path string, remove func(), err error) {
	path, remove, err = l.server.spool.put(l.x.owner, body, l.x.session.Limits().WorkspaceBytes)
	if err != nil {
		return "", nil, bodyFailure(err)
	}
	return path, remove, nil
}

// Ended says whether the session was ended, by whomever.
func (l *Lease) Ended() bool {
	l.server.keeper.mu.Lock()
	defer l.server.keeper.mu.Unlock()
	return l.x.ended
}

// End ends the session and all that it holds.
func (l *Lease) End() error {
	defer l.done()
	return l.server.endSession(l.x)
}

// NewContext starts one more REPL in the session, in its turn.
func (l *Lease) NewContext(ctx context.Context, o executor.ContextOptions) (warden.REPL, error) {
	done, err := l.server.keeper.slot(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	return l.x.session.NewContext(ctx, o)
}

// Enter admits an execution, or a start of a REPL, as ctx's call.
func (l *Lease) Enter(ctx context.Context) (leave func(), err error) {
	c := callOf(ctx)
	c.owner, c.session = l.x.owner, l.x.id
	return l.server.keeper.enter(l.x.owner, l.x)
}

// Execute runs code in the session, by run, once it was admitted, and notes what
// came of it. It ends with ctx, and with the service.
func (l *Lease) Execute(ctx context.Context, run func(context.Context, executor.Request) (executor.Result, error), r executor.Request) (executor.Result, error) {
	e := &execution{server: l.server, call: callOf(ctx), body: Execution{Code: r.Code}, session: l.x, run: run}
	return e.perform(ctx, r)
}
