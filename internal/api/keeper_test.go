package api

import (
	"strings"
	"sync"
	"testing"
	"time"
)

// Who meets a bound is told so at once, with when to try again, and nobody
// else's session is touched.
func TestQuotas(t *testing.T) {
	loaded, secrets := tokens(t, "a", "b")
	c := serve(t, Settings{
		Tokens: loaded, Sessions: 5, MemoryBytes: 640 << 20, Quota: Quota{Sessions: 3, MemoryBytes: 512 << 20, Executions: 2},
	})
	_, as := c.tcp()
	a, b := as(secrets[0]), as(secrets[1])
	small := Creation{Limits: Limits{MemoryMB: 64}}
	exhausted := func(r *reply, part string) {
		t.Helper()
		r.want(429)
		if p := r.problem(KindExhausted); !strings.Contains(p.Detail, part) || r.header.Get("Retry-After") == "" {
			t.Errorf("%s; Retry-After %q", p.Detail, r.header.Get("Retry-After"))
		}
	}
	for range 3 {
		a.session(NewSession{Creation: small})
	}
	exhausted(a.ask("POST", "/v1/sessions", NewSession{Creation: small}), "3 sessions of this caller")
	exhausted(a.ask("POST", "/v1/execute", StandaloneExecution{Creation: small, Execution: Execution{Code: "1"}}), "3 sessions of this caller")
	large := b.session(NewSession{Creation: Creation{Limits: Limits{MemoryMB: 448}}})
	exhausted(b.ask("POST", "/v1/sessions", NewSession{Creation: Creation{Limits: Limits{MemoryMB: 128}}}), "together")
	exhausted(b.ask("POST", "/v1/sessions", NewSession{Creation: small}), "used up")
	b.ask("POST", "/v1/sessions", NewSession{Creation: Creation{Limits: Limits{MemoryMB: 513}}}).problem(KindInvalid)
	for _, mb := range []int{1 << 43, 1 << 44, 1<<44 + 64} { // in bytes: negative, 0 and 64 MiB
		b.ask("POST", "/v1/sessions", NewSession{Creation: Creation{Limits: Limits{MemoryMB: mb}}}).problem(KindInvalid)
	}
	b.ask("DELETE", large, nil).want(204)
	b.session(NewSession{Creation: small}) // there is room again
	b.session(NewSession{ID: "last", Creation: small})
	exhausted(b.ask("POST", "/v1/sessions", NewSession{Creation: small}), "5 sessions")

	// Two executions of one caller at once, and the third is told.
	last := "/v1/sessions/last"
	leave := b.started(last, Execution{Code: "print('here', flush=True)\nwhile True: pass"})
	defer leave()
	leaveToo := b.started(b.firstOther(last), Execution{Code: "print('here', flush=True)\nwhile True: pass"})
	defer leaveToo()
	exhausted(b.ask("POST", last+"/execute", Execution{Code: "1"}), "under way")
	a.ask("POST", "/v1/execute", StandaloneExecution{SessionID: "x", Creation: small}).problem(KindExhausted)
	if s := decode[Stats](b.ask("GET", "/v1/stats", nil)); s.Sessions != 2 || s.Running != 2 || s.MemoryBytes != 128<<20 {
		t.Errorf("%+v", s)
	}
}

func (c *client) firstOther(path string) string {
	c.t.Helper()
	for _, s := range decode[SessionList](c.ask("GET", "/v1/sessions", nil)).Sessions {
		if p := "/v1/sessions/" + s.ID; p != path {
			return p
		}
	}
	c.t.Fatal("there is no other session")
	return ""
}

// Many that start at once wait for their turn, for so long.
func TestStarting(t *testing.T) {
	c := serve(t, Settings{Starting: 1, StartWait: time.Millisecond})
	var mu sync.Mutex
	statuses := map[int]int{}
	var all sync.WaitGroup
	for range 12 {
		all.Go(func() {
			r := c.ask("POST", "/v1/sessions", NewSession{})
			if r.status != 201 {
				r.problem(KindExhausted)
			}
			mu.Lock()
			defer mu.Unlock()
			statuses[r.status]++
		})
	}
	all.Wait()
	if statuses[201] == 0 || statuses[201]+statuses[429] != 12 {
		t.Errorf("%v", statuses)
	}
	if s := decode[Stats](c.ask("GET", "/v1/stats", nil)); s.Sessions != statuses[201] {
		t.Errorf("%d were made, and there are %d", statuses[201], s.Sessions)
	}
}

// A session that is deleted while it is made is gone.
func TestDeleteWhileItStarts(t *testing.T) {
	c := serve(t, Settings{})
	var all sync.WaitGroup
	for range 5 {
		all.Go(func() {
			if r := c.ask("POST", "/v1/sessions", NewSession{ID: "s"}); r.status != 201 && r.status != 410 && r.status != 409 {
				t.Errorf("%d %s", r.status, r.body)
			}
		})
		all.Go(func() { c.ask("DELETE", "/v1/sessions/s", nil).want(204) })
	}
	all.Wait()
	c.ask("DELETE", "/v1/sessions/s", nil).want(204)
	if s := decode[Stats](c.ask("GET", "/v1/stats", nil)); s.Sessions != 0 {
		t.Errorf("%+v", s)
	}
}

// Nobody's clock can end a session: times are compared by the monotonic clock,
// which a step of the other leaves alone.
func TestClockIsMonotonic(t *testing.T) {
	k := newKeeper(Settings{Idle: time.Hour}.withDefaults())
	s := &session{owner: k.of("a"), id: "s"}
	if err := k.reserve(s); err != nil {
		t.Fatal(err)
	}
	k.started(s, nil)
	if !strings.Contains(s.used.String(), " m=") {
		t.Errorf("the time of the last use has no monotonic reading: %s", s.used)
	}
	if gone, next := k.expire(time.Now()); len(gone) != 0 || next > time.Hour || next < 59*time.Minute {
		t.Errorf("%v, next in %s", gone, next)
	}
	if gone, _ := k.expire(s.used.Add(time.Hour)); len(gone) != 1 {
		t.Errorf("%v", gone)
	}
}

// The longest idle go first.
func TestExpiryOrder(t *testing.T) {
	k := newKeeper(Settings{Idle: time.Minute}.withDefaults())
	now := time.Now()
	for id, idle := range map[string]time.Duration{"b": 2 * time.Minute, "a": 3 * time.Minute, "c": 90 * time.Second, "d": time.Second} {
		s := &session{owner: k.of("o"), id: id}
		if err := k.reserve(s); err != nil {
			t.Fatal(err)
		}
		k.started(s, nil)
		s.used = now.Add(-idle)
	}
	gone, next := k.expire(now)
	order := ""
	for _, s := range gone {
		order += s.id
	}
	if order != "abc" || next != 59*time.Second {
		t.Errorf("%q, next in %s", order, next)
	}
}
