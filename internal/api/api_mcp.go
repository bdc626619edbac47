package api

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"
	"sync"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/internal/mcp"
	"github.com/cellblock/cellblock/rootfs"
)

// mcpPath is where MCP is spoken (streamable HTTP). It is no part of OpenAPI.
const mcpPath = "/mcp"

// mcpServers are the MCP servers, one for each owner: the ids of one owner's
// MCP sessions mean nothing to another.
type mcpServers struct {
	server *Server

	mu      sync.Mutex
	byOwner map[*owner]*mcpServer
	closed  bool
}

type mcpServer struct {
	*mcp.Server
	handler http.Handler

	mu      sync.Mutex
	opening int // requests that may yet begin a session
}

// open keeps a place for a session that a request may begin, or says that there
// is none. The place is given back with done, which may be called again.
func (x *mcpServer) open(most int) (done func(), ok bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.Sessions()+x.opening >= most {
		return nil, false
	}
	x.opening++
	return sync.OnceFunc(func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.opening--
	}), true
}

// opened gives a place back when the answer to its request begins: the session, if
// it began one, counts by itself from then on. Its client may begin another at once,
// or begin one after it has asked without one what this server can.
type opened struct {
	http.ResponseWriter
	done func()
}

// Unwrap is for http.ResponseController.
func (o *opened) Unwrap() http.ResponseWriter { return o.ResponseWriter }

func (o *opened) WriteHeader(status int) {
	o.done()
	o.ResponseWriter.WriteHeader(status)
}

func (o *opened) Write(b []byte) (int, error) {
	o.done()
	return o.ResponseWriter.Write(b)
}

// replayBytes bounds what one owner's clients can ask for again after their
// connection broke.
const replayBytes = 8 << 20

func newMCPServers(s *Server) *mcpServers {
	return &mcpServers{server: s, byOwner: map[*owner]*mcpServer{}}
}

func (m *mcpServers) of(o *owner) (*mcpServer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, errDraining()
	}
	x := m.byOwner[o]
	if x != nil {
		return x, nil
	}
	settings := m.server.settings
	limits := mcp.LocalLimits(settings.Defaults, settings.MaxTimeout)
	limits.UploadBytes = min(limits.UploadBytes, settings.MaxBody*3/4-1024)
	x = &mcpServer{Server: mcp.New(mcp.Options{
		Version: settings.Version, Log: settings.Log, Limits: limits,
		Open: func() mcp.Sandbox { return &mcpSandbox{server: m.server, owner: o} },
	})}
	events := sdk.NewMemoryEventStore(nil)
	events.SetMaxBytes(replayBytes)
	x.handler = sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return x.SDK() }, &sdk.StreamableHTTPOptions{
		Logger: mcp.QuietLog(settings.Log), EventStore: events, SessionTimeout: settings.Idle, MaxRequestBodyBytes: settings.MaxBody,
		DisableLocalhostProtection: true, // the guard knows by which names this service goes
	})
	m.byOwner[o] = x
	return x, nil
}

// ServeHTTP answers requests that the guard let through.
func (m *mcpServers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := callOf(r.Context())
	x, err := m.of(c.owner)
	if err != nil {
		writeProblem(w, r, problemOf(err))
		return
	}
	id := r.Header.Get("Mcp-Session-Id")
	switch {
	case r.Method == http.MethodDelete && id != "":
		// The SDK waits for the calls of a session before it ends it.
		if err := x.End(id); err != nil {
			m.server.settings.Log.Error("a cell did not end cleanly", "owner", c.owner.name, "error", err)
		}
	case r.Method == http.MethodPost && id == "":
		most := m.server.settings.Quota.Sessions
		done, ok := x.open(most)
		if !ok {
			writeProblem(w, r, problem(KindExhausted, "there are %d MCP sessions of this caller, and no more are allowed: end some", most).retry(retryAfter))
			return
		}
		defer done()
		w = &opened{w, done}
	}
	x.handler.ServeHTTP(w, r)
}

// close ends all MCP sessions, each when its calls are done, and admits none.
func (m *mcpServers) close() {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	var wg sync.WaitGroup
	for _, x := range m.byOwner {
		wg.Go(x.Close)
	}
	wg.Wait()
}

// mcpSandbox is a session of the owner's, made when it is first needed, and
// again when it has expired.
type mcpSandbox struct {
	server *Server
	owner  *owner

	mu     sync.Mutex
	id     string
	closed bool
}

