package nsjail

import (
	"sync"

	"github.com/cellblock/cellblock/internal/sys"
)

// A host that is short of memory or descriptors for a moment fails one call
// and not the next: that must cost one cell, and leave nothing behind.

// onceGood is sync.OnceValues that remembers no failure: what was short of
// memory or of descriptors once is tried again by the next cell.
func onceGood[T any](find func() (T, error)) func() (T, error) {
	var mu sync.Mutex
	var found bool
	var value T
	return func() (T, error) {
		mu.Lock()
		defer mu.Unlock()
		if found {
			return value, nil
		}
		v, err := find()
		if err == nil {
			found, value = true, v
		}
		return v, err
	}
}

// again tries twice what gives something back: one that failed for a shortage
// of the moment must not leave anything behind.
func again(give func() error) error {
	err := give()
	if err != nil {
		err = give()
	}
	return err
}

// disown ends outer and the init that it may have cloned, of which nothing is
// known: both are in the process group that outer's setsid made.
func (c *Cell) disown(outer int) {
	_ = again(func() error { return sys.KillGroup(outer) })
	for again(func() error { _, err := sys.Wait(-outer); return err }) == nil {
	}
}
