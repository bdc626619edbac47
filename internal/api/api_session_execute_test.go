package api

import (
	"sync"
	"testing"

	"github.com/cellblock/cellblock/executor"
)

func TestSessionExecute(t *testing.T) {
	c := serve(t, Settings{})
	path := c.session(NewSession{Creation: Creation{Limits: Limits{MemoryMB: 64}}})
	for _, row := range []struct {
		body    Execution
		verdict executor.Verdict
		output  string
	}{
		{Execution{Code: "x = 1"}, "ok", ""},
		{Execution{Code: "print(x)"}, "ok", "1\n"},
		{Execution{Code: "while True: pass", Timeout: 0.5}, "timeout", ""},
		{Execution{Code: "print(x)"}, "ok", "1\n"},
		{Execution{Code: "import socket", Validate: true}, "refused", ""},
		{Execution{Code: "bytearray(1<<30)"}, "error", ""},
		{Execution{Code: "1/0", StageName: "one"}, "error", ""},
		{Execution{Code: "print('x' in dir())", FreshNamespace: true}, "ok", "False\n"},
		{Execution{Code: "import os; os._exit(3)"}, "exit", ""},
		{Execution{Code: "print(1)"}, "ok", "1\n"},
	} {
		r := decode[executor.Result](c.ask("POST", path+"/execute", row.body).want(200))
		if r.Verdict != row.verdict || r.Output != row.output {
			t.Errorf("%s: %s %q", row.body.Code, r.Verdict, r.Output)
		}
	}
	c.ask("POST", path+"/execute", Execution{Code: "1", StageName: "../x"}).problem(KindInvalid)
}

// Executions of one session follow each other; more than may wait are told so.
func TestQueue(t *testing.T) {
	c := serve(t, Settings{Queue: 3})
	path := c.session(NewSession{})
	c.run(path, "n = 0")
	var mu sync.Mutex
	statuses := map[int]int{}
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			r := c.ask("POST", path+"/execute", Execution{Code: "import time\nm = n; time.sleep(0.2); n = m + 1"})
			if r.status != 200 {
				r.problem(KindBusy)
			}
			mu.Lock()
			defer mu.Unlock()
			statuses[r.status]++
		})
	}
	all.Wait()
	if statuses[200] < 4 || statuses[200]+statuses[409] != 10 {
		t.Errorf("%v", statuses)
	}
	if r := c.run(path, "print(n)"); r.Output != map[int]string{4: "4\n", 5: "5\n", 6: "6\n", 7: "7\n", 8: "8\n", 9: "9\n", 10: "10\n"}[statuses[200]] {
		t.Errorf("%d ran, and n is %s", statuses[200], r.Output)
	}
}
