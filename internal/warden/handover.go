package warden

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/internal/handover"
)

// ErrRestarting says that the warden hands its sessions over to the next one.
var ErrRestarting = errors.New("the warden restarts: it is back in a moment, and sessions with it; what ran was interrupted, and its result can be had then")

// stateVersion is the number of the list of fields that a warden hands over. One that
// gets another ends the sessions.
const stateVersion = 1

// state is what a warden hands over. Its reader takes these fields and no others.
type state struct {
	Version   int
	Asker     string // the process that the contexts are of
	Executors []executorState
	Sessions  []sessionState
}

type executorState struct {
	Own     bool // the service's own
	Root    string
	Preload []string
	Grounds []executor.GroundState
}

type sessionState struct {
	Handle     string
	Executor   int
	Spec       Spec
	Memory     int64 // reserved
	Executions int
	Used       time.Time
	Session    executor.SessionState
	Contexts   []string         // their names, in the order of the states
	Result     *executor.Result // the last; nil: none is kept
	Kept       int              // of results, the oldest is the first
}

// freezeTime bounds what is done once nothing runs any more, and the end of what was
// interrupted.
const freezeTime = 10 * time.Second

// HandOverTime is the most that HandOver takes beyond the patience that it is given.
const HandOverTime = 3 * freezeTime

// HandOver puts all sessions into a box for the process that comes after this one, which
// then only has to end. Calls are refused from the first moment on; those under way, and
// what runs, have patience to end, and are interrupted after it: results are kept. A
// session that cannot be handed over ends. Where none is left the box is nil.
//
// With an error nothing is handed over. Then, and where the box comes to nothing, undo
// is called, and Close after it.
func (s *Server) HandOver(l *net.UnixListener, patience time.Duration) (box *os.File, undo func(), err error) {
	s.leave(l, patience)
	ctx, cancel := context.WithTimeout(context.Background(), freezeTime)
	defer cancel()
	var load handover.Load
	defer load.Close()
	out := leaving{server: s, load: &load, of: map[*shared]*executor.Leaving{}}
	s.mu.Lock()
	out.state.Asker = s.asker
	s.mu.Unlock()
	for _, h := range s.all() {
		if err := out.session(ctx, h); err != nil {
			s.log.Warn("a session ends with this warden", "owner", h.spec.Owner, "session", h.spec.ID, "error", errors.Join(err, h.Close()))
			s.drop(h)
		}
	}
	if len(out.state.Sessions) == 0 {
		return nil, out.undo, nil
	}
	if err := out.executors(ctx); err != nil {
		return nil, out.undo, err
	}
	text, err := json.Marshal(out.state)
	if err != nil {
		return nil, out.undo, fmt.Errorf("cannot write down what is handed over: %w", err)
	}
	box, err = handover.Pack(text, &load)
	return box, out.undo, err
}

// leave refuses calls, and waits until none is under way.
func (s *Server) leave(l *net.UnixListener, patience time.Duration) {
	s.mu.Lock()
	s.leaving = true
	quiet := make(chan struct{})
	if s.quiet = quiet; s.under == 0 {
		close(quiet)
	}
	for p := range s.waiting {
		p.cancel()
	}
	s.mu.Unlock()
	l.Close() // who connects waits for the next warden
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-quiet:
	case <-late.C:
	}
	s.end()
	late.Reset(freezeTime)
	select {
	case <-quiet:
	case <-late.C:
	}
}

// enter counts a call; false: it is refused.
func (s *Server) enter(p *pending) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leaving {
		return false
	}
	s.under++
	if methods[p.Method].waits {
		s.waiting[p] = true
	}
	return true
}

func (s *Server) exit(p *pending) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.waiting, p)
	if s.under--; s.under == 0 && s.leaving {
		close(s.quiet)
	}
}

// told is the error of a call, which this server may have cut short.
func (s *Server) told(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leaving && errors.Is(err, context.Canceled) {
		return ErrRestarting
	}
	return err
}

func (s *Server) all() (list []*held) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.sessions {
		list = append(list, h)
	}
	return list
}

func (s *Server) drop(h *held) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, h.handle)
}

// leaving is a handover under way.
type leaving struct {
	server *Server
	load   *handover.Load
	state  state
	of     map[*shared]*executor.Leaving
	order  []*shared // of state.Executors
}

func (l *leaving) session(ctx context.Context, h *held) error {
	out := l.of[h.of]
	if out == nil {
		out = h.of.Leave(l.load)
	}
	st := sessionState{Handle: h.handle, Spec: h.spec, Memory: h.memory}
	var contexts []*executor.Context
	h.mu.Lock()
	for name, c := range h.contexts {
		st.Contexts = append(st.Contexts, name)
		contexts = append(contexts, c.REPL.(*executor.Context))
	}
	h.mu.Unlock()
	var err error
	if st.Session, err = out.Session(ctx, h.Session, contexts); err != nil {
		return err
	}
	h.local.mu.Lock()
	st.Executions, st.Used = h.executions, h.used
	h.local.mu.Unlock()
	st.Result, st.Kept = l.server.engine.results.at(h.local)
	if l.of[h.of] == nil {
		l.of[h.of], l.order = out, append(l.order, h.of)
	}
	for i, of := range l.order {
		if of == h.of {
			st.Executor = i
		}
	}
	l.state.Version, l.state.Sessions = stateVersion, append(l.state.Sessions, st)
	return nil
}

// executors hands over what the sessions stand on, and ends all else.
func (l *leaving) executors(ctx context.Context) error {
	for _, of := range l.order {
		grounds, err := l.of[of].Grounds(ctx)
		if err != nil {
			return err
		}
		l.state.Executors = append(l.state.Executors, executorState{Own: of.key == "", Root: of.root, Preload: of.preload, Grounds: grounds})
	}
	for _, of := range l.server.engine.pool.list() {
		if l.of[of] != nil {
			continue
		}
		if err := of.Close(); err != nil {
			return err
		}
	}
	return nil
}

func (l *leaving) undo() {
	for _, out := range l.of {
		out.Undo()
	}
}
