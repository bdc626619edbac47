package warden

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/internal/handover"
	"github.com/cellblock/cellblock/nsjail"
)

// TakeOver makes sessions of what the warden before this one has handed over. It comes
// before Serve. What cannot be taken over ends, and the log says why; that is never a
// reason not to start.
func (s *Server) TakeOver(ctx context.Context, text []byte, a *handover.Arrived) {
	st, err := readState(text)
	if err != nil {
		s.log.Error("sessions of the warden before are lost", "error", err)
	}
	in := arriving{server: s, a: a, state: st, of: make([]*executor.Arriving, len(st.Executors))}
	var all []sessionState
	for _, text := range st.Sessions {
		var of sessionState
		if err := strictly(text, &of); err != nil {
			s.log.Error("a session of the warden before is lost", "owner", of.Spec.Owner, "session", of.Spec.ID, "error", err)
			continue
		}
		all = append(all, of)
	}
	// In the order in which their last results were kept.
	slices.SortFunc(all, func(a, b sessionState) int { return a.Kept - b.Kept })
	taken := 0
	for _, of := range all {
		if err := in.session(ctx, of); err != nil {
			s.log.Error("a session of the warden before is lost", "owner", of.Spec.Owner, "session", of.Spec.ID, "error", err)
			continue
		}
		taken++
	}
	for _, of := range in.of {
		if of != nil {
			err = errors.Join(err, of.Done())
		}
	}
	a.Close() // with the lifelines of what was not taken
	if swept, err := nsjail.Sweep(s.engine.options.Executor.RuntimeDir); swept > 0 || err != nil {
		s.log.Warn("cells of the warden before have ended", "cells", swept, "error", err)
	}
	s.log.Info("sessions taken over", "sessions", taken, "of", len(st.Sessions))
}

// readState reads what is known and nothing else.
func readState(text []byte) (st state, err error) {
	var version struct{ Version int }
	if err := json.Unmarshal(text, &version); err != nil {
		return state{}, fmt.Errorf("what was handed over cannot be read: %w", err)
	}
	if version.Version != StateVersion {
		return state{}, fmt.Errorf("what was handed over has version %d, and this warden knows %d", version.Version, StateVersion)
	}
	if err := strictly(text, &st); err != nil {
		return state{}, fmt.Errorf("what was handed over cannot be read: %w", err)
	}
	return st, nil
}

// arriving is a takeover under way.
type arriving struct {
	server *Server
	a      *handover.Arrived
	state  state
	of     []*executor.Arriving
}

func (in *arriving) session(ctx context.Context, st sessionState) error {
	if st.Executor < 0 || st.Executor >= len(in.of) || len(st.Contexts) != len(st.Session.Contexts) || st.Handle == "" {
		return errors.New("its state does not fit together")
	}
	engine := in.server.engine
	ex := in.state.Executors[st.Executor]
	of, err := engine.pool.exact(ex.Own, ex.Root, ex.Preload)
	if err != nil {
		return err
	}
	if in.of[st.Executor] == nil {
		in.of[st.Executor] = of.Arrive(in.a, ex.Grounds)
	}
	session, contexts, err := in.of[st.Executor].Session(ctx, st.Session)
	if err != nil {
		engine.pool.give(of)
		return err
	}
	own := newLocalSession(engine, st.Spec, of)
	own.Session, own.memory, own.executions, own.used, own.had = session, st.Memory, st.Executions, st.Used, ex.Preload
	engine.admit(st.Memory)
	if st.Result != nil {
		var last executor.Result
		if err := json.Unmarshal(st.Result, &last); err == nil { // it is written as it is for askers
			engine.results.keep(own, last)
		}
	}
	h := &held{handle: st.Handle, local: own, contexts: map[string]contextOf{}}
	for i, name := range st.Contexts {
		h.contexts[name] = contextOf{contexts[i], in.state.Asker}
	}
	in.server.mu.Lock()
	defer in.server.mu.Unlock()
	in.server.sessions[h.handle] = h
	return nil
}
