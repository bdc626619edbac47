package warden

import (
	"slices"
	"strings"
	"sync"

	"github.com/cellblock/cellblock/executor"
)

// pool has the executors: the service's own, and one for each root and list of
// modules that sessions ask for. They share the service's configuration
// otherwise.
//
// Only the service's own forks from a template: what that imports is the
// operator's choice. What a caller names is imported in the caller's own cell.
type pool struct {
	base executor.Config

	mu      sync.Mutex
	byKey   map[string]*shared
	missing map[string]bool // modules, by root, that cannot be imported
	closed  bool
}

// shared is an executor with the number of its users.
type shared struct {
	*executor.Executor
	key     string
	root    string // "": the service's own
	preload []string
	users   int
}

// mostExecutors bounds the executors that are kept though nobody uses them, and
// mostMissing what is remembered of modules.
const (
	mostExecutors = 8
	mostMissing   = 1000
)

func newPool(base executor.Config) *pool {
	return &pool{base: base, byKey: map[string]*shared{}, missing: map[string]bool{}}
}

// get returns the executor of a root ("": the service's own) and of modules
// (none: the service's own), to be given back. Modules that the root is known
// not to have are left out, and so are those named last.
func (p *pool) get(root string, preload []string, without ...string) (*shared, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, executor.ErrClosed
	}
	if root == "" && (len(preload) == 0 || slices.Equal(preload, p.base.Preload)) {
		return p.exactLocked(true, "", nil)
	}
	return p.exactLocked(false, root, slices.DeleteFunc(slices.Clone(preload), func(m string) bool {
		return p.missing[missingKey(root, m)] || slices.Contains(without, m)
	}))
}

// exact returns the service's own executor, or that of exactly this root and these
// modules, to be given back.
func (p *pool) exact(own bool, root string, preload []string) (*shared, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, executor.ErrClosed
	}
	return p.exactLocked(own, root, preload)
}

func (p *pool) exactLocked(own bool, root string, preload []string) (*shared, error) {
	cfg := p.base
	if !own {
		cfg.Template, cfg.Preload = false, preload
	}
	if root != "" {
		cfg.Root, cfg.Python, cfg.Packages, cfg.Venv = root, "", nil, ""
	}
	key := ""
	if !own {
		key = root + "\x00" + strings.Join(cfg.Preload, "\x00")
	}
	if s := p.byKey[key]; s != nil {
		s.users++
		return s, nil
	}
	ex, err := executor.New(cfg)
	if err != nil {
		return nil, err
	}
	s := &shared{ex, key, root, append([]string{}, cfg.Preload...), 1}
	p.byKey[key] = s
	return s, nil
}

func missingKey(root, module string) string { return root + "\x00" + module }

// lacks notes that a root does not have a module.
func (p *pool) lacks(root, module string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.missing) >= mostMissing {
		clear(p.missing)
	}
	p.missing[missingKey(root, module)] = true
}

// forget lets all modules be tried again, as roots may have them by now.
func (p *pool) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.missing)
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

// list closes the pool, and leaves its executors to the caller.
func (p *pool) list() (all []*shared) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, s := range p.byKey {
		all = append(all, s)
	}
	return all
}

// close ends all executors, and with them their cells.
func (p *pool) close() error {
	var first error
	for _, s := range p.list() {
		if err := s.Close(); err != nil && first == nil {
			first = err
		}
	}
	return first
}
