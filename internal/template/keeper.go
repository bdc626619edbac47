package template

import (
	"context"
	"errors"
	"sync"

	"github.com/cellblock/cellblock/cgroup"
	"github.com/cellblock/cellblock/nsjail"
)

// Options say what a Keeper keeps.
type Options struct {
	Spec    nsjail.Spec // of every cell, without inputs
	Modules []Module
	Pool    PoolOptions
}

// ErrClosed is returned by a Keeper that was closed.
var ErrClosed = errors.New("the template was closed")

// Keeper keeps one template at work. Its methods are safe for concurrent use.
type Keeper struct {
	o    Options
	pool *pool

	starting sync.Mutex // held while a nest or a template is started

	mu     sync.Mutex
	house  *house
	closed bool
}

// house is a nest with the template in it; who replaces the template keeps the
// nest, and with it the sessions.
type house struct {
	nest     *nsjail.Nest
	plan     *nsjail.ForkPlan
	template *template
}

// New returns a Keeper. It starts nothing yet.
func New(o Options) *Keeper {
	k := &Keeper{o: o}
	k.pool = newPool(o.Pool, func(ctx context.Context) (*nsjail.Cell, error) { return k.build(ctx, o.Spec) })
	return k
}

// nestLimits are for builder and template together. The modules are trusted,
// but an import that grows without end is to end.
var nestLimits = cgroup.Limits{MemoryBytes: 4 << 30, PIDs: 256}

// Ready starts what is not there yet, so that an error of the modules
// (*PreloadError) is known before a session wants them.
func (k *Keeper) Ready(ctx context.Context) error {
	_, err := k.ready(ctx)
	return err
}

// ready returns a house whose template lives.
func (k *Keeper) ready(ctx context.Context) (house, error) {
	if h, ok := k.current(); ok {
		return h, nil
	}
	k.starting.Lock()
	defer k.starting.Unlock()
	if h, ok := k.current(); ok {
		return h, nil
	}
	k.mu.Lock()
	closed, old := k.closed, k.house
	k.mu.Unlock()
	if closed {
		return house{}, ErrClosed
	}
	h := house{}
	if old != nil && !ended(old.nest) {
		h = *old
		h.template.end()
		h.template = nil
	}
	made := h.nest == nil
	var err error
	if made {
		spec := k.o.Spec
		spec.Limits, spec.Inputs = nestLimits, nil
		if h.nest, err = nsjail.StartNest(ctx, spec); err != nil {
			return house{}, err
		}
		h.plan, err = h.nest.PlanFork(k.o.Spec)
	}
	if err == nil {
		h.template, err = start(ctx, h.nest, h.plan, k.o.Modules)
	}
	if err != nil {
		if made {
			h.nest.Close()
		}
		return house{}, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		h.template.end()
		h.nest.Close()
		return house{}, ErrClosed
	}
	if made && old != nil {
		old.template.end()
		go old.nest.Close()
	}
	k.house = &h
	return h, nil
}

func (k *Keeper) current() (house, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.house == nil || k.closed || ended(k.house.nest) || k.house.template.dead() {
		return house{}, false
	}
	return *k.house, true
}

func ended(n *nsjail.Nest) bool {
	select {
	case <-n.Ended():
		return true
	default:
		return false
	}
}

// PID is the template's on the host, 0 when there is none.
func (k *Keeper) PID() int {
	if h, ok := k.current(); ok {
		return h.template.proc.PID
	}
	return 0
}

// Usage is what template and builder are charged with.
func (k *Keeper) Usage() (cgroup.Stats, error) {
	h, ok := k.current()
	if !ok || h.nest.Group() == nil {
		return cgroup.Stats{}, nil
	}
	return h.nest.Group().Stats()
}

// Cell returns a cell for one session: one that stands already or, when there
// is none or the session's is to be of its own kind, a new one. own may differ
// from the Keeper's Spec in limits and inputs.
func (k *Keeper) Cell(ctx context.Context, own *nsjail.Spec) (*nsjail.Cell, error) {
	if own != nil {
		return k.build(ctx, *own)
	}
	return k.pool.take(ctx)
}

func (k *Keeper) build(ctx context.Context, spec nsjail.Spec) (*nsjail.Cell, error) {
	h, err := k.ready(ctx)
	if err != nil {
		return nil, err
	}
	return h.nest.Start(ctx, spec)
}

// Fork forks a REPL into a cell of this Keeper in which no code runs. A template
// that has died is replaced.
func (k *Keeper) Fork(ctx context.Context, cell *nsjail.Cell) (*nsjail.Process, error) {
	for again := false; ; again = true {
		h, err := k.ready(ctx)
		if err != nil {
			return nil, err
		}
		p, err := cell.ForkREPL(ctx, h.plan, h.template.ask)
		if err == nil || again || !lost(err) {
			return p, err
		}
		select {
		case <-cell.Ended():
			return nil, err
		case <-h.template.proc.Ended(): // soon, if that was it
		case <-ctx.Done():
			return nil, err
		}
	}
}

// Leave closes the Keeper and leaves the nest, with the cells in it that are in use, to
// the caller; nil where there is none.
func (k *Keeper) Leave() *nsjail.Nest {
	k.mu.Lock()
	closed, h := k.closed, k.house
	k.closed = true
	k.mu.Unlock()
	if closed {
		return nil
	}
	k.pool.close()
	if h == nil {
		return nil
	}
	h.template.end()
	return h.nest
}

// Close ends the template, the cells of the pool, and every cell that is left.
func (k *Keeper) Close() error {
	if nest := k.Leave(); nest != nil {
		return nest.Close()
	}
	return nil
}
