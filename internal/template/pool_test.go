package template

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cellblock/cellblock/nsjail"
)

// A pool without pressure events: what they do is called by hand.
func pooled(o PoolOptions) (*pool, func() int) {
	var mu sync.Mutex
	built := 0
	p := newPool(o, func(context.Context) (*nsjail.Cell, error) {
		mu.Lock()
		defer mu.Unlock()
		built++
		return nil, errNoCell
	})
	return p, func() int {
		mu.Lock()
		defer mu.Unlock()
		return built
	}
}

var errNoCell = errors.New("no cell here")

// Under pressure nothing is built ahead, and what a caller needs still is.
func TestPoolUnderPressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, built := pooled(PoolOptions{Size: 3})
		p.running = true // without a filler of its own
		p.pressed()
		if p.missing() {
			t.Error("a pool under pressure wants cells")
		}
		p.replenish(t.Context())
		if n := built(); n != 0 {
			t.Errorf("%d cells were built ahead under pressure", n)
		}
		if _, err := p.take(t.Context()); !errors.Is(err, errNoCell) {
			t.Errorf("take: %v", err)
		}
		time.Sleep(calm)
		if !p.missing() {
			t.Error("a pool after pressure wants no cells")
		}
	})
}

func TestPoolOfNone(t *testing.T) {
	p, built := pooled(PoolOptions{})
	if _, err := p.take(t.Context()); !errors.Is(err, errNoCell) || built() != 1 || p.running {
		t.Errorf("%v, %d built, filler %v", err, built(), p.running)
	}
	p.close()
}
