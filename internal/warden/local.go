package warden

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/internal/weaken"
	"github.com/cellblock/cellblock/rootfs"
)

// Options are what a Local is made from.
type Options struct {
	// Executor has the defaults of every session, and the root of those that name
	// none. ExecutionBaseDir and OneShot mean nothing here.
	Executor executor.Config
	// Sessions and MemoryBytes bound how many sessions there may be, and the sum of
	// their memory limits; 0: no bound.
	Sessions    int
	MemoryBytes int64
}

// Local is an Engine in this process, with which its sessions end.
type Local struct {
	options  Options
	defaults Defaults
	pool     *pool
	home     *shared // the service's own executor
	results  *results

	mu       sync.Mutex
	sessions int
	memory   int64
}

// NewLocal makes one. It builds no cell yet: see Ready.
func NewLocal(o Options) (*Local, error) {
	l := &Local{options: o, pool: newPool(o.Executor), results: newResults()}
	var err error
	if l.home, err = l.pool.get("", nil); err != nil {
		return nil, err
	}
	l.defaults = Defaults{l.home.Config().SessionLimits(), l.home.preload}
	return l, nil
}

// Ready implements Engine.
func (l *Local) Ready(ctx context.Context) error {
	r, err := l.home.Execute(ctx, executor.Request{Code: "print(6*7)"})
	if err != nil {
		return err
	}
	if r.Output != "42\n" {
		return fmt.Errorf("code in a cell printed %q instead of 42 (%s)", r.Output, r.Verdict)
	}
	// The reader of syntax trees starts with its first use, which has little time.
	for range 3 {
		if valid, _, err := l.home.ValidateImports(ctx, "1"); valid || err != nil {
			break
		}
	}
	return nil
}

// Defaults implements Engine.
func (l *Local) Defaults() Defaults { return l.defaults }

// Lasting implements Engine.
func (l *Local) Lasting() bool { return false }

// Found implements Engine.
func (l *Local) Found(context.Context) ([]Found, error) { return nil, nil }

// Validate implements Engine.
func (l *Local) Validate(ctx context.Context, code string) (bool, []executor.Issue, error) {
	return l.home.ValidateImports(ctx, code)
}

// Root implements Engine.
func (l *Local) Root(ctx context.Context) (*rootfs.Root, error) { return l.home.Root(ctx) }

// Renew implements Engine.
func (l *Local) Renew(ctx context.Context) error {
	l.pool.forget()
	return l.home.Renew(ctx, nil)
}

// Close implements Engine.
func (l *Local) Close() error { return l.pool.close() }

// NewSession implements Engine.
func (l *Local) NewSession(ctx context.Context, spec Spec) (Session, error) {
	s, err := l.newSession(ctx, spec)
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (l *Local) newSession(ctx context.Context, spec Spec) (_ *local, err error) {
	if err := spec.check(l.options.Executor); err != nil {
		return nil, err
	}
	of, err := l.pool.get(spec.Root, spec.Preload)
	if err != nil {
		return nil, err
	}
	if err := spec.Limits.Check(of.Executor); err != nil { // before what they say is counted
		l.pool.give(of)
		return nil, err
	}
	s := newLocalSession(l, spec, of)
	mb := of.Config().MaxMemoryMB
	if spec.Limits.MaxMemoryMB != 0 {
		mb = spec.Limits.MaxMemoryMB
	}
	s.memory = int64(mb) << 20
	if err := l.reserve(s.memory); err != nil {
		l.pool.give(of)
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	var without []string
	for {
		s.Session, err = s.of.NewSession(ctx, executor.SessionOptions{ID: spec.ID, Limits: spec.Limits, Env: spec.Env})
		if err != nil {
			return nil, err
		}
		var absent *executor.PreloadError
		if err = s.Start(ctx); !errors.As(err, &absent) {
			return s, err
		}
		module := absent.Module.String()
		if slices.Contains(without, module) {
			return s, err
		}
		// Without that module, then. Others are spared the attempt only where the
		// root lacks it: it may be this session's limits in which it has no room.
		without = append(without, module)
		if absent.Exception == "ModuleNotFoundError" {
			l.pool.lacks(spec.Root, module)
		}
		if err := s.Session.Close(); err != nil {
			return nil, err
		}
		other, err := l.pool.get(spec.Root, spec.Preload, without...)
		if err != nil {
			return nil, err
		}
		l.pool.give(s.of)
		s.of = other
	}
}

// reserve admits one more session.
func (l *Local) reserve(memory int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if weaken.Layer("warden-bounds") {
		return nil
	}
	if o := l.options; o.Sessions != 0 && l.sessions >= o.Sessions || o.MemoryBytes != 0 && l.memory+memory > o.MemoryBytes {
		return ErrExhausted
	}
	l.sessions++
	l.memory += memory
	return nil
}

// admit counts a session that is there already.
func (l *Local) admit(memory int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sessions++
	l.memory += memory
}

func (l *Local) release(memory int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sessions--
	l.memory -= memory
}
