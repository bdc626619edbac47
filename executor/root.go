package executor

import (
	"context"
	"fmt"
	"sync"

	"github.com/cellblock/cellblock/internal/repl"
	"github.com/cellblock/cellblock/nsjail/native"
	"github.com/cellblock/cellblock/rootfs"
	"github.com/cellblock/cellblock/validator"
)

const (
	lockPath  = "/cellblock/lock.so"
	factsPath = "/cellblock/facts.pyc"
)

// Support is what every root holds beside Python: the REPL, the reader of
// syntax trees, what a template forks with, and the lock that ld.so preloads into Python, which denies
// exec before Python's main runs.
func Support() (map[string][]byte, error) {
	lock, err := native.Lock()
	if err != nil {
		return nil, err
	}
	fork, err := native.Fork()
	if err != nil {
		return nil, err
	}
	return map[string][]byte{
		"/cellblock/repl.py":  repl.Source,
		"/cellblock/show.py":  repl.ShowSource,
		"/cellblock/facts.py": validator.FactsSource,
		lockPath:              lock,
		"/cellblock/fork.so":  fork,
		"/etc/ld.so.preload":  []byte(lockPath + "\n"),
	}, nil
}

// RootSpec is the root that cfg asks for.
func (c Config) RootSpec() (rootfs.Spec, error) {
	support, err := Support()
	if err != nil {
		return rootfs.Spec{}, err
	}
	return rootfs.Spec{Python: c.Python, Packages: c.Packages, Venv: c.Venv, Support: support}, nil
}

// Root is the prepared root that sessions have, found or built if that has not
// happened yet, which can take minutes. Errors are those of package rootfs.
func (e *Executor) Root(ctx context.Context) (*rootfs.Root, error) { return e.root.get(ctx, e.cfg) }

// rootHolder finds or builds the root once and keeps it marked as used.
type rootHolder struct {
	mu      sync.Mutex
	root    *rootfs.Root
	release func()
}

// get returns the root; a build that failed is tried again by the next call.
func (h *rootHolder) get(ctx context.Context, cfg Config) (*rootfs.Root, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.root != nil {
		return h.root, nil
	}
	store, err := rootfs.Open(cfg.StateDir)
	if err != nil {
		return nil, err
	}
	root, err := findRoot(ctx, store, cfg)
	if err != nil {
		return nil, err
	}
	release, err := root.Hold()
	if err != nil {
		return nil, err
	}
	h.root, h.release = root, release
	return root, nil
}

func findRoot(ctx context.Context, store *rootfs.Store, cfg Config) (*rootfs.Root, error) {
	if cfg.Root != "" {
		root, err := store.Get(cfg.Root)
		if err != nil {
			return nil, fmt.Errorf("cannot use root %q: %w", cfg.Root, err)
		}
		return root, nil
	}
	spec, err := cfg.RootSpec()
	if err != nil {
		return nil, err
	}
	return store.Ensure(ctx, spec, cfg.Progress)
}

func (h *rootHolder) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.release != nil {
		h.release()
		h.root, h.release = nil, nil
	}
}
