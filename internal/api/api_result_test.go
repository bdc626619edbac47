package api

import (
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
