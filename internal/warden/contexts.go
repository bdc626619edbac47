package warden

import (
	"errors"
	"sync"

	"github.com/cellblock/cellblock/executor"
)

// contextOf is a context with the name of the process that it is of: nobody else knows
// its own, so that it ends when another process comes.
type contextOf struct {
	REPL
	asker string
}

// mostHandle bounds the name that an asker gives a context.
const mostHandle = 64

// context makes one under the name that its asker chose, or another. Where no answer
// can be sent it ends.
func (s *Server) context(p *pending) (any, error) {
	h, err := s.find(p)
	if err != nil {
		return nil, err
	}
	name := p.Context
	if name == "" { // the service is an older one
		name = newHandle()
	}
	if len(name) > mostHandle {
		return nil, &executor.InvalidError{What: "context", Got: shorten(name), Why: "the name is too long"}
	}
	c, err := h.NewContext(p.ctx, executor.ContextOptions{Env: p.Env})
	if err != nil {
		return nil, err
	}
	if err := s.enterContext(p, h, name, c); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	p.undo = func() error { return h.endContext(name) }
	return name, nil
}

// enterContext notes a context, unless its holder is gone by now.
func (s *Server) enterContext(p *pending, h *held, name string, c REPL) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.holders != p.holder {
		return executor.ErrClosed
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, known := h.contexts[name]; known {
		return &executor.InvalidError{What: "context", Got: name, Why: "there is one of this name"}
	}
	h.contexts[name] = contextOf{c, s.asker}
	return nil
}

// endContext ends one; that it is not there is no error.
func (h *held) endContext(name string) error {
	h.mu.Lock()
	c, known := h.contexts[name]
	delete(h.contexts, name)
	h.mu.Unlock()
	if !known {
		return nil
	}
	return c.Close()
}

// endContexts ends those of all processes but the one that holds the sessions.
func (s *Server) endContexts() {
	s.mu.Lock()
	asker := s.asker
	s.mu.Unlock()
	var ending sync.WaitGroup
	for _, h := range s.all() {
		h.mu.Lock()
		for name, c := range h.contexts {
			if c.asker == asker {
				continue
			}
			ending.Go(func() {
				if err := h.endContext(name); err != nil {
					s.log.Error("a context of a service that is gone did not end cleanly", "error", err)
				}
			})
		}
		h.mu.Unlock()
	}
	ending.Wait()
}
