package warden

import (
	"cmp"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cellblock/cellblock/executor"
)

// method is what can be asked for.
type method struct {
	do    func(*Server, *pending) (answer any, err error)
	lasts bool // it goes on when its asker is gone
	files bool // descriptors come with it
	waits bool // it does nothing but wait, and need not be waited for
	needs bool // that cells can be built
}

// methods are all, by name. Those with a session find it by the call's handle.
var methods map[string]method

func init() { // a method may look itself up
	methods = map[string]method{
		"hold":      {do: (*Server).hold, waits: true, needs: true},
		"list":      {do: (*Server).list},
		"make":      {do: (*Server).make, lasts: true, needs: true},
		"validate":  {do: (*Server).validate, needs: true},
		"root":      {do: (*Server).root, needs: true},
		"renew":     {do: (*Server).renew, lasts: true, needs: true},
		"execute":   {do: (*Server).execute, lasts: true, files: true},
		"interrupt": onREPL(func(_ *pending, r REPL) error { return r.Interrupt() }),
		"restart":   onREPL(func(p *pending, r REPL) error { return r.Restart(p.ctx) }),
		"alive":     {do: (*Server).alive},
		"end":       {do: (*Server).endREPL, lasts: true},
		"status":    {do: (*Server).status},
		"result":    {do: (*Server).result, waits: true},
		"files":     {do: (*Server).files},
		"entries":   {do: (*Server).entries},
		"open":      {do: (*Server).open},
		"read":      {do: (*Server).read},
		"put":       {do: (*Server).put, files: true},
		"remove":    onSession(func(p *pending, h *held) error { return h.RemoveFile(p.ctx, string(p.Path)) }),
		"mkdir":     onSession(func(p *pending, h *held) error { return h.MakeDir(p.ctx, string(p.Path)) }),
		"context":   {do: (*Server).context},
	}
}

// nothing is the answer of calls that have none.
type nothing struct{}

func onSession(do func(*pending, *held) error) method {
	return method{do: func(s *Server, p *pending) (any, error) {
		h, err := s.find(p)
		if err != nil {
			return nil, err
		}
		return nothing{}, do(p, h)
	}}
}

func onREPL(do func(*pending, REPL) error) method {
	return method{do: func(s *Server, p *pending) (any, error) {
		r, err := s.repl(p)
		if err != nil {
			return nil, err
		}
		return nothing{}, do(p, r)
	}}
}

// holdWait is how long an asker waits for the one before it to be gone.
const holdWait = 10 * time.Second

// hold makes the asker the only one that has the sessions, as long as this
// connection lasts: its answer is sent at once, and the call ends with the asker.
func (s *Server) hold(p *pending) (any, error) {
	if p.Protocol != protocol {
		return nil, &executor.InvalidError{What: "protocol", Got: fmt.Sprint(p.Protocol), Why: fmt.Sprintf("this warden, of version %s, speaks %d: restart it, which ends its sessions", s.version, protocol)}
	}
	wait := time.NewTimer(holdWait)
	defer wait.Stop()
	for {
		s.mu.Lock()
		if !s.holder {
			s.holder, s.freed = true, make(chan struct{})
			s.holders++
			s.asker = cmp.Or(p.Asker, newHandle())
			s.mu.Unlock()
			p.conn.held = sync.OnceFunc(s.letGo)
			s.serving.Go(s.endContexts)
			return heldAnswer{s.version, s.engine.Defaults()}, nil
		}
		freed := s.freed
		s.mu.Unlock()
		select {
		case <-freed:
		case <-wait.C:
			return nil, errors.New("another process has the warden's sessions, and goes on")
		case <-p.ctx.Done():
			return nil, p.ctx.Err()
		}
	}
}

func (s *Server) letGo() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.holder = false
	close(s.freed)
}

func (s *Server) list(*pending) (any, error) {
	answer := []madeAnswer{}
	for _, h := range s.all() {
		answer = append(answer, h.describe())
	}
	return answer, nil
}

func (h *held) describe() madeAnswer {
	status, _ := h.Status() // of a cell that is gone, no usage
	spec := h.spec
	spec.Env = nil // nobody asks, and it can be large
	return madeAnswer{h.handle, spec, h.Limits(), h.Preload(), status}
}

