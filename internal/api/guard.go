package api

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"path"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"
)

// What a client may take for its part.
const (
	headerTime  = 10 * time.Second
	idleTime    = 2 * time.Minute  // between two requests
	bodyTime    = 30 * time.Second // and as long as slowestRate gives for its size
	slowestRate = 64 << 10         // bytes a second
	writeTime   = 30 * time.Second // for one piece of an answer
	largeBody   = 1 << 20
	largeBodies = 8 // read at once
)

// call is one request under way.
type call struct {
	id      string
	owner   *owner
	w       http.ResponseWriter
	r       *http.Request
	refuse  refusal
	session string // for the log
	problem *Problem
}

type callKey struct{}

// callOf is the call that a context belongs to.
func callOf(ctx context.Context) *call { return ctx.Value(callKey{}).(*call) }

// guard is what every request passes: who calls, from where, how much, how
// long; and what is noted about it.
func (s *Server) guard(next http.Handler) http.Handler {
	return s.watch(next, writeProblem, func(c *call, w *answer) (done func(), err error) {
		r := c.r
		name, err := s.identify(r)
		if err != nil {
			return nil, err
		}
		c.owner = s.keeper.of(name)
		if err := crossOrigin(r); err != nil {
			return nil, err
		}
		upload := r.Method == http.MethodPut
		return s.admitBody(r, w, upload, func(kind string) bool { return kind == "application/json" })
	})
}

// watch notes every request, admits it, and answers for it where it fails.
func (s *Server) watch(next http.Handler, refuse refusal, admit func(*call, *answer) (done func(), err error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		c := &call{id: rand.Text()[:16], refuse: refuse}
		out := &answer{ResponseWriter: w, control: http.NewResponseController(w)}
		c.w = out
		h := out.Header()
		h.Set("X-Request-Id", c.id)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		r = r.WithContext(context.WithValue(r.Context(), callKey{}, c))
		c.r = r
		defer func() { s.finish(c, out, began, recover()) }()
		done, err := admit(c, out)
		if err != nil {
			refuse(out, r, problemOf(err))
			return
		}
		defer done()
		next.ServeHTTP(out, r)
	})
}

// refusal answers a request with a problem.
type refusal func(http.ResponseWriter, *http.Request, *Problem)

// admitBody bounds the body, unless it is an upload, which its workspace does.
func (s *Server) admitBody(r *http.Request, w *answer, upload bool, takes func(kind string) bool) (done func(), err error) {
	if r.ContentLength == 0 {
		return func() {}, nil
	}
	if len(r.TransferEncoding) > 0 {
		// A Content-Length beside it has been dropped by now, and something
		// between here and the client may have counted by that one: what
		// follows on this connection is not to be trusted (RFC 9112, 6.1).
		w.Header().Set("Connection", "close")
	}
	if kind := mediaType(r); !upload && !takes(kind) {
		p := problem(KindInvalid, "the body is %q, and application/json is needed", shorten(kind))
		p.Status = http.StatusUnsupportedMediaType
		return nil, p
	}
	if !upload && r.ContentLength > s.settings.MaxBody {
		return nil, problem(KindTooLarge, "the body has %d bytes, and %d are allowed: upload files with PUT", r.ContentLength, s.settings.MaxBody)
	}
	body := &patientBody{ReadCloser: r.Body, control: w.control, began: time.Now()}
	r.Body = body
	if upload {
		return func() {}, nil
	}
	r.Body = http.MaxBytesReader(w, body, s.settings.MaxBody)
	if r.ContentLength >= 0 && r.ContentLength <= largeBody {
		return func() {}, nil
	}
	select {
	case s.large <- struct{}{}:
		// Until the body is read, or the call is done.
		body.read = sync.OnceFunc(func() { <-s.large })
		return body.read, nil
	default:
		return nil, problem(KindExhausted, "%d large requests are being read, and no more are allowed", largeBodies).retry(retryAfter)
	}
}

func mediaType(r *http.Request) string {
	kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	return strings.ToLower(strings.TrimSpace(kind))
}

// crossOrigin refuses what a browser sends on behalf of another site's page.
func crossOrigin(r *http.Request) error {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "none" && site != "same-origin" {
		return problem(KindForbidden, "requests from pages of other sites are refused")
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return nil
	}
	u, err := url.Parse(origin)
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	if err != nil || u.Scheme != scheme || u.Host != r.Host {
		return problem(KindForbidden, "requests from the origin %q are refused", shorten(origin))
	}
	return nil
}

// allowedHost says whether a request over TCP names this service: a page that
// had its own name point here does not.
func (s *Server) allowedHost(r *http.Request) bool {
	return isOneOf(s.settings.Hosts, r)
}

func isOneOf(hosts []string, r *http.Request) bool {
	return slices.Contains(hosts, strings.ToLower(r.Host))
}

