package executor

import (
	"context"
	"time"
)

// Limits of one session, by the names and in the units of Config. A field that
// is 0 is the executor's.
type Limits struct {
	Timeout        time.Duration
	CPUTime        time.Duration
	MaxMemoryMB    int
	CPUs           float64
	PIDs           int
	WorkspaceBytes int64
	WorkspaceFiles int64
	MaxOutput      int64
}

func (l Limits) apply(c Config) Config {
	override(&c.Timeout, l.Timeout)
	override(&c.CPUTime, l.CPUTime)
	override(&c.MaxMemoryMB, l.MaxMemoryMB)
	override(&c.CPUs, l.CPUs)
	override(&c.PIDs, l.PIDs)
	override(&c.WorkspaceBytes, l.WorkspaceBytes)
	override(&c.WorkspaceFiles, l.WorkspaceFiles)
	override(&c.MaxOutput, l.MaxOutput)
	return c
}

// SessionLimits are those of sessions that have none of their own.
func (c Config) SessionLimits() Limits {
	c = c.withDefaults()
	return Limits{
		Timeout: c.Timeout, CPUTime: c.CPUTime, MaxMemoryMB: c.MaxMemoryMB, CPUs: c.CPUs, PIDs: c.PIDs,
		WorkspaceBytes: c.WorkspaceBytes, WorkspaceFiles: c.WorkspaceFiles, MaxOutput: c.MaxOutput,
	}
}

func override[T comparable](field *T, value T) {
	var zero T
	if value != zero {
		*field = value
	}
}

// Config is the executor's, with the limits that are the session's own.
func (s *Session) Config() Config { return s.cfg }

// Start builds the session's cell and starts Python in it, if that has not
// happened yet. Without it, the first execution does so. Errors are those of
// Execute.
func (s *Session) Start(ctx context.Context) error {
	if err := s.take(ctx); err != nil {
		return err
	}
	defer s.give()
	_, err := s.ready(ctx, nil)
	return err
}
