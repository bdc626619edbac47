package executor

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cellblock/cellblock/internal/handover"
	"github.com/cellblock/cellblock/nsjail"
)

// SessionState is what another process needs to know of a session to take it over from
// this one: see Leaving. Descriptors are numbers of a handover.Load.
type SessionState struct {
	ID       string
	Limits   Limits // all of them
	Cells    int
	Quiet    bool              // no code has run in the cell
	Ground   int               // of Leaving.Grounds
	Cell     *nsjail.CellState // nil: it has none
	Main     REPLState
	Contexts []REPLState
}

// REPLState is the same of one REPL: the session's own, or a context's.
type REPLState struct {
	Env       map[string]string
	Process   *nsjail.ProcessState // nil: it has none
	Execution int
	Lost      bool // it had one, and nobody was told of its end
	OOMKills  int64
}

// GroundState is what sessions stand on.
type GroundState struct {
	Root    string // its digest
	Preload []string
	Hold    int               // keeps the root from being removed
	Nest    *nsjail.CellState // that their cells are in; nil: in none
}

// Leaving hands sessions of one executor over to another process, with what they stand
// on. The executor is of no use for anything else from then on. Nothing is changed that
// Undo does not undo.
type Leaving struct {
	ex      *Executor
	load    *handover.Load
	numbers map[*ground]int
	grounds []*ground
	held    []*Session     // sessions and contexts whose turn is held
	frozen  []*nsjail.Cell // of sessions
	nests   []*nsjail.Nest // frozen as well
}

// Leave begins to hand over.
func (e *Executor) Leave(load *handover.Load) *Leaving {
	return &Leaving{ex: e, load: load, numbers: map[*ground]int{}}
}

// Session hands over one, with contexts of its, whose states come in the same order. It
// waits until nothing runs in them. On an error the session is as it was, and to be
// closed.
func (l *Leaving) Session(ctx context.Context, s *Session, contexts []*Context) (st SessionState, err error) {
	all := []*Session{s}
	for _, c := range contexts {
		all = append(all, c.s)
	}
	var held []*Session
	defer func() {
		if err == nil {
			l.held = append(l.held, held...)
			return
		}
		for _, s := range held {
			s.give()
		}
	}()
	for _, x := range all {
		if err := x.take(ctx); err != nil {
			return st, fmt.Errorf("cannot hand over a session in which something runs: %w", err)
		}
		held = append(held, x)
	}
	if len(s.options.Dirs) > 0 || s.folder != nil {
		return st, errors.New("cannot hand over a session with directories of the host")
	}
	for _, x := range all {
		x.forgetDead(s.cell)
	}
	st = SessionState{ID: s.options.ID, Limits: s.cfg.SessionLimits(), Cells: s.Cells(), Quiet: true}
	if s.cell != nil {
		cell, err := s.cell.HandOver(ctx, l.load)
		if err != nil {
			return st, err
		}
		st.Cell, st.Ground = &cell, l.number(s.ground)
		s.tenants.mu.Lock()
		st.Quiet = s.tenants.quiet
		s.tenants.mu.Unlock()
	}
	for i, x := range all {
		r, err := x.replState(l.load)
		if err != nil {
			if s.cell != nil {
				s.cell.Thaw()
			}
			return st, err
		}
		if i == 0 {
			st.Main = r
		} else {
			st.Contexts = append(st.Contexts, r)
		}
	}
	if s.cell != nil {
		l.frozen = append(l.frozen, s.cell)
	}
	return st, nil
}

// forgetDead ends a REPL that is of no more use, as ready would; cell is that of the
// session, which may be another by now than the one that a context had.
func (s *Session) forgetDead(cell *nsjail.Cell) {
	if s.cell != nil && (s.cell != cell || isClosed(s.cell.Ended())) {
		s.lost = s.lost || s.conn != nil && !s.spent
		s.endCell()
	}
	if s.conn != nil && (s.spent || isClosed(s.proc.Ended())) {
		s.lost = s.lost || !s.spent
		s.endREPL()
	}
}

// replState is what there is of the session's own REPL, whose cell is frozen.
func (s *Session) replState(load *handover.Load) (REPLState, error) {
	st := REPLState{Env: s.options.Env, Execution: s.execution, Lost: s.lost, OOMKills: s.oomKills}
	if s.conn == nil {
		return st, nil
	}
	control, err := s.conn.File()
	if err != nil {
		return st, fmt.Errorf("cannot hand over a REPL: %w", err)
	}
	p, alive, err := s.proc.HandOver(load, control)
	if alive {
		st.Process = &p
	}
	st.Lost = st.Lost || !alive
	return st, err
}

func (l *Leaving) number(g *ground) int {
	n, ok := l.numbers[g]
	if !ok {
		n = len(l.grounds)
		l.numbers[g], l.grounds = n, append(l.grounds, g)
	}
	return n
}

// Grounds ends what is there for new sessions, templates and cells that stand ahead, and
// hands over what the sessions stand on. It comes after the last Session; those that
// were not handed over are closed before.
func (l *Leaving) Grounds(ctx context.Context) ([]GroundState, error) {
	l.ex.parser.Close()
	var states []GroundState
	for _, g := range l.grounds {
		st := GroundState{Root: g.root.Digest}
		var err error
		if st.Hold, err = l.load.Add(g.hold); err != nil {
			return nil, err
		}
		for _, m := range g.preload {
			st.Preload = append(st.Preload, m.String())
		}
		if g.keeper != nil {
			g.nest = g.keeper.Leave()
			g.keeper = nil
		}
		if g.nest != nil {
			nest, err := g.nest.HandOver(ctx, l.load)
			if err != nil {
				return nil, fmt.Errorf("cannot hand over the nest of sessions: %w", err)
			}
			l.nests = append(l.nests, g.nest)
			st.Nest = &nest
		}
		states = append(states, st)
	}
	gs := &l.ex.grounds
	gs.mu.Lock()
	now := gs.now
	gs.mu.Unlock()
	if now == nil {
		return states, nil
	}
	if _, used := l.numbers[now]; used {
		return states, nil
	}
	return states, l.ex.closeGrounds()
}

// Drop takes one back that was handed over, to be closed here. It comes before Grounds.
func (l *Leaving) Drop(s *Session) {
	l.frozen = slices.DeleteFunc(l.frozen, func(c *nsjail.Cell) bool {
		if c == s.cell {
			c.Thaw()
			return true
		}
		return false
	})
	l.held = slices.DeleteFunc(l.held, func(x *Session) bool {
		if x == s || x.of == s {
			x.give()
			return true
		}
		return false
	})
}

// Undo is for a failure of what comes after: the sessions are to be closed here.
func (l *Leaving) Undo() {
	for _, n := range l.nests {
		n.Thaw()
	}
	for _, c := range l.frozen {
		c.Thaw()
	}
	for _, s := range l.held {
		s.give()
	}
	l.nests, l.frozen, l.held = nil, nil, nil
}
