package executor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/cellblock/cellblock/nsjail"
)

// MaxContexts is how many contexts a session may have beside itself.
const MaxContexts = 16

// Context is one more REPL in the cell of a session: a namespace of its own over
// the same workspace, that runs beside the session's own and those of other
// contexts. It has its own turn, interrupt and deadline; it shares the cell's
// memory, processes, CPU and files, and what a Result says of use and of changed
// files is the cell's.
//
// The end of its REPL ends neither the session's nor other contexts', except
// where the kernel kills for memory: then all code of the cell ends. The next
// execution starts a REPL anew, and its result says that the context was lost.
// Contexts of one session are not protected from each other: they are one user's
// processes (see docs/threat-model.md).
//
// A Context is safe for concurrent use.
type Context struct{ s *Session }

// NewContext starts one more REPL in the session's cell, which it builds if there
// is none. Errors are those of Execute; *InvalidError where there are MaxContexts.
func (s *Session) NewContext(ctx context.Context, o ContextOptions) (*Context, error) {
	if err := checkEnv(o.Env); err != nil {
		return nil, err
	}
	own := s.newContext(merge(s.options.Env, o.Env))
	if err := s.admit(own); err != nil {
		return nil, err
	}
	if err := own.Start(ctx); err != nil {
		own.Close()
		return nil, err
	}
	return &Context{own}, nil
}

func (s *Session) newContext(env map[string]string) *Session {
	own := &Session{ex: s.ex, cfg: s.cfg, options: SessionOptions{ID: s.options.ID, Env: env}, of: s, turn: make(chan struct{}, 1)}
	own.give()
	return own
}

// admit notes a context, to be ended with the session.
func (s *Session) admit(own *Session) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return ErrClosed
	case len(s.contexts) >= MaxContexts:
		return &InvalidError{"context", s.options.ID, fmt.Sprintf("a session has at most %d beside its own: close one", MaxContexts)}
	}
	if s.contexts == nil {
		s.contexts = map[*Session]bool{}
	}
	s.contexts[own] = true
	return nil
}

// ContextOptions say what a context is beyond its session's options.
type ContextOptions struct {
	// Env is added to the session's, and goes before it.
	Env map[string]string
}

// Execute is Session.Execute in this context.
func (c *Context) Execute(ctx context.Context, r Request) (Result, error) {
	return c.s.Execute(ctx, r)
}

// Interrupt is Session.Interrupt in this context.
func (c *Context) Interrupt() error { return c.s.Interrupt() }

// Restart is Session.Restart in this context.
func (c *Context) Restart(ctx context.Context) error { return c.s.Restart(ctx) }

// Alive says whether the context has a REPL whose namespace lives.
func (c *Context) Alive() bool { return c.s.Alive() }

// Close ends the context's REPL, also in the middle of an execution. The
// session's cell and its files stay.
func (c *Context) Close() error { return c.s.Close() }

// Restart ends the REPL, also in the middle of an execution, and starts another
// with an empty namespace. Files stay.
func (s *Session) Restart(ctx context.Context) error {
	for {
		s.killNow() // also one that waited, and has its turn now
		short, cancel := context.WithTimeout(ctx, restartPause)
		err := s.take(short)
		cancel()
		if err == nil {
			break
		}
		if !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
			return err
		}
	}
	defer s.give()
	if s.cell != nil {
		s.endREPL()
	}
	s.execution = 0
	_, err := s.ready(ctx, nil)
	return err
}

const restartPause = time.Second

// killNow ends the REPL of an execution that may be under way, which then returns.
func (s *Session) killNow() {
	ctx, cancel := context.WithTimeout(context.Background(), readyTime)
	defer cancel()
	s.mu.Lock()
	proc, cell, t := s.proc, s.living, s.tenants
	s.mu.Unlock()
	if proc == nil || cell == nil {
		return
	}
	if _, err := t.kill(ctx, cell, proc); err != nil {
		cell.Close()
	}
}

// borrow gives a context the cell of its session.
func (s *Session) borrow(ctx context.Context) error {
	if _, _, _, err := s.of.insideStarted(ctx); err != nil {
		return err
	}
	of := s.of
	of.mu.Lock()
	cell, work, mirror, t, g := of.living, of.work, of.mirror, of.tenants, of.ground
	of.mu.Unlock()
	if cell == nil || mirror == nil {
		return ErrClosed
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cell, s.living, s.work, s.mirror, s.tenants, s.ground = cell, cell, work, mirror, t, g
	if s.closed {
		return ErrClosed
	}
	return nil
}

// closeContext is Close of a context's own Session.
func (s *Session) closeContext() error {
	s.killNow()
	<-s.turn
	if s.cell != nil {
		s.endREPL()
	}
	err := s.endCell()
	s.give()
	s.of.mu.Lock()
	delete(s.of.contexts, s)
	s.of.mu.Unlock()
	return err
}

// channelTime is how long a REPL's channel may stay open after its end, where
// other REPLs live and what has left its process group may hold it.
const channelTime = 200 * time.Millisecond

// killREPL ends the session's REPL and what it started, see tenants.kill.
func (s *Session) killREPL(ctx context.Context) (whole bool, err error) {
	s.mu.Lock()
	proc := s.proc
	s.mu.Unlock()
	return s.tenants.kill(ctx, s.cell, proc)
}

// discard ends a REPL that did not get ready. A cell in which something is not
// as planned ends with it; where one more REPL only did not start, the others
// go on.
func (s *Session) discard(err error) {
	var posture *nsjail.PostureError
	s.mu.Lock()
	proc := s.proc
	s.mu.Unlock()
	switch {
	case s.of == nil && (errors.As(err, &posture) || s.tenants.alone(proc)):
		s.endCell()
	case errors.As(err, &posture):
		s.cell.Close()
		s.endCell()
	default:
		s.endREPL()
	}
}

// checkEnv says whether variables can be set.
func checkEnv(env map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(env)) {
		value := env[name]
		if name == "" || strings.ContainsAny(name, "=\x00") || strings.Contains(value, "\x00") {
			return &InvalidError{"environment variable", name + "=" + value, "a name without = and no NUL bytes are needed"}
		}
		if strings.HasPrefix(name, "LD_") {
			return &InvalidError{"environment variable", name, "what ld.so reads is the sandbox's own"}
		}
	}
	return nil
}

func merge(a, b map[string]string) map[string]string {
	all := maps.Clone(a)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, b)
	return all
}
