package api

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/internal/warden"
)

// makeSession admits a session and builds its cell. kind is that of a protocol
// whose state ends with this process, and the session with it.
func (s *Server) makeSession(ctx context.Context, o *owner, id, kind string, c Creation, env map[string]string) (_ *session, err error) {
	limits, err := s.limits(c.Limits)
	if err != nil {
		return nil, err
	}
	preload, err := modules(c.Preload)
	if err != nil {
		return nil, err
	}
	x := &session{id: id, owner: o, kind: kind, root: c.Root, asked: preload}
	x.memory = int64(cmp.Or(limits.MaxMemoryMB, s.settings.Defaults.MaxMemoryMB)) << 20
	if err := s.keeper.reserve(x); err != nil {
		return nil, err
	}
	defer func() {
		if !s.keeper.started(x, err) {
			s.finishSession(x)
			if err == nil {
				err = executor.ErrClosed // deleted while it was made
			}
		}
	}()
	done, err := s.keeper.slot(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	began := time.Now()
	made, err := s.engine.NewSession(ctx, warden.Spec{
		Owner: o.name, ID: x.id, Kind: kind, Created: x.created, Root: c.Root, Preload: preload, Limits: limits, Env: env,
	})
	if err != nil {
		return nil, err
	}
	x.session = made
	s.metrics.starts.Observe(time.Since(began).Seconds())
	return x, nil
}

// modules are the names of modules in one form: "numpy", "numpy as np".
func modules(list []string) ([]string, error) {
	var plain []string
	for _, text := range list {
		if len(text) > 200 {
			return nil, problem(KindInvalid, "preload: %q is no module", shorten(text))
		}
		plain = append(plain, strings.Join(strings.Fields(text), " "))
	}
	return plain, nil
}

// endSession takes a session out, ends its cell, and gives back what it had. It
// returns when nothing is left; a second call returns at once.
func (s *Server) endSession(x *session) error {
	if !s.keeper.take(x) {
		return nil
	}
	return s.finishSession(x)
}

// finishSession is endSession for a session that was taken out already.
func (s *Server) finishSession(x *session) error {
	var err error
	if x.session != nil {
		err = x.session.Close()
	}
	s.keeper.release(x)
	if err != nil {
		s.settings.Log.Error("a cell did not end cleanly", "owner", x.owner.name, "session", x.id, "error", err)
	}
	return err
}

// limits checks what a new session asks for.
func (s *Server) limits(l Limits) (executor.Limits, error) {
	if err := s.checkTimeout(l.Timeout); err != nil {
		return executor.Limits{}, err
	}
	if l.CPUTime > s.settings.MaxTimeout.Seconds() {
		return executor.Limits{}, problem(KindInvalid, "cpu_time: at most %g seconds are allowed", s.settings.MaxTimeout.Seconds())
	}
	mb := l.MemoryMB
	if l.Memory != 0 {
		mb = int(math.Ceil(float64(l.Memory) / (1 << 20)))
	}
	if mb > executor.MaxMemoryMB {
		return executor.Limits{}, problem(KindInvalid, "memory: at most %d MiB can be asked for", executor.MaxMemoryMB)
	}
	usual := s.settings.Defaults
	if most := max(usual.WorkspaceBytes, int64(cmp.Or(mb, usual.MaxMemoryMB))<<20); int64(l.WorkspaceSize) > most {
		return executor.Limits{}, problem(KindInvalid, "workspace_size: at most %d bytes are allowed: those of the session's memory, or of the service's usual workspace", most)
	}
	if l.CPUs > float64(cpus()) {
		return executor.Limits{}, problem(KindInvalid, "cpus: this machine has %d", cpus())
	}
	if l.PIDs > 10_000 || l.WorkspaceFiles > 10_000_000 {
		return executor.Limits{}, problem(KindInvalid, "pids or workspace_files: at most 10,000 and 10,000,000 are allowed")
	}
	if int64(l.MaxOutput) > usual.MaxOutput && int64(l.MaxOutput) > executor.DefaultMaxOutput {
		return executor.Limits{}, problem(KindInvalid, "max_output: at most %d bytes are allowed", max(usual.MaxOutput, executor.DefaultMaxOutput))
	}
	return executor.Limits{
		Timeout: duration(l.Timeout), CPUTime: duration(l.CPUTime), MaxMemoryMB: mb, CPUs: l.CPUs, PIDs: l.PIDs,
		WorkspaceBytes: int64(l.WorkspaceSize), WorkspaceFiles: l.WorkspaceFiles, MaxOutput: int64(l.MaxOutput),
	}, nil
}

func (s *Server) checkTimeout(seconds float64) error {
	if seconds > s.settings.MaxTimeout.Seconds() {
		return problem(KindInvalid, "timeout: at most %g seconds are allowed", s.settings.MaxTimeout.Seconds())
	}
	return nil
}

func duration(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }

// describe is a session for people.
func (s *Server) describe(x *session) SessionInfo {
	limits := x.session.Limits()
	status, _ := x.session.Status() // nothing of a cell that is gone
	usage := status.Usage
	s.keeper.mu.Lock()
	defer s.keeper.mu.Unlock()
	info := SessionInfo{
		ID: x.id, State: StateIdle, Root: x.root, Preload: x.session.Preload(), LeftOut: x.leftOut(),
		Limits: CurrentLimits{
			MemoryBytes: x.memory, CPUs: limits.CPUs, PIDs: limits.PIDs, WorkspaceBytes: limits.WorkspaceBytes, WorkspaceFiles: limits.WorkspaceFiles,
			Timeout: limits.Timeout.Seconds(), CPUTime: limits.CPUTime.Seconds(),
		},
		Created: x.created.UTC(), LastUsed: x.used.UTC(), Executions: x.executions, Waiting: max(x.running-1, 0),
		Usage: SessionUsage{usage.MemoryBytes, usage.Processes, usage.CPU.Seconds()},
	}
	switch {
	case x.starting:
		info.State = StateStarting
	case x.running > 0:
		info.State = StateRunning
	case !status.Alive:
		info.State = StateLost
	}
	if x.running == 0 && x.uses <= 1 { // the call that asks is one
		end := x.used.Add(s.settings.Idle).UTC()
		info.Expires = &end
	}
	return info
}

// leftOut are the modules that were asked for and could not be imported.
func (x *session) leftOut() []string {
	left, has := []string{}, x.session.Preload()
	for _, m := range x.asked {
		if !slices.Contains(has, m) {
			left = append(left, m)
		}
	}
	return left
}

// sessionsOf lists the sessions of an owner, by id.
func (s *Server) sessionsOf(o *owner) []*session {
	s.keeper.mu.Lock()
	defer s.keeper.mu.Unlock()
	var list []*session
	for _, x := range o.sessions {
		if !x.starting {
			list = append(list, x)
		}
	}
	slices.SortFunc(list, func(a, b *session) int {
		if a.id < b.id {
			return -1
		}
		return 1
	})
	return list
}
