package api

import (
	"context"
	"crypto/rand"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/internal/warden"
)

// session is a session of one owner.
type session struct {
	id      string
	owner   *owner
	kind    string // of another protocol, whose state ends with this process
	root    string
	session warden.Session
	memory  int64    // reserved
	asked   []string // modules to preload, of which the root may lack some
	created time.Time

	// Guarded by keeper.mu.
	starting   bool
	running    int // executions under way or waiting
	uses       int // calls that keep it from expiring, executions included
	executions int
	lost       bool
	used       time.Time // last
	ended      bool      // taken out: deleted, expired or drained
}

// owner is who calls: a uid or a token.
type owner struct {
	name string

	// Guarded by keeper.mu.
	sessions   map[string]*session
	gone       map[string]time.Time // expired ids, to be told apart from unknown ones
	memory     int64
	running    int
	reading    int // last results, or waiting for them
	executions int64
	failures   int64
	expired    int64
}

// keeper keeps the sessions of all owners, and admits new ones.
type keeper struct {
	settings Settings
	starting chan struct{} // holds a token for each cell that is being built

	mu       sync.Mutex
	owners   map[string]*owner
	sessions int
	memory   int64
	draining bool
}

func newKeeper(s Settings) *keeper {
	return &keeper{settings: s, starting: make(chan struct{}, s.Starting), owners: map[string]*owner{}}
}

// of returns who name stands for.
func (k *keeper) of(name string) *owner {
	k.mu.Lock()
	defer k.mu.Unlock()
	o := k.owners[name]
	if o == nil {
		o = &owner{name: name, sessions: map[string]*session{}, gone: map[string]time.Time{}}
		k.owners[name] = o
	}
	return o
}

// retryAfter is what a caller is told who met a limit.
const retryAfter = 2 * time.Second

// reserve admits one more session of an owner, under an id that it does not
// have, or says what is used up. An empty id is given a name.
func (k *keeper) reserve(s *session) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	o, quota := s.owner, k.settings.Quota
	if s.id == "" {
		s.id = "s-" + strings.ToLower(rand.Text()[:20])
	}
	switch {
	case k.draining:
		return errDraining()
	case o.sessions[s.id] != nil:
		return problem(KindBusy, "there is a session %q already", s.id)
	case s.memory > quota.MemoryBytes || s.memory > k.settings.MemoryBytes:
		return problem(KindInvalid, "a memory limit of %d bytes is more than one caller may have (%d)", s.memory, min(quota.MemoryBytes, k.settings.MemoryBytes))
	case len(o.sessions) >= quota.Sessions:
		return problem(KindExhausted, "there are %d sessions of this caller, and no more are allowed: end some", quota.Sessions).retry(retryAfter)
	case o.memory+s.memory > quota.MemoryBytes:
		return problem(KindExhausted, "the memory limits of this caller's sessions would be %d bytes together, and %d are allowed", o.memory+s.memory, quota.MemoryBytes).retry(retryAfter)
	case k.sessions >= k.settings.Sessions:
		return problem(KindExhausted, "the service has %d sessions, and no more are allowed", k.settings.Sessions).retry(retryAfter)
	case k.memory+s.memory > k.settings.MemoryBytes:
		return problem(KindExhausted, "the memory that the service may give to sessions is used up").retry(retryAfter)
	}
	now := time.Now()
	s.created, s.used, s.starting = now, now, true
	o.sessions[s.id] = s
	delete(o.gone, s.id)
	o.memory += s.memory
	k.sessions++
	k.memory += s.memory
	return nil
}

// take removes a session from its owner's, so that no further call finds it.
// It says whether the caller is the one to finish it: not when that happened
// before, and not while it is being made, which then ends it itself. What it
// reserved stays so until release.
func (k *keeper) take(s *session) (finish bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.takeLocked(s)
}

func (k *keeper) takeLocked(s *session) (finish bool) {
	if s.ended {
		return false
	}
	s.ended = true
	delete(s.owner.sessions, s.id)
	return !s.starting
}

// started ends the making of a session, and says whether it may be used.
func (k *keeper) started(s *session, err error) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err != nil {
		k.takeLocked(s)
	}
	s.starting = false
	return !s.ended
}

// release gives back what a session had, when nothing is left of it.
func (k *keeper) release(s *session) {
	k.mu.Lock()
	defer k.mu.Unlock()
	s.owner.memory -= s.memory
	k.sessions--
	k.memory -= s.memory
}

// find returns a session of the owner, and holds it until the call is done.
func (k *keeper) find(o *owner, id string) (*session, func(), error) { return k.hold(o, id, true) }

// peek is find for a call that only looks, and does not count as use.
func (k *keeper) peek(o *owner, id string) (*session, func(), error) { return k.hold(o, id, false) }

