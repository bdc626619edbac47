package api

import (
	"slices"
	"strings"
	"sync"

	"github.com/cellblock/cellblock/executor"
)

// pool has the executors: one for each root that sessions ask for. They share
// the service's configuration otherwise.
type pool struct {
	base executor.Config

	mu     sync.Mutex
	byKey  map[string]*shared
	closed bool
}

// shared is an executor with the number of its users.
type shared struct {
	*executor.Executor
	key   string
	users int
}

// mostExecutors bounds the executors that are kept for roots nobody uses now.
const mostExecutors = 8

func newPool(base executor.Config) *pool { return &pool{base: base, byKey: map[string]*shared{}} }

// get returns the executor of a root ("": the service's own), to be given back.
func (p *pool) get(root string) (*shared, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, errDraining()
	}
	key := root
	if s := p.byKey[key]; s != nil {
		s.users++
		return s, nil
	}
	cfg := p.base
	if root != "" {
		cfg.Root, cfg.Python, cfg.Packages, cfg.Venv = root, "", nil, ""
	}
	ex, err := executor.New(cfg)
	if err != nil {
		return nil, err
	}
	s := &shared{ex, key, 1}
	p.byKey[key] = s
	return s, nil
}

// give takes an executor back. Of those that nobody uses, a few are kept; the
// service's own always is.
func (p *pool) give(s *shared) {
	p.mu.Lock()
	s.users--
	var drop *shared
	if s.users == 0 && s.key != "" && len(p.byKey) > mostExecutors {
		delete(p.byKey, s.key)
		drop = s
	}
	p.mu.Unlock()
	if drop != nil {
		drop.Close()
	}
}

// close ends all executors, and with them their cells.
func (p *pool) close() error {
	p.mu.Lock()
	p.closed = true
	var all []*shared
	for _, s := range p.byKey {
		all = append(all, s)
	}
	p.mu.Unlock()
	var first error
	for _, s := range all {
		if err := s.Close(); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// preloadCode imports modules; what the root does not have, or what is broken
// in it, is left out.
func preloadCode(preload []string) (string, error) {
	var b strings.Builder
	for _, entry := range preload {
		module, name, as := strings.Cut(entry, " as ")
		if !isDotted(module) || as && (!isDotted(name) || strings.Contains(name, ".")) {
			return "", problem(KindInvalid, "preload: %q is no module: write it as pandas, or as pandas as pd", shorten(entry))
		}
		if slices.Contains(strings.Split(module, "."), "__main__") {
			return "", problem(KindInvalid, "preload: %q cannot be imported", shorten(entry))
		}
		b.WriteString("try:\n import " + entry + "\nexcept Exception:\n pass\n")
	}
	return b.String(), nil
}

// isDotted says whether s is Python names with dots between them.
func isDotted(s string) bool {
	if len(s) > 200 {
		return false
	}
	for name := range strings.SplitSeq(s, ".") {
		for i, r := range name {
			letter := r == '_' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
			if !letter && (i == 0 || r < '0' || r > '9') {
				return false
			}
		}
		if name == "" {
			return false
		}
	}
	return true
}
