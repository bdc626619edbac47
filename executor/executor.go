package executor

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/cellblock/cellblock/internal/template"
	"github.com/cellblock/cellblock/nsjail"
	"github.com/cellblock/cellblock/validator"
)

// Executor runs code in sessions. It is safe for concurrent use and ends all
// its sessions with Close.
type Executor struct {
	cfg     Config
	without []nsjail.Layer
	preload []template.Module
	grounds grounds
	parser  *validator.Resident
	checker *validator.Validator
	named   *Manager

	mu       sync.Mutex
	sessions map[*Session]bool
	stats    Stats
	closed   bool
}

// New checks cfg, removes what executors that no longer live left behind, and
// returns an Executor. It builds no cell.
func New(cfg Config) (*Executor, error) {
	cfg = cfg.withDefaults()
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	without, err := nsjail.ParseLayers(cfg.Without)
	if err != nil {
		return nil, err
	}
	preload, err := template.Parse(cfg.Preload)
	if err != nil {
		return nil, &InvalidError{"preload", strings.Join(cfg.Preload, ","), err.Error()}
	}
	// What cannot be swept is in nobody's way: new cells take other numbers,
	// and the next sweep tries again.
	_, _ = nsjail.Sweep(cfg.RuntimeDir)
	e := &Executor{cfg: cfg, without: without, preload: preload, sessions: map[*Session]bool{}}
	e.parser = validator.NewResident(e.startParser)
	e.checker = validator.New(e.parser)
	e.named = &Manager{ex: e, sessions: map[string]*Session{}}
	return e, nil
}

// Check says what New would object to, and changes nothing on the host.
func (c Config) Check() error {
	if _, err := nsjail.ParseLayers(c.Without); err != nil {
		return &InvalidError{"layer", strings.Join(c.Without, ","), err.Error()}
	}
	return c.withDefaults().check()
}

// check is what a Config must keep to.
func (c Config) check() error {
	bad := func(what string, got any, why string) error {
		return &InvalidError{what, fmt.Sprint(got), why}
	}
	switch {
	case c.Timeout < 0:
		return bad("timeout", c.Timeout, "it must not be negative")
	case c.CPUTime < 0:
		return bad("CPU time", c.CPUTime, "it must not be negative")
	case c.MaxMemoryMB < MinMemoryMB:
		return bad("memory limit", fmt.Sprintf("%d MB", c.MaxMemoryMB), fmt.Sprintf("Python needs at least %d MB", MinMemoryMB))
	case c.MaxMemoryMB > MaxMemoryMB:
		return bad("memory limit", fmt.Sprintf("%d MB", c.MaxMemoryMB), fmt.Sprintf("it must be at most %d MB", MaxMemoryMB))
	case !(c.CPUs >= 0.01):
		return bad("CPU quota", c.CPUs, "it must be at least 0.01")
	case c.CPUWeight < 0 || c.CPUWeight > 10000:
		return bad("CPU weight", c.CPUWeight, "it must be from 1 to 10000")
	case c.PIDs < MinPIDs:
		return bad("process limit", c.PIDs, fmt.Sprintf("a cell needs at least %d while it is built", MinPIDs))
	case c.WorkspaceBytes < 64<<10:
		return bad("workspace size", c.WorkspaceBytes, "it must be at least 64 KiB")
	case c.WorkspaceFiles < 16:
		return bad("workspace file limit", c.WorkspaceFiles, "it must be at least 16")
	}
	return checkEnv(c.Env)
}

// The smallest limits with which a cell can be built and Python starts.
const (
	MinMemoryMB = 32
	MinPIDs     = 8
)

// MaxMemoryMB is the largest memory limit: a pebibyte. Its bytes, and the sum of
// those of many sessions, are far from what an integer holds.
const MaxMemoryMB = 1 << 30

// Check says what NewSession would object to in limits of a session's own.
func (l Limits) Check(e *Executor) error { return l.apply(e.cfg).check() }