// patientBody bounds how long a client may take for its body. The deadline is
// gone when the body is read, or it would end the call.
type patientBody struct {
	io.ReadCloser
	control *http.ResponseController
	began   time.Time
	total   int64
	read    func() // called at the end; may be nil
}

func (b *patientBody) Read(p []byte) (int, error) {
	allowed := bodyTime + time.Duration(b.total/slowestRate)*time.Second
	b.control.SetReadDeadline(b.began.Add(allowed))
	n, err := b.ReadCloser.Read(p)
	b.total += int64(n)
	if err != nil {
		b.control.SetReadDeadline(time.Time{})
		if b.read != nil && err == io.EOF {
			b.read()
		}
	}
	return n, err
}

// answer notes what was answered, and bounds how long a client may take for a
// piece of it.
type answer struct {
	http.ResponseWriter
	control *http.ResponseController
	status  int
	bytes   int64
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(b []byte) (int, error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	a.control.SetWriteDeadline(time.Now().Add(writeTime))
	n, err := a.ResponseWriter.Write(b)
	a.bytes += int64(n)
	return n, err
}

// finish notes a call that is done. A panic is a fault of ours: the call fails,
// the service goes on.
func (s *Server) finish(c *call, a *answer, began time.Time, panicked any) {
	if panicked == http.ErrAbortHandler {
		panic(panicked)
	}
	if panicked != nil {
		s.settings.Log.Error("BUG: a handler panicked", "request", c.id, "panic", fmt.Sprint(panicked), "stack", string(debug.Stack()))
		if a.status == 0 {
			c.refuse(a, c.r, problem(KindInternal, "the service failed; its log says more"))
		}
	}
	name := ""
	if c.owner != nil {
		name = c.owner.name
	}
	took := time.Since(began)
	s.metrics.requests.WithLabelValues(knownMethod(c.r.Method), statusClass(a.status)).Inc()
	if c.problem != nil {
		s.metrics.problems.WithLabelValues(string(c.problem.Kind)).Inc()
	}
	s.settings.Log.Debug("request", "request", c.id, "owner", name, "method", c.r.Method, "path", c.r.URL.Path,
		"status", a.status, "bytes", a.bytes, "seconds", took.Seconds())
	if c.problem != nil {
		s.tellProblem(c, name)
	}
}

// tellProblem has the log say why a call failed. What a caller did, or asked for
// beside what there is, is no error of the service.
func (s *Server) tellProblem(c *call, owner string) {
	p, level := c.problem, slog.LevelInfo
	switch p.Kind {
	case KindInternal:
		level = slog.LevelError
	case KindUnsupported, KindTimedOut:
		level = slog.LevelWarn
	}
	why := p.Detail
	switch {
	case p.Kind == KindTimedOut && errors.Is(p.cause, context.Canceled):
		level = slog.LevelInfo // who went away
	case p.cause != nil:
		why = p.cause.Error()
	}
	s.settings.Log.Log(c.r.Context(), level, "request failed", "request", c.id, "owner", owner, "method", knownMethod(c.r.Method), "path", shorten(c.r.URL.Path),
		"session", shorten(c.session), "status", p.Status, "kind", string(p.Kind), "error", why)
}

// straight refuses a path that the mux would answer with a redirect to another: of
// what a client asked for nothing is done by that, and not every client says so.
func straight(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		given := r.URL.EscapedPath()
		clean := path.Clean(given)
		if strings.HasSuffix(given, "/") && clean != "/" {
			clean += "/"
		}
		if given != clean && strings.HasPrefix(given, "/") {
			writeProblem(w, r, problem(KindInvalid, "a part of the path %s is empty, . or ..: that names nothing here", shorten(given)))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// knownMethod keeps what callers choose out of the labels.
func knownMethod(m string) string {
	if slices.Contains([]string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete}, m) {
		return m
	}
	return "other"
}

func statusClass(status int) string { return fmt.Sprintf("%dxx", status/100) }

// writeProblem answers with a problem where huma does not.
func writeProblem(w http.ResponseWriter, r *http.Request, p *Problem) {
	note(r.Context(), p)
	h := w.Header()
	for name, values := range p.GetHeaders() {
		h[name] = values
	}
	h.Set("Content-Type", "application/problem+json")
	text, err := json.Marshal(p)
	if err != nil {
		text = []byte("{}")
	}
	w.WriteHeader(p.Status)
	w.Write(append(text, '\n'))
}

// note makes a problem the outcome of a call.
func note(ctx context.Context, p *Problem) {
	c := callOf(ctx)
	c.problem = p
	p.Instance = "urn:cellblock:request:" + c.id
}

// failed is how handlers return an error.
func failed(ctx context.Context, err error) error {
	p := problemOf(err)
	note(ctx, p)
	return p
}
