package e2b

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/internal/warden"
)

// codeContext is a context as E2B has it.
type codeContext struct {
	id, cwd string
	dir     string      // cwd in the workspace; "": the workspace
	repl    warden.REPL // the session's own, or beside
	beside  warden.REPL // nil for the session's own

	mu     sync.Mutex
	before int // executions of ours in it
}

// defaultID is the id of the context that code runs in which names none.
const defaultID = "default"

type contexts struct {
	mu   sync.Mutex
	list []*codeContext // the session's own first
}

func (c *contexts) begin(own warden.REPL) {
	c.list = []*codeContext{{id: defaultID, cwd: home, repl: own}}
}

func (c *contexts) find(id string) *codeContext {
	c.mu.Lock()
	defer c.mu.Unlock()
	if id == "" {
		id = defaultID
	}
	for _, x := range c.list {
		if x.id == id {
			return x
		}
	}
	return nil
}

func (c *contexts) add(x *codeContext) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = append(c.list, x)
}

func (c *contexts) drop(x *codeContext) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = slices.DeleteFunc(c.list, func(y *codeContext) bool { return x == y })
}

func (c *codeContext) describe() map[string]string {
	return map[string]string{"id": c.id, "language": "python", "cwd": c.cwd}
}

// enterDir goes to the context's directory, as an execution that is not counted.
// lost is what its result says of the REPL that was there before.
func (c *codeContext) enterDir(ctx context.Context) (lost bool, err error) {
	if c.dir == "" {
		return false, nil
	}
	r, err := c.repl.Execute(ctx, executor.Request{Code: "__import__('os').chdir(" + strconv.QuoteToASCII(c.dir) + ")", Filename: "<cwd>"})
	if err != nil {
		return false, err
	}
	c.mu.Lock()
	c.before++
	c.mu.Unlock()
	if !r.Success {
		return r.Session.Lost, invalid("cwd: %s is no directory of the sandbox", shorten(c.cwd))
	}
	return r.Session.Lost, nil
}

// renew goes there again, where the REPL has ended.
func (c *codeContext) renew(ctx context.Context) (lost bool, err error) {
	if c.dir == "" || c.repl.Alive() {
		return false, nil
	}
	return c.enterDir(ctx)
}

// number is which execution of the client's a result is of.
func (c *codeContext) number(r executor.Result) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return max(1, r.Session.Execution-c.before)
}

func (s *Server) interpreter() {
	s.handleUse("POST /execute", s.execute)
	s.handleUse("GET /contexts", s.listContexts)
	s.handleUse("POST /contexts", s.createContext)
	s.handleUse("DELETE /contexts/{id}", s.removeContext)
	s.handleUse("POST /contexts/{id}/restart", s.restartContext)
	s.mux.HandleFunc("GET /health", s.health)
}

// handleUse registers a call that uses a sandbox.
func (s *Server) handleUse(pattern string, f func(w http.ResponseWriter, r *http.Request, b *sandbox) error) {
	s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		b, err := s.used(r)
		if err == nil {
			err = f(w, r, b)
		}
		if err != nil {
			fail(w, r, err)
		}
	})
}

// health is that of one sandbox, or where none is named of the service.
func (s *Server) health(w http.ResponseWriter, r *http.Request) {
	if id := r.Header.Get("E2b-Sandbox-Id"); id != "" && s.lookup(id) == nil {
		fail(w, r, gone(id))
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (s *Server) listContexts(w http.ResponseWriter, _ *http.Request, b *sandbox) error {
	b.contexts.mu.Lock()
	list := slices.Clone(b.contexts.list)
	b.contexts.mu.Unlock()
	all := []any{}
	for _, c := range list {
		all = append(all, c.describe())
	}
	writeJSON(w, http.StatusOK, all)
	return nil
}

// isPython says whether a language is what runs here.
func isPython(language string) bool {
	return slices.Contains([]string{"", "python", "python3", "py"}, strings.ToLower(language))
}

type newContext struct {
	Language string `json:"language"`
	Cwd      string `json:"cwd"`
}

func (s *Server) createContext(w http.ResponseWriter, r *http.Request, b *sandbox) error {
	var n newContext
	if err := readJSON(r, &n); err != nil {
		return err
	}
	if !isPython(n.Language) {
		// A 404, as of this status the SDK shows what is said.
		return failed(http.StatusNotFound, "the language %q is not available here: only python is", shorten(n.Language))
	}
	c := &codeContext{id: "ctx" + strings.ToLower(rand.Text()[:20]), cwd: home}
	if n.Cwd != "" {
		path, err := inside(n.Cwd)
		if err != nil {
			return err
		}
		c.cwd, c.dir = shown(path), "/workspace/"+path
	}
	err := b.admitted(r.Context(), func() (err error) {
		if c.beside, err = b.lease.NewContext(r.Context(), executor.ContextOptions{}); err != nil {
			return err
		}
		c.repl = c.beside
		if _, err = c.enterDir(r.Context()); err != nil {
			c.beside.Close()
		}
		return err
	})
	if err != nil {
		return err
	}
	b.contexts.add(c)
	writeJSON(w, http.StatusOK, c.describe())
	return nil
}

func (b *sandbox) context(r *http.Request) (*codeContext, error) {
	id := r.PathValue("id")
	if c := b.contexts.find(id); c != nil {
		return c, nil
	}
	return nil, noContext(id)
}

func noContext(id string) error {
	return failed(http.StatusNotFound, "Context %s not found", fmt.Sprintf("%q", shorten(id)))
}

// removeContext ends a context. The sandbox's own begins anew instead.
func (s *Server) removeContext(w http.ResponseWriter, r *http.Request, b *sandbox) error {
	c, err := b.context(r)
	if err != nil {
		return err
	}
	if c.beside == nil {
		err = b.restart(r.Context(), c)
	} else {
		b.contexts.drop(c)
		err = c.beside.Close()
	}
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Server) restartContext(w http.ResponseWriter, r *http.Request, b *sandbox) error {
	c, err := b.context(r)
	if err != nil {
		return err
	}
	if err := b.restart(r.Context(), c); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (b *sandbox) restart(ctx context.Context, c *codeContext) error {
	return b.admitted(ctx, func() error {
		if err := c.repl.Restart(ctx); err != nil {
			return err
		}
		c.mu.Lock()
		c.before = 0
		c.mu.Unlock()
		_, err := c.enterDir(ctx)
		return err
	})
}
