package executor

import (
	"context"
	"fmt"

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
func (e *Executor) Root(ctx context.Context) (*rootfs.Root, error) {
	g, err := e.current(ctx)
	if err != nil {
		return nil, err
	}
	return g.root, nil
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
