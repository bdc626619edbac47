package executor

import (
	"context"
	"errors"
	"fmt"

	"github.com/cellblock/cellblock/internal/handover"
	"github.com/cellblock/cellblock/internal/repl"
	"github.com/cellblock/cellblock/internal/template"
	"github.com/cellblock/cellblock/internal/workspace"
	"github.com/cellblock/cellblock/nsjail"
	"github.com/cellblock/cellblock/rootfs"
)

// Arriving takes over sessions that another process has handed over: see Leaving. What
// they stand on is an old ground, which goes with the last of them.
type Arriving struct {
	ex      *Executor
	a       *handover.Arrived
	states  []GroundState
	grounds []*ground
	errs    []error
}

// Arrive begins to take over sessions of one executor.
func (e *Executor) Arrive(a *handover.Arrived, grounds []GroundState) *Arriving {
	return &Arriving{ex: e, a: a, states: grounds, grounds: make([]*ground, len(grounds)), errs: make([]error, len(grounds))}
}

// Session takes over one, and contexts of its in the order of their states. On an error
// its cell ends.
func (r *Arriving) Session(ctx context.Context, st SessionState) (s *Session, contexts []*Context, err error) {
	if s, err = r.ex.NewSession(ctx, SessionOptions{ID: st.ID, Limits: st.Limits, Env: st.Main.Env}); err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
			s = nil
		}
	}()
	s.cfg, s.cells = st.Limits.fix(s.cfg), st.Cells
	all := []*Session{s}
	states := append([]REPLState{st.Main}, st.Contexts...)
	for _, c := range st.Contexts {
		own := s.newContext(c.Env)
		if err := s.admit(own); err != nil {
			return s, nil, err
		}
		all = append(all, own)
		contexts = append(contexts, &Context{own})
	}
	for i, x := range all {
		x.execution, x.lost, x.oomKills = states[i].Execution, states[i].Lost, states[i].OOMKills
	}
	if st.Cell == nil {
		return s, contexts, nil
	}
	return s, contexts, r.cell(ctx, st, all, states)
}

// cell takes over a session's cell, with its REPL and those of its contexts.
func (r *Arriving) cell(ctx context.Context, st SessionState, all []*Session, states []REPLState) error {
	s := all[0]
	g, err := r.ground(ctx, st.Ground)
	if err != nil {
		return err
	}
	if st.Cell.Spec.Root != g.root.Dir {
		return fmt.Errorf("its cell has the root %q, and it stands on %q", st.Cell.Spec.Root, g.root.Dir)
	}
	var procs []nsjail.ProcessState
	var of []*Session
	for i, x := range all {
		if states[i].Process != nil {
			procs, of = append(procs, *states[i].Process), append(of, x)
		}
	}
	nest := g.nest
	if !st.Cell.Nested {
		nest = nil
	}
	cell, living, err := nsjail.TakeOver(ctx, *st.Cell, procs, nest, r.a)
	if err != nil {
		return err
	}
	r.ex.grounds.mu.Lock()
	g.cells++
	r.ex.grounds.mu.Unlock()
	s.ground, s.cell, s.living, s.tenants = g, cell, cell, newTenants()
	s.tenants.quiet = st.Quiet
	if s.work, err = workspace.Open(int(cell.Workspace().Fd())); err != nil {
		return err
	}
	if s.mirror, err = workspace.NewMirror(s.work, nil, s.copyLimits()); err != nil {
		return err
	}
	for i, x := range of {
		x.proc = living[i]
		s.tenants.enter(x.proc)
		if x.of != nil {
			x.cell, x.living, x.work, x.mirror, x.tenants, x.ground = s.cell, s.living, s.work, s.mirror, s.tenants, s.ground
		}
		if x.conn, err = repl.FromFile(x.proc.Control); err != nil {
			return err
		}
	}
	return nil
}

// ground is what sessions stand on, taken over with the first of them.
func (r *Arriving) ground(ctx context.Context, n int) (*ground, error) {
	if n < 0 || n >= len(r.states) {
		return nil, fmt.Errorf("it stands on number %d of %d grounds", n, len(r.states))
	}
	if r.grounds[n] == nil && r.errs[n] == nil {
		r.grounds[n], r.errs[n] = r.ex.takeGround(ctx, r.states[n], r.a)
	}
	return r.grounds[n], r.errs[n]
}

func (e *Executor) takeGround(ctx context.Context, st GroundState, a *handover.Arrived) (_ *ground, err error) {
	preload, err := template.Parse(st.Preload)
	if err != nil {
		return nil, err
	}
	store, err := rootfs.Open(e.cfg.StateDir)
	if err != nil {
		return nil, err
	}
	root, err := store.Get(st.Root)
	if err != nil {
		return nil, fmt.Errorf("its root is gone: %w", err)
	}
	before, err := a.Take(st.Hold)
	if err != nil {
		return nil, err
	}
	defer before.Close() // this process has a hold of its own by then
	hold, err := root.HoldFile()
	if err != nil {
		return nil, fmt.Errorf("its root is gone: %w", err)
	}
	g := &ground{root: root, hold: hold, preload: preload, old: true, cells: 1} // until Done
	if st.Nest == nil {
		return g, nil
	}
	if g.nest, err = nsjail.TakeOverNest(ctx, *st.Nest, a); err != nil {
		hold.Close()
		return nil, err
	}
	return g, nil
}

// Done comes after the last Session: what none stands on ends.
func (r *Arriving) Done() error {
	var errs []error
	for _, g := range r.grounds {
		if g != nil {
			errs = append(errs, r.ex.leave(g))
		}
	}
	return errors.Join(errs...)
}

// fix gives a configuration all limits of a session that lives.
func (l Limits) fix(c Config) Config {
	c.Timeout, c.CPUTime, c.MaxMemoryMB, c.CPUs, c.PIDs = l.Timeout, l.CPUTime, l.MaxMemoryMB, l.CPUs, l.PIDs
	c.WorkspaceBytes, c.WorkspaceFiles, c.MaxOutput = l.WorkspaceBytes, l.WorkspaceFiles, l.MaxOutput
	return c
}