// use is the session, to be let go of with done. Without one it is made, or nil
// is returned.
func (b *mcpSandbox) use(ctx context.Context, needed bool) (_ *session, done func(), err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, nil, executor.ErrClosed
	}
	if b.id != "" {
		x, done, err := b.server.keeper.find(b.owner, b.id)
		if err == nil {
			return x, done, nil
		}
		if kind := problemOf(err).Kind; kind != KindNotFound && kind != KindExpired {
			return nil, nil, err
		}
		b.server.keeper.forget(b.owner, b.id)
		b.id = ""
	}
	if !needed {
		return nil, func() {}, nil
	}
	x, err := b.server.makeSession(ctx, b.owner, "mcp-"+strings.ToLower(rand.Text()[:20]), "mcp", Creation{}, nil)
	if err != nil {
		return nil, nil, err
	}
	b.id = x.id
	return b.server.keeper.find(b.owner, x.id)
}

// told is an error as clients of the other routes are told it.
func (b *mcpSandbox) told(err error) error {
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return err
	}
	p := problemOf(err)
	if p.Kind == KindInternal {
		b.server.settings.Log.Error("an MCP call failed", "owner", b.owner.name, "error", err)
	}
	b.server.metrics.problems.WithLabelValues(string(p.Kind)).Inc()
	return fmt.Errorf("%s (%s)", p.Detail, p.Kind)
}

func (b *mcpSandbox) Execute(ctx context.Context, r executor.Request) (executor.Result, error) {
	result, err := b.execute(ctx, r)
	return result, b.told(err)
}

func (b *mcpSandbox) execute(ctx context.Context, r executor.Request) (executor.Result, error) {
	x, done, err := b.use(ctx, true)
	if err != nil {
		return executor.Result{}, err
	}
	defer done()
	leave, err := b.server.keeper.enter(b.owner, x)
	if err != nil {
		return executor.Result{}, err
	}
	defer leave()
	e := &execution{
		server: b.server, call: &call{id: rand.Text()[:16], owner: b.owner}, session: x, run: x.session.Execute,
		body: Execution{Code: r.Code}, // for the audit
	}
	return e.perform(ctx, r)
}

func (b *mcpSandbox) Files(ctx context.Context) ([]executor.FileInfo, bool, error) {
	x, done, err := b.use(ctx, false)
	if err != nil {
		return nil, false, b.told(err)
	}
	defer done()
	if x == nil {
		return nil, true, nil
	}
	files, whole, err := x.session.Files()
	return files, whole, b.told(err)
}

func (b *mcpSandbox) OpenFile(ctx context.Context, path string) (*executor.File, error) {
	x, done, err := b.use(ctx, false)
	if err != nil {
		return nil, b.told(err)
	}
	defer done()
	if x == nil {
		return nil, fmt.Errorf("cannot open %q: %w", shorten(path), fs.ErrNotExist)
	}
	f, err := x.session.OpenFile(path)
	return f, b.told(err)
}

func (b *mcpSandbox) PutFile(ctx context.Context, path string, content []byte) error {
	x, done, err := b.use(ctx, true)
	if err != nil {
		return b.told(err)
	}
	defer done()
	spooled, remove, err := b.server.spool.put(b.owner, bytes.NewReader(content), x.session.Limits().WorkspaceBytes)
	if err != nil {
		return b.told(err)
	}
	defer remove()
	return b.told(x.session.PutFile(ctx, spooled, path))
}

func (b *mcpSandbox) Validate(ctx context.Context, code string) (bool, []executor.Issue, error) {
	valid, issues, err := b.server.engine.Validate(ctx, code)
	return valid, issues, b.told(err)
}

func (b *mcpSandbox) Root(ctx context.Context) (*rootfs.Root, error) {
	root, err := b.server.engine.Root(ctx)
	return root, b.told(err)
}

func (b *mcpSandbox) Discard() error { return b.drop(false) }

func (b *mcpSandbox) Close() error { return b.drop(true) }

func (b *mcpSandbox) drop(forGood bool) error {
	b.mu.Lock()
	id := b.id
	b.id, b.closed = "", b.closed || forGood
	b.mu.Unlock()
	if id == "" {
		return nil
	}
	if x := b.server.keeper.lookup(b.owner, id); x != nil {
		return b.server.endSession(x)
	}
	return nil
}
