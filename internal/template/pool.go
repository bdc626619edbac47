package template

import (
	"context"
	"os"
	"sync"
	"time"

	"github.com/cellblock/cellblock/nsjail"
)

// PoolOptions say how many cells stand ahead of need.
type PoolOptions struct {
	Size int           // cells that stand ready; 0 means none
	Rate float64       // cells built ahead per second at most; 0 means no limit
	Idle time.Duration // after which without need the pool is emptied; 0 means a minute
}

// pool keeps cells. Each is given out once and never comes back.
type pool struct {
	o     PoolOptions
	build func(context.Context) (*nsjail.Cell, error)

	wake chan struct{} // has a token when the filler has something to do
	stop context.CancelFunc
	done chan struct{}

	mu      sync.Mutex
	cells   []*nsjail.Cell
	tight   time.Time // until then memory is short, and none is built ahead
	running bool
	closed  bool
}

func newPool(o PoolOptions, build func(context.Context) (*nsjail.Cell, error)) *pool {
	if o.Idle == 0 {
		o.Idle = time.Minute
	}
	return &pool{o: o, build: build, wake: make(chan struct{}, 1), done: make(chan struct{})}
}

// take returns a cell that stands, the oldest first, or builds one.
func (p *pool) take(ctx context.Context) (*nsjail.Cell, error) {
	for {
		cell := p.pick()
		if cell == nil {
			return p.build(ctx)
		}
		select {
		case <-cell.Ended():
			cell.Close()
		default:
			return cell, nil
		}
	}
}

// pick takes a cell out and has the filler look after the rest.
func (p *pool) pick() *nsjail.Cell {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.o.Size <= 0 {
		return nil
	}
	if !p.running {
		p.running = true
		ctx, cancel := context.WithCancel(context.Background())
		p.stop = cancel
		go p.fill(ctx)
	}
	select {
	case p.wake <- struct{}{}:
	default:
	}
	if len(p.cells) == 0 {
		return nil
	}
	cell := p.cells[0]
	p.cells = p.cells[1:]
	return cell
}

// fill builds what is missing each time a cell was taken, and empties the pool
// when none was for a while, or when the machine is short of memory.
func (p *pool) fill(ctx context.Context) {
	defer close(p.done)
	if watched, unwatch, err := os.Pipe(); err == nil {
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			watchPressure(watched, p.pressed)
		}()
		defer func() {
			unwatch.Close()
			<-gone
		}()
	}
	idle := time.NewTimer(p.o.Idle)
	defer idle.Stop()
	for {
		select {
		case <-p.wake:
			idle.Reset(p.o.Idle)
			p.replenish(ctx)
		case <-idle.C:
			p.empty()
		case <-ctx.Done():
			p.empty()
			return
		}
	}
}

// replenish ends early on an error: who needs a cell then gets it, or the
// error, from a build of their own.
func (p *pool) replenish(ctx context.Context) {
	for p.missing() {
		began := time.Now()
		cell, err := p.build(ctx)
		if err != nil {
			return
		}
		p.mu.Lock()
		if p.closed {
			p.mu.Unlock()
			cell.Close()
			return
		}
		p.cells = append(p.cells, cell)
		p.mu.Unlock()
		if p.o.Rate > 0 {
			pause := time.NewTimer(time.Duration(float64(time.Second)/p.o.Rate) - time.Since(began))
			select {
			case <-pause.C:
			case <-ctx.Done():
				pause.Stop()
				return
			}
		}
	}
}

func (p *pool) missing() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.closed && len(p.cells) < p.o.Size && !time.Now().Before(p.tight)
}

// pressed gives up what stands ahead, because the machine is short of memory.
func (p *pool) pressed() {
	p.mu.Lock()
	p.tight = time.Now().Add(calm)
	p.mu.Unlock()
	p.empty()
}

func (p *pool) empty() {
	p.mu.Lock()
	cells := p.cells
	p.cells = nil
	p.mu.Unlock()
	for _, c := range cells {
		c.Close()
	}
}

func (p *pool) close() {
	p.mu.Lock()
	running := p.running && !p.closed
	p.closed = true
	p.mu.Unlock()
	if running {
		p.stop()
		<-p.done
	}
}
