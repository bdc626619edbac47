package api

import "testing"

func TestInterrupt(t *testing.T) {
	c := serve(t, Settings{})
	path := c.session(NewSession{})
	c.run(path, "n = 7")
	c.ask("POST", path+"/interrupt", nil).want(204) // nothing runs
	leave := c.started(path, Execution{Code: "print('here', flush=True)\nwhile True: pass"})
	defer leave()
	c.ask("POST", path+"/interrupt", nil).want(204)
	if r := c.run(path, "print(n)"); r.Output != "7\n" {
		t.Errorf("%+v", r)
	}
	c.ask("POST", "/v1/sessions/none/interrupt", nil).problem(KindNotFound)
}
