package mcp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/rootfs"
)

// Local is a Sandbox of an executor of one's own, without a service.
type Local struct {
	ex     *executor.Executor
	inputs Inputs

	mu      sync.Mutex
	session *executor.Session
	closed  bool
}

// Inputs are files and directories of the host that every session has from its
// beginning.
type Inputs struct {
	Files map[string]string // paths on the host, and names in the workspace
	Dirs  []executor.Dir
}

func (i Inputs) none() bool { return len(i.Files) == 0 && len(i.Dirs) == 0 }

// NewLocal makes one. The executor stays the caller's.
func NewLocal(ex *executor.Executor, in Inputs) *Local { return &Local{ex: ex, inputs: in} }

// LocalLimits are those of sessions of these limits.
func LocalLimits(c executor.Limits, maxTimeout time.Duration) Limits {
	return Limits{
		Timeout: c.Timeout, MaxTimeout: max(maxTimeout, c.Timeout), MemoryBytes: int64(c.MaxMemoryMB) << 20,
		WorkspaceBytes: c.WorkspaceBytes, Processes: c.PIDs, UploadBytes: min(mostLine/2, c.WorkspaceBytes),
	}
}

// open is the session. One is made where it is needed, or has inputs to show;
// else it may be nil.
func (l *Local) open(ctx context.Context, needed bool) (*executor.Session, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return nil, executor.ErrClosed
	case l.session != nil, !needed && l.inputs.none():
		return l.session, nil
	}
	s, err := l.ex.NewSession(ctx, executor.SessionOptions{Dirs: l.inputs.Dirs})
	if err != nil {
		return nil, err
	}
	if !l.inputs.none() {
		if _, err = s.Execute(ctx, executor.Request{InputFiles: l.inputs.Files, NoResults: true}); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	l.session = s
	return s, nil
}

// Execute implements Sandbox.
func (l *Local) Execute(ctx context.Context, r executor.Request) (executor.Result, error) {
	s, err := l.open(ctx, true)
	if err != nil {
		return executor.Result{}, err
	}
	return s.Execute(ctx, r)
}

// Files implements Sandbox.
func (l *Local) Files(ctx context.Context) ([]executor.FileInfo, bool, error) {
	s, err := l.open(ctx, false)
	if s == nil {
		return nil, true, err
	}
	return s.Files()
}

// OpenFile implements Sandbox.
func (l *Local) OpenFile(ctx context.Context, path string) (*executor.File, error) {
	s, err := l.open(ctx, false)
	switch {
	case err != nil:
		return nil, err
	case s == nil:
		return nil, fmt.Errorf("cannot open %q: %w", path, fs.ErrNotExist)
	}
	return s.OpenFile(path)
}

// PutFile implements Sandbox.
func (l *Local) PutFile(ctx context.Context, path string, content []byte) (err error) {
	s, err := l.open(ctx, true)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp("", "cellblock-upload-")
	if err != nil {
		return fmt.Errorf("cannot keep the upload: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(content)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("cannot keep the upload: %w", err)
	}
	return s.PutFile(ctx, f.Name(), path)
}

// Validate implements Sandbox.
func (l *Local) Validate(ctx context.Context, code string) (bool, []executor.Issue, error) {
	return l.ex.ValidateImports(ctx, code)
}

// Root implements Sandbox.
func (l *Local) Root(ctx context.Context) (*rootfs.Root, error) { return l.ex.Root(ctx) }

// Discard implements Sandbox.
func (l *Local) Discard() error { return l.drop(false) }

// Close implements Sandbox.
func (l *Local) Close() error { return l.drop(true) }

func (l *Local) drop(forGood bool) error {
	l.mu.Lock()
	s := l.session
	l.session, l.closed = nil, l.closed || forGood
	l.mu.Unlock()
	if s == nil {
		return nil
	}
	return s.Close()
}
