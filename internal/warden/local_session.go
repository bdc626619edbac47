package warden

import (
	"context"
	"sync"
	"time"

	"github.com/cellblock/cellblock/executor"
)

// local is a Session in this process.
type local struct {
	*executor.Session
	engine *Local
	of     *shared // the executor that it came from
	spec   Spec
	memory int64    // reserved
	had    []string // the modules of one that was taken over; nil: the executor's

	close func() error // once

	mu         sync.Mutex
	running    int
	idle       chan struct{} // closed while nothing runs
	executions int
	used       time.Time
	ended      bool
}

func newLocalSession(l *Local, spec Spec, of *shared) *local {
	s := &local{engine: l, of: of, spec: spec, idle: make(chan struct{}), used: time.Now()}
	close(s.idle)
	s.close = sync.OnceValue(s.end)
	return s
}

// Close ends the session; who closes it once more waits for the first.
func (s *local) Close() error { return s.close() }

func (s *local) end() error {
	s.mu.Lock()
	s.ended = true // before what runs is over, or who waits for its result would find none
	s.mu.Unlock()
	var err error
	if s.Session != nil {
		err = s.Session.Close()
	}
	s.engine.results.drop(s)
	s.engine.release(s.memory)
	s.engine.pool.give(s.of)
	return err
}

// Limits implements Session.
func (s *local) Limits() executor.Limits { return s.Config().SessionLimits() }

// Preload implements Session.
func (s *local) Preload() []string {
	if s.had != nil {
		return s.had
	}
	return s.of.preload
}

// Lost implements Session.
func (s *local) Lost() bool { return !s.Alive() }

// Status implements Session.
func (s *local) Status() (Status, error) {
	usage, err := s.Usage()
	s.mu.Lock()
	defer s.mu.Unlock()
	return Status{Usage: usage, Alive: s.Alive(), Running: s.running, Executions: s.executions, Used: s.used}, err
}

// Execute implements REPL.
func (s *local) Execute(ctx context.Context, r executor.Request) (executor.Result, error) {
	s.begin()
	result, err := s.Session.Execute(ctx, r)
	s.finish(result, err)
	return result, err
}

func (s *local) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running == 0 {
		s.idle = make(chan struct{})
	}
	s.running++
}

func (s *local) finish(r executor.Result, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Session.Execution != 0 {
		s.executions = r.Session.Execution
	}
	if (err == nil || r.Session.Execution != 0) && !s.ended {
		s.engine.results.keep(s, r)
	}
	s.used = time.Now()
	if s.running--; s.running == 0 {
		close(s.idle)
	}
}

// Result implements Session.
func (s *local) Result(ctx context.Context) (executor.Result, error) {
	s.mu.Lock()
	idle := s.idle
	s.mu.Unlock()
	select {
	case <-idle:
	case <-ctx.Done():
		return executor.Result{}, ctx.Err()
	}
	s.mu.Lock()
	ended := s.ended
	s.mu.Unlock()
	r, ok := s.engine.results.get(s)
	switch {
	case ended:
		return executor.Result{}, executor.ErrClosed
	case !ok:
		return r, ErrNoResult
	}
	return r, nil
}

// NewContext implements Session.
func (s *local) NewContext(ctx context.Context, o executor.ContextOptions) (REPL, error) {
	if err := checkEnv(o.Env); err != nil {
		return nil, err
	}
	c, err := s.Session.NewContext(ctx, o)
	if err != nil {
		return nil, err
	}
	return c, nil
}