// Config returns the configuration with its defaults filled in.
func (e *Executor) Config() Config { return e.cfg }

// Execute runs one request. With a session id its variables and files live on
// (see Config.OneShot); without one its cell is gone afterwards and nothing is
// left on the host. Errors are those of Session.Execute.
func (e *Executor) Execute(ctx context.Context, r Request) (Result, error) {
	if err := r.check(); err != nil {
		return Result{}, err
	}
	if r.SessionID != "" && !e.cfg.OneShot {
		s, err := e.named.GetOrCreate(r.SessionID, "")
		if err != nil {
			return Result{}, err
		}
		return e.count(s.Execute(ctx, r))
	}
	o := SessionOptions{ID: r.SessionID, Dirs: r.Dirs}
	if r.SessionID != "" {
		o.Folder = e.cfg.GetExecutionDir(r.SessionID)
	}
	r.Dirs, r.Finish = nil, true
	s, err := e.NewSession(ctx, o)
	if err != nil {
		return Result{}, err
	}
	result, err := e.count(s.Execute(ctx, r))
	if cerr := s.Close(); err == nil && cerr != nil {
		err = fmt.Errorf("cannot end the cell: %w", cerr)
	}
	return result, err
}

// count keeps the figures of Stats, and applies what is an option of the
// whole executor.
func (e *Executor) count(r Result, err error) (Result, error) {
	if e.cfg.DetectErrorsInOutput && err == nil {
		detectErrors(&r)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stats.Executions++
	if err != nil || !r.Success {
		e.stats.Failures++
	}
	return r, err
}

// adopt notes a session, to be ended with the executor.
func (e *Executor) adopt(s *Session) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return ErrClosed
	}
	e.sessions[s] = true
	return nil
}

func (e *Executor) drop(s *Session) {
	e.mu.Lock()
	delete(e.sessions, s)
	e.mu.Unlock()
}

// CleanupSession ends the session's REPL and cell and forgets what was cached
// of it. Its folder stays. An id that is not known is no error.
func (e *Executor) CleanupSession(id string) error { return e.named.CleanupSession(id) }

// ValidateFileType says whether the file's ending is one of
// SupportedFileTypes.
func (e *Executor) ValidateFileType(path string) bool { return e.cfg.IsFileTypeSupported(path) }

// Stats counts what an executor did.
type Stats struct {
	Config            Config       `json:"config"`
	FileCacheSessions int          `json:"file_cache_sessions"` // sessions that remember input files
	REPLStats         ManagerStats `json:"repl_stats"`
	Executions        int64        `json:"executions"`
	Failures          int64        `json:"failures"`
}

// Stats returns the figures so far.
func (e *Executor) Stats() Stats {
	repls := e.named.Stats()
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.stats
	s.Config, s.REPLStats, s.FileCacheSessions = e.cfg, repls, repls.ActiveSessions
	return s
}

// Manager is the keeper of the sessions that Execute names.
func (e *Executor) Manager() *Manager { return e.named }

// Close ends every session. It is safe to call again.
func (e *Executor) Close() error {
	e.mu.Lock()
	e.closed = true
	var open []*Session
	for s := range e.sessions {
		open = append(open, s)
	}
	e.mu.Unlock()
	var wg sync.WaitGroup
	errs := make([]error, len(open))
	for i, s := range open {
		wg.Go(func() { errs[i] = s.Close() })
	}
	e.parser.Close()
	wg.Wait()
	errs = append(errs, e.closeGrounds())
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// folder is where a session's files are on the host, as an absolute path.
func (e *Executor) folder(id, dir string) (string, error) {
	if dir == "" {
		dir = e.cfg.GetExecutionDir(id)
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if st, err := os.Lstat(abs); err == nil && !st.IsDir() {
		return "", &InvalidError{"session folder", dir, "it is not a directory"}
	}
	return abs, nil
}
