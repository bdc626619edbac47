package executor

import (
	"context"
	"sync"

	"github.com/cellblock/cellblock/internal/template"
)

// keeperHolder makes the keeper of the template with the first session.
type keeperHolder struct {
	mu     sync.Mutex
	keeper *template.Keeper
	closed bool
}

// template is the keeper of this executor's template.
func (e *Executor) template(ctx context.Context) (*template.Keeper, error) {
	root, err := e.root.get(ctx, e.cfg)
	if err != nil {
		return nil, err
	}
	h := &e.keeper
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, ErrClosed
	}
	if h.keeper == nil {
		h.keeper = template.New(template.Options{Spec: e.cfg.spec(root, e.without), Modules: e.preload, Pool: e.cfg.Pool})
	}
	return h.keeper, nil
}

// Warm starts the template ahead of the first session, so that a module that
// cannot be imported (*PreloadError) is known by now. Without Config.Template
// it does nothing.
func (e *Executor) Warm(ctx context.Context) error {
	if !e.cfg.Template {
		return nil
	}
	k, err := e.template(ctx)
	if err != nil {
		return err
	}
	return k.Ready(ctx)
}

// TemplateUsage reads what the template, and what builds cells beside it, hold
// now; zero without Config.Template or before the first session.
func (e *Executor) TemplateUsage() (SessionUsage, error) {
	e.keeper.mu.Lock()
	k := e.keeper.keeper
	e.keeper.mu.Unlock()
	if k == nil {
		return SessionUsage{}, nil
	}
	st, err := k.Usage()
	return SessionUsage{st.Memory, st.PIDs, st.CPU}, err
}

func (h *keeperHolder) close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	if h.keeper == nil {
		return nil
	}
	return h.keeper.Close()
}