func (s *Server) make(p *pending) (any, error) {
	if p.Spec == nil {
		return nil, &executor.InvalidError{What: "call", Got: "make", Why: "it has no spec"}
	}
	session, err := s.engine.newSession(p.ctx, *p.Spec)
	if err != nil {
		return nil, err
	}
	h := &held{handle: newHandle(), local: session, contexts: map[string]contextOf{}}
	s.mu.Lock()
	// One that the next asker has not found it would make a second time.
	ended := s.ended || s.holders != p.holder
	if !ended {
		s.sessions[h.handle] = h
	}
	s.mu.Unlock()
	if ended {
		return nil, errors.Join(executor.ErrClosed, h.Close())
	}
	return h.describe(), nil
}

func (s *Server) validate(p *pending) (any, error) {
	valid, issues, err := s.engine.Validate(p.ctx, p.Code)
	return validAnswer{valid, issues}, err
}

func (s *Server) root(p *pending) (any, error) {
	root, err := s.engine.Root(p.ctx)
	return root, err
}

func (s *Server) renew(p *pending) (any, error) {
	return nothing{}, s.engine.Renew(p.ctx)
}

func (s *Server) execute(p *pending) (any, error) {
	repl, err := s.repl(p)
	if err != nil {
		return nil, err
	}
	q := p.Request
	if q == nil || len(q.Given) != len(p.given) {
		return nil, &executor.InvalidError{What: "call", Got: "execute", Why: "it has no request, or not as many files as names for them"}
	}
	r := q.request()
	for i, f := range p.given {
		r.Given = append(r.Given, executor.Given{FD: f.fd, Name: q.Given[i]})
	}
	if q.Stream {
		pass := func(kind byte) func([]byte) {
			return func(b []byte) {
				for len(b) > 0 {
					n := min(len(b), mostPiece)
					// An asker that is gone, or does not listen, gets the result later.
					if p.conn.send(kind, b[:n]) != nil {
						return
					}
					b = b[n:]
				}
			}
		}
		r.Stdout, r.Stderr = pass(frameStdout), pass(frameStderr)
	}
	result, err := repl.Execute(p.ctx, r)
	answer := executedAnswer{Result: result, Lost: !repl.Alive()}
	if err != nil {
		answer.Failure = failureOf(s.told(err))
		if answer.Failure.Class == classOther {
			s.log.Error("an execution failed", "error", err)
		}
	}
	return answer, nil
}

// mostPiece is how much output one frame has.
const mostPiece = 64 << 10

func (s *Server) alive(p *pending) (any, error) {
	r, err := s.repl(p)
	if err != nil {
		return nil, err
	}
	return r.Alive(), nil
}

// endREPL ends a context, or the session with all that it has.
func (s *Server) endREPL(p *pending) (any, error) {
	h, err := s.find(p)
	if err != nil {
		return nothing{}, nil // it has ended
	}
	if p.Context == "" {
		err = h.Close()
		s.mu.Lock()
		delete(s.sessions, h.handle)
		s.mu.Unlock()
		return nothing{}, err
	}
	return nothing{}, h.endContext(p.Context)
}

func (s *Server) status(p *pending) (any, error) {
	h, err := s.find(p)
	if err != nil {
		return nil, err
	}
	status, err := h.Status()
	return status, err
}

func (s *Server) result(p *pending) (any, error) {
	h, err := s.find(p)
	if err != nil {
		return nil, err
	}
	result, err := h.Result(p.ctx)
	return executedAnswer{Result: result, Lost: h.Lost()}, err
}

func (s *Server) files(p *pending) (any, error) {
	h, err := s.find(p)
	if err != nil {
		return nil, err
	}
	files, whole, err := h.Files()
	return filesAnswer{files, whole}, err
}

func (s *Server) entries(p *pending) (any, error) {
	h, err := s.find(p)
	if err != nil {
		return nil, err
	}
	entries, whole, err := h.Entries()
	answer := entriesAnswer{Whole: whole}
	for _, e := range entries {
		answer.Entries = append(answer.Entries, rawEntry{[]byte(e.Path), e})
	}
	return answer, err
}

func (s *Server) put(p *pending) (any, error) {
	h, err := s.find(p)
	if err != nil {
		return nil, err
	}
	if len(p.given) != 1 {
		return nil, &executor.InvalidError{What: "call", Got: "put", Why: "it needs one file"}
	}
	return nothing{}, h.PutGiven(p.ctx, p.given[0].fd, string(p.Path))
}
