package executor

import (
	"context"
	"sync"

	"github.com/cellblock/cellblock/nsjail"
)

// tenants are the REPLs of one cell: the session's own and those of its
// contexts.
type tenants struct {
	// starting is held from the start of a REPL until its posture is checked. A
	// template forks into a cell only where no code runs, and who ends one REPL
	// must not meet another that is on its way.
	starting sync.Mutex

	mu    sync.Mutex
	procs map[*nsjail.Process]bool
	quiet bool // no code has run since the cell was built, or since all was killed
}

func newTenants() *tenants { return &tenants{procs: map[*nsjail.Process]bool{}, quiet: true} }

// enter notes a REPL; leave forgets it.
func (t *tenants) enter(p *nsjail.Process) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.procs[p], t.quiet = true, false
}

func (t *tenants) leave(p *nsjail.Process) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.procs, p)
}

// isQuiet says whether no code runs in the cell; the caller holds starting.
func (t *tenants) isQuiet() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.quiet
}

// alone says whether no other REPL than p lives.
func (t *tenants) alone(p *nsjail.Process) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for other := range t.procs {
		if other != p && !isClosed(other.Ended()) {
			return false
		}
	}
	return true
}

// kill ends a REPL (nil: none) and what it started. Where no other lives in the
// cell, that is all code of it. Where one does, it is the REPL's process group:
// what has left that lives on until all code is killed, or the cell ends.
// whole says which of the two it was.
func (t *tenants) kill(ctx context.Context, cell *nsjail.Cell, p *nsjail.Process) (whole bool, err error) {
	// Where another REPL is starting, there is another.
	if t.starting.TryLock() {
		defer t.starting.Unlock()
		if t.alone(p) {
			return true, t.killAllLocked(ctx, cell)
		}
	}
	if p == nil {
		return false, nil
	}
	return false, p.Kill(ctx)
}

// killAll ends all code of the cell, and a REPL that is starting with it.
func (t *tenants) killAll(ctx context.Context, cell *nsjail.Cell) error {
	if t.starting.TryLock() {
		defer t.starting.Unlock()
		return t.killAllLocked(ctx, cell)
	}
	return cell.KillCode(ctx)
}

func (t *tenants) killAllLocked(ctx context.Context, cell *nsjail.Cell) error {
	err := cell.KillCode(ctx)
	if err == nil {
		t.mu.Lock()
		t.quiet = true
		t.mu.Unlock()
	}
	return err
}
