package api

import (
	"sync"
	"testing"
	"time"
)

// A session that is deleted in the middle of an execution ends it, and the
// caller is told; deleting is done however often it is asked for.
func TestDeleteWhileItRuns(t *testing.T) {
	c := serve(t, Settings{})
	path := c.session(NewSession{ID: "s"})
	done := make(chan *reply, 1)
	ran, result := make(chan *reply, 1), make(chan *reply, 1)
	go func() {
		ran <- c.ask("POST", path+"/execute", Execution{Code: "open('mark', 'w').close()\nwhile True: pass"})
	}()
	c.untilThere(path + "/files/mark")
	go func() { done <- c.ask("POST", path+"/execute", Execution{Code: "1"}) }() // waits for its turn
	go func() { result <- c.ask("GET", path+"/result", nil) }()                  // likewise
	c.untilReading(1)
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() { c.ask("DELETE", path, nil).want(204) })
	}
	both.Wait()
	c.ask("DELETE", path, nil).want(204)
	select {
	case r := <-done:
		if r.status != 410 && r.status != 404 {
			t.Errorf("who waited was told %d: %s", r.status, r.body)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("who waited was told nothing")
	}
	(<-ran).problem(KindLost)
	(<-result).problem(KindLost)
	c.ask("GET", path, nil).problem(KindNotFound)
	if n := decode[Stats](c.ask("GET", "/v1/stats", nil)); n.Sessions != 0 || n.MemoryBytes != 0 {
		t.Errorf("%+v", n)
	}
}

// untilThere returns when something is at a path.
func (c *client) untilThere(path string) {
	c.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); c.ask("GET", path, nil).status != 200; {
		if time.Now().After(deadline) {
			c.t.Fatalf("nothing is at %s", path)
		}
	}
}

// What is not used for long enough ends, and says so.
func TestIdle(t *testing.T) {
	c := serve(t, Settings{Idle: time.Second})
	path := c.session(NewSession{ID: "s"})
	deadline := time.Now().Add(20 * time.Second)
	for {
		r := c.ask("GET", path, nil) // looking is no use
		if r.status == 410 {
			r.problem(KindExpired)
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the session never expired")
		}
		time.Sleep(20 * time.Millisecond)
	}
	c.ask("POST", path+"/execute", Execution{Code: "1"}).problem(KindExpired)
	c.ask("POST", "/v1/execute", StandaloneExecution{SessionID: "s", Execution: Execution{Code: "1"}}).problem(KindExpired)
	c.session(NewSession{ID: "s"}) // anew
	c.ask("GET", path, nil).want(200)
}

// One that is used does not end, however long that takes.
func TestIdleWhileItRuns(t *testing.T) {
	c := serve(t, Settings{Idle: 300 * time.Millisecond})
	path := c.session(NewSession{ID: "s"})
	if r := c.run(path, "import time; time.sleep(1); print(1)"); r.Output != "1\n" {
		t.Errorf("%+v", r)
	}
}