func (k *keeper) hold(o *owner, id string, use bool) (*session, func(), error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := o.sessions[id]
	switch _, gone := o.gone[id]; {
	case s != nil && s.starting:
		return nil, nil, problem(KindBusy, "the session %q is being made", id).retry(time.Second)
	case s != nil:
		s.uses++
		return s, func() { k.done(s, use) }, nil
	case gone:
		return nil, nil, problem(KindExpired, "the session %q was idle for more than %s and was ended; make it anew", id, k.settings.Idle)
	}
	return nil, nil, problem(KindNotFound, "there is no session %q", shorten(id))
}

// lookup returns a session of the owner, or nil.
func (k *keeper) lookup(o *owner, id string) *session {
	k.mu.Lock()
	defer k.mu.Unlock()
	return o.sessions[id]
}

// forget lets an expired session's id be unknown again.
func (k *keeper) forget(o *owner, id string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(o.gone, id)
}

func (k *keeper) isRunning(s *session) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return s.running > 0
}

func shorten(id string) string {
	if len(id) > 80 {
		return id[:80] + "…"
	}
	return id
}

func (k *keeper) done(s *session, use bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	s.uses--
	if use {
		s.used = time.Now()
	}
}

// enter admits an execution; s may be nil for one that has no session yet.
func (k *keeper) enter(o *owner, s *session) (leave func(), err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.draining:
		return nil, errDraining()
	case o.running >= k.settings.Quota.Executions:
		return nil, problem(KindExhausted, "%d executions of this caller are under way, and no more are allowed", o.running).retry(time.Second)
	case s != nil && s.running > k.settings.Queue:
		return nil, problem(KindBusy, "%d executions of this session wait for their turn already", s.running-1).retry(time.Second)
	}
	o.running++
	if s != nil {
		s.running++
	}
	return func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		o.running--
		if s != nil {
			s.running--
		}
	}, nil
}

// read admits a call for a last result, which may wait long and be large: as many of
// an owner as executions.
func (k *keeper) read(o *owner) (leave func(), err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if o.reading >= k.settings.Quota.Executions {
		return nil, problem(KindExhausted, "%d calls of this caller wait for results, and no more are allowed", o.reading).retry(time.Second)
	}
	o.reading++
	return func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		o.reading--
	}, nil
}

// count notes what came of an execution.
func (k *keeper) count(o *owner, s *session, r *executor.Result) {
	k.mu.Lock()
	defer k.mu.Unlock()
	o.executions++
	if r == nil || !r.Success {
		o.failures++
	}
	if s != nil && r != nil {
		s.executions = r.Session.Execution
		s.lost = s.session.Lost()
	}
}

// slot waits for its turn to build a cell.
func (k *keeper) slot(ctx context.Context) (done func(), err error) {
	select {
	case k.starting <- struct{}{}:
		return func() { <-k.starting }, nil
	default:
	}
	wait := time.NewTimer(k.settings.StartWait)
	defer wait.Stop()
	select {
	case k.starting <- struct{}{}:
		return func() { <-k.starting }, nil
	case <-wait.C:
		return nil, problem(KindExhausted, "%d sessions are being started, and the wait for a turn was too long", cap(k.starting)).retry(retryAfter)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// expire takes out the sessions that were idle for too long, the longest idle
// first, and says when the next one may be.
func (k *keeper) expire(now time.Time) (expired []*session, next time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	next = k.settings.Idle
	for _, o := range k.owners {
		for id, when := range o.gone {
			if now.Sub(when) > rememberGone {
				delete(o.gone, id)
			}
		}
		for _, s := range o.sessions {
			if s.uses > 0 || s.running > 0 || s.starting {
				continue
			}
			if idle := now.Sub(s.used); idle < k.settings.Idle {
				next = min(next, k.settings.Idle-idle)
				continue
			}
			expired = append(expired, s)
		}
	}
	slices.SortFunc(expired, func(a, b *session) int { return a.used.Compare(b.used) })
	for _, s := range expired {
		k.takeLocked(s)
		if len(s.owner.gone) < mostGone {
			s.owner.gone[s.id] = now
		}
		s.owner.expired++
	}
	return expired, next
}

// How long, and of how many sessions of one owner, it is remembered that they
// expired.
const (
	rememberGone = 24 * time.Hour
	mostGone     = 10_000
)

// drain admits nothing more and takes out the sessions that are there, but for
// those that last.
func (k *keeper) drain(lasting bool) []*session {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.draining = true
	var all []*session
	for _, o := range k.owners {
		for _, s := range o.sessions {
			if !lasting || s.kind != "" {
				all = append(all, s)
			}
		}
	}
	return slices.DeleteFunc(all, func(s *session) bool { return !k.takeLocked(s) })
}

func errDraining() error {
	return problem(KindUnavailable, "the service is ending").retry(5 * time.Second)
}
