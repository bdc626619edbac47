package executor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/cellblock/cellblock/internal/template"
	"github.com/cellblock/cellblock/nsjail"
	"github.com/cellblock/cellblock/rootfs"
)

// ground is what cells stand on: a prepared root, and the template that lives in
// it.
type ground struct {
	root    *rootfs.Root
	hold    *os.File // of the root
	preload []template.Module
	keeper  *template.Keeper // nil without Config.Template
	nest    *nsjail.Nest     // a keeper's that was left, see handover.go

	cells int  // that stand on it
	old   bool // replaced: it goes with the last of them
}

func (g *ground) close() error {
	var err error
	if g.keeper != nil {
		err = g.keeper.Close()
	}
	if g.nest != nil {
		err = errors.Join(err, g.nest.Close())
	}
	g.hold.Close()
	return err
}

// grounds keeps the one that new cells are given, and what those before are
// still needed for.
type grounds struct {
	renewing sync.Mutex // held while one is made

	mu     sync.Mutex
	now    *ground
	closed bool
}

// current is what a new cell would stand on, made if that has not happened yet.
// A failure is tried again by the next call.
func (e *Executor) current(ctx context.Context) (*ground, error) {
	gs := &e.grounds
	if g, err := gs.get(); g != nil || err != nil {
		return g, err
	}
	gs.renewing.Lock()
	defer gs.renewing.Unlock()
	if g, err := gs.get(); g != nil || err != nil {
		return g, err
	}
	g, err := e.makeGround(ctx, e.preload)
	if err != nil {
		return nil, err
	}
	return g, gs.set(g)
}

func (gs *grounds) get() (*ground, error) {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	if gs.closed {
		return nil, ErrClosed
	}
	return gs.now, nil
}

// set makes g the one for new cells.
func (gs *grounds) set(g *ground) error {
	gs.mu.Lock()
	if gs.closed {
		gs.mu.Unlock()
		return errors.Join(ErrClosed, g.close())
	}
	before := gs.now
	gs.now = g
	done := before != nil && before.cells == 0
	if before != nil {
		before.old = true
	}
	gs.mu.Unlock()
	if done {
		return before.close()
	}
	return nil
}

// stand gives a cell its ground, to be left.
func (e *Executor) stand(ctx context.Context) (*ground, error) {
	for {
		g, err := e.current(ctx)
		if err != nil {
			return nil, err
		}
		e.grounds.mu.Lock()
		replaced := g.old
		if !replaced {
			g.cells++
		}
		e.grounds.mu.Unlock()
		if !replaced {
			return g, nil
		}
	}
}

// leave is called when a cell is gone.
func (e *Executor) leave(g *ground) error {
	e.grounds.mu.Lock()
	g.cells--
	last := g.old && g.cells == 0
	e.grounds.mu.Unlock()
	if last {
		return g.close()
	}
	return nil
}

// makeGround finds or builds the root.
func (e *Executor) makeGround(ctx context.Context, preload []template.Module) (*ground, error) {
	store, err := rootfs.Open(e.cfg.StateDir)
	if err != nil {
		return nil, err
	}
	root, err := findRoot(ctx, store, e.cfg)
	if err != nil {
		return nil, err
	}
	hold, err := root.HoldFile()
	if err != nil {
		return nil, err
	}
	g := &ground{root: root, hold: hold, preload: preload}
	if e.cfg.Template {
		g.keeper = template.New(template.Options{Spec: e.cfg.spec(root, e.without), Modules: preload, Pool: e.cfg.Pool})
	}
	return g, nil
}

// Renew looks at the host's Python and packages again, and takes another list of
// modules to preload (nil: the same). A root that is out of date is built anew, and
// a template starts in it, while sessions go on being made from what was there; only
// then do new sessions get the new one. Sessions that live keep theirs, which ends
// with the last of them. On an error everything stays as it was. Errors are those of
// New, of package rootfs, and *PreloadError.
func (e *Executor) Renew(ctx context.Context, preload []string) error {
	modules := e.preload
	if preload != nil {
		var err error
		if modules, err = template.Parse(preload); err != nil {
			return &InvalidError{"preload", strings.Join(preload, ","), err.Error()}
		}
	}
	gs := &e.grounds
	gs.renewing.Lock()
	defer gs.renewing.Unlock()
	if preload == nil {
		if now, err := gs.get(); err != nil {
			return err
		} else if now != nil {
			modules = now.preload
		}
	}
	g, err := e.makeGround(ctx, modules)
	if err != nil {
		return err
	}
	if g.keeper != nil {
		if err := g.keeper.Ready(ctx); err != nil {
			return errors.Join(err, g.close())
		}
	}
	if err := gs.set(g); err != nil {
		return fmt.Errorf("cannot put the new template to use: %w", err)
	}
	return e.parser.Rest(ctx)
}

// closeGrounds ends what new cells would have got; the others went with their cells.
func (e *Executor) closeGrounds() error {
	gs := &e.grounds
	gs.renewing.Lock()
	defer gs.renewing.Unlock()
	gs.mu.Lock()
	gs.closed = true
	g := gs.now
	gs.now = nil
	gs.mu.Unlock()
	if g == nil {
		return nil
	}
	return g.close()
}
