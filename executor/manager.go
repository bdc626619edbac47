package executor

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// Manager keeps sessions by id (REPLManager of the original system).
type Manager struct {
	ex *Executor

	mu       sync.Mutex
	sessions map[string]*Session
}

// ManagerStats lists the sessions that are kept.
type ManagerStats struct {
	ActiveSessions int      `json:"active_sessions"`
	Sessions       []string `json:"sessions"`
}

// GetOrCreate returns the session of that id, or makes it over a folder of the
// host; "" means the session's own below ExecutionBaseDir.
func (m *Manager) GetOrCreate(id, dir string) (*Session, error) {
	if err := (Request{SessionID: id}).check(); err != nil {
		return nil, err
	}
	if id == "" {
		return nil, &InvalidError{"session id", "", "a kept session needs one"}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := m.sessions[id]; s != nil {
		return s, nil
	}
	folder, err := m.ex.folder(id, dir)
	if err != nil {
		return nil, err
	}
	s, err := m.ex.NewSession(context.Background(), SessionOptions{ID: id, Folder: folder})
	if err != nil {
		return nil, err
	}
	m.sessions[id] = s
	return s, nil
}

// CleanupSession ends one session; its folder stays.
func (m *Manager) CleanupSession(id string) error {
	m.mu.Lock()
	s := m.sessions[id]
	delete(m.sessions, id)
	m.mu.Unlock()
	if s == nil {
		return nil
	}
	return s.Close()
}

// CleanupAll ends every session.
func (m *Manager) CleanupAll() error {
	var errs []error
	for _, id := range m.Stats().Sessions {
		errs = append(errs, m.CleanupSession(id))
	}
	return errors.Join(errs...)
}

// Stats lists the sessions.
func (m *Manager) Stats() ManagerStats {
	m.mu.Lock()
	defer m.mu.Unlock()
	st := ManagerStats{ActiveSessions: len(m.sessions), Sessions: []string{}}
	for id := range m.sessions {
		st.Sessions = append(st.Sessions, id)
	}
	slices.Sort(st.Sessions)
	return st
}

// REPL is one persistent Python over a folder (PersistentREPL of the original
// system). It is safe for concurrent use.
type REPL struct {
	session *Session
	timeout time.Duration
}

// NewREPL makes a REPL whose workspace mirrors dir. A timeout of 0 is the
// executor's.
func (e *Executor) NewREPL(dir string, timeout time.Duration) (*REPL, error) {
	folder, err := e.folder("", dir)
	if err != nil {
		return nil, err
	}
	s, err := e.NewSession(context.Background(), SessionOptions{Folder: folder})
	if err != nil {
		return nil, err
	}
	return &REPL{s, timeout}, nil
}

// Start builds the cell and starts Python in it, if that has not happened yet.
func (r *REPL) Start(ctx context.Context) error { return r.session.Start(ctx) }

// Execute runs code in the REPL's namespace.
func (r *REPL) Execute(ctx context.Context, code string) (Result, error) {
	return r.session.ex.count(r.session.Execute(ctx, Request{Code: code, Timeout: r.timeout}))
}

// IsAlive says whether Python runs and has its namespace.
func (r *REPL) IsAlive() bool { return r.session.Alive() }

// Stop ends Python and its cell; the folder stays.
func (r *REPL) Stop() error { return r.session.Close() }
