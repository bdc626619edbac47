package warden

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"time"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/internal/handover"
)

// ErrRestarting says that the warden hands its sessions over to the next one.
var ErrRestarting = errors.New("the warden restarts: it is back in a moment, and sessions with it; what ran was interrupted, and its result can be had then")

// StateVersion is the number of the list of fields that a warden hands over. One that
// gets another ends the sessions.
const StateVersion = 1

// state is what a warden hands over. Its reader takes these fields and no others.
type state struct {
	Version   int
	Asker     string // the process that the contexts are of
	Executors []executorState
	Sessions  []json.RawMessage // of sessionState: one that cannot be read is lost alone
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
	Contexts   []string        // their names, in the order of the states
	Result     json.RawMessage `json:",omitempty"` // an executor.Result, the last; none: none is kept
	Kept       int             // of results, the oldest is the first
}

// What is written down is bounded, in bytes. What is large makes room first: nobody loses
// his by what others have in their environments, or print.
const (
	mostStates  = 64 << 20
	mostResults = 48 << 20
)

// freezeTime bounds what is done once nothing runs any more, and the end of what was
// interrupted.
const freezeTime = 10 * time.Second

// turnTime is what one session may take of it: nothing should run there any more.
const turnTime = time.Second

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
	all := s.all()
	// Those in which something goes on regardless come last.
	slices.SortFunc(all, func(a, b *held) int { return a.isRunning() - b.isRunning() })
	var load handover.Load
	defer load.Close()
	out := leaving{server: s, load: &load, of: map[*shared]*executor.Leaving{}}
	for _, h := range all {
		if err := out.session(ctx, h); err != nil {
			s.log.Warn("a session ends with this warden", "owner", h.spec.Owner, "session", h.spec.ID, "error", errors.Join(err, h.Close()))
			s.drop(h)
		}
	}
	text, err := out.text(ctx)
	if err != nil || text == nil {
		return nil, out.undo, err
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
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-quiet:
	case <-late.C:
	}
	s.end()
	l.Close() // who connects from now on waits for the next warden
	s.mu.Lock()
	for c := range s.conns {
		c.hurry(time.Now().Add(freezeTime / 2)) // code waits for who reads what it printed
	}
	s.mu.Unlock()
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

// isRunning is how many executions are under way.
func (h *held) isRunning() int {
	h.local.mu.Lock()
	defer h.local.mu.Unlock()
	return h.running
}

// leaving is a handover under way.
type leaving struct {
	server   *Server
	load     *handover.Load
	sessions []*leavingSession
	of       map[*shared]*executor.Leaving
	order    []*shared // of state.Executors
}

type leavingSession struct {
	*held
	state  sessionState
	result *executor.Result
	text   []byte // of the state
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
	ctx, cancel := context.WithTimeout(ctx, turnTime)
	defer cancel()
	var err error
	before := l.load.Len()
	if st.Session, err = out.Session(ctx, h.Session, contexts); err != nil {
		l.load.Back(before)
		return err
	}
	h.local.mu.Lock()
	st.Executions, st.Used = h.executions, h.used
	h.local.mu.Unlock()
	x := &leavingSession{held: h}
	x.result, st.Kept = l.server.engine.results.at(h.local)
	if l.of[h.of] == nil {
		l.of[h.of], l.order = out, append(l.order, h.of)
	}
	for i, of := range l.order {
		if of == h.of {
			st.Executor = i
		}
	}
	x.state = st
	l.sessions = append(l.sessions, x)
	return nil
}

// text writes down the state, and hands over what the sessions stand on, whatever else
// there is having ended; nil without a session.
func (l *leaving) text(ctx context.Context) ([]byte, error) {
	if err := l.fit(); err != nil {
		return nil, err
	}
	if len(l.sessions) == 0 {
		return nil, nil
	}
	l.server.mu.Lock()
	st := state{Version: StateVersion, Asker: l.server.asker}
	l.server.mu.Unlock()
	var err error
	if st.Executors, err = l.executors(ctx); err != nil {
		return nil, err
	}
	for _, x := range l.sessions {
		st.Sessions = append(st.Sessions, x.text)
	}
	text, err := json.Marshal(st)
	if err != nil {
		return nil, fmt.Errorf("cannot write down what is handed over: %w", err)
	}
	return text, nil
}

// fit writes down the sessions. One for which there is no room ends; a result for which
// there is none is not kept.
func (l *leaving) fit() error {
	write := func(x *leavingSession) (err error) {
		if x.text, err = json.Marshal(x.state); err != nil {
			return fmt.Errorf("cannot write down a session: %w", err)
		}
		return nil
	}
	for _, x := range l.sessions {
		if err := write(x); err != nil {
			return err
		}
	}
	slices.SortFunc(l.sessions, func(a, b *leavingSession) int { return len(a.text) - len(b.text) })
	size := 0
	l.sessions = slices.DeleteFunc(l.sessions, func(x *leavingSession) bool {
		if size += len(x.text); size <= mostStates {
			return false
		}
		l.of[x.of].Drop(x.Session)
		l.server.log.Warn("a session ends with this warden: what is to be written down of it is too much", "owner", x.spec.Owner, "session", x.spec.ID, "bytes", len(x.text), "error", x.Close())
		l.server.drop(x.held)
		return true
	})
	results := slices.DeleteFunc(slices.Clone(l.sessions), func(x *leavingSession) bool { return x.result == nil })
	slices.SortFunc(results, func(a, b *leavingSession) int { return sizeOf(*a.result) - sizeOf(*b.result) })
	size = 0
	for _, x := range results {
		text, err := json.Marshal(x.result)
		if err != nil {
			return fmt.Errorf("cannot write down a result: %w", err)
		}
		if size += len(text); size > mostResults {
			break
		}
		x.state.Result = text
		if err := write(x); err != nil {
			return err
		}
	}
	return nil
}

// executors hands over what the sessions stand on, and ends all else.
func (l *leaving) executors(ctx context.Context) (states []executorState, err error) {
	for _, of := range l.order {
		grounds, err := l.of[of].Grounds(ctx)
		if err != nil {
			return nil, err
		}
		states = append(states, executorState{Own: of.key == "", Root: of.root, Preload: of.preload, Grounds: grounds})
	}
	for _, of := range l.server.engine.pool.list() {
		if l.of[of] != nil {
			continue
		}
		if err := of.Close(); err != nil {
			return nil, err
		}
	}
	return states, nil
}

func (l *leaving) undo() {
	for _, out := range l.of {
		out.Undo()
	}
}
