package api

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/cellblock/cellblock/executor"
)

// The last result can be had again, and by who was not there to be told.
func TestLastResult(t *testing.T) {
	c := serve(t, Settings{})
	path := c.session(NewSession{ID: "s"})
	c.ask("GET", path+"/result", nil).problem(KindNotFound)
	c.run(path, "print(1)")
	for range 2 {
		if r := decode[executor.Result](c.ask("GET", path+"/result", nil).want(200)); r.Output != "1\n" || r.Session.Execution != 1 {
			t.Errorf("%+v", r)
		}
	}
	leave := c.started(path, Execution{Code: "print('here', flush=True)\nimport time; time.sleep(0.5); print(2)", KeepRunning: true})
	leave()
	began := time.Now()
	if r := decode[executor.Result](c.ask("GET", path+"/result", nil).want(200)); r.Output != "here\n2\n" || r.Verdict != executor.VerdictOK {
		t.Errorf("after %s: %+v", time.Since(began), r)
	}
	c.ask("GET", "/v1/sessions/other/result", nil).problem(KindNotFound)
}

// As many calls of one owner as executions wait for results, and others are told.
func TestWaitingForResults(t *testing.T) {
	c := serve(t, Settings{Quota: Quota{Sessions: 64, MemoryBytes: 1 << 30, Executions: 2}})
	path := c.session(NewSession{ID: "s"})
	leave := c.started(path, Execution{Code: "print('here', flush=True)\nwhile True: pass"})
	defer leave()
	ctx, cancel := context.WithCancel(t.Context())
	var waiting sync.WaitGroup
	for range 2 {
		waiting.Go(func() {
			r, err := c.http.Do(c.request(ctx, "GET", path+"/result", nil))
			if err == nil {
				r.Body.Close()
			}
		})
	}
	c.untilReading(2)
	c.ask("GET", path+"/result", nil).want(429).problem(KindExhausted)
	cancel()
	waiting.Wait()
	c.untilReading(0)
	leave()
	c.ask("GET", path+"/result", nil).want(200)
}

// untilReading returns when so many calls wait for a result.
func (c *client) untilReading(n int) {
	c.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; runtime.Gosched() {
		c.server.keeper.mu.Lock()
		reading := c.server.keeper.owners["uid:0"].reading
		c.server.keeper.mu.Unlock()
		if reading == n {
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("%d calls wait, and not %d", reading, n)
		}
	}
}
