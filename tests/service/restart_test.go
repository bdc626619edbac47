package service

import (
	"os"
	"testing"
	"time"
)

// back waits for the service to have noticed that its warden ended, and starts it again,
// as systemd does.
func (x *split) back() {
	x.t.Helper()
	x.cmd.Wait()
	x.http.CloseIdleConnections()
	x.start()
}

// A session, and what is in it, survives a restart of the warden, and another one.
func TestWardenRestarts(t *testing.T) {
	for _, row := range []struct {
		name string
		args []string
	}{{"exec", nil}, {"forked", []string{"--template"}}} {
		t.Run(row.name, func(t *testing.T) {
			x, m := managed(t, row.args)
			x.want(201, "", "POST", "/v1/sessions", `{"id":"s","limits":{"memory":"64M"}}`)
			x.want(200, "", "POST", "/v1/sessions/s/execute", code("x = 1; open('f', 'w').write('kept')"))
			for range 2 {
				m.restart(x, nil)
				x.back()
				if m.keeps() != 0 {
					t.Error("something stays in the store")
				}
				x.want(200, `"execution":`, "GET", "/v1/sessions/s/result", nil)
				x.want(200, "kept", "GET", "/v1/sessions/s/files/f", nil)
				x.want(200, `"memory_bytes":67108864`, "GET", "/v1/sessions/s", nil)
				x.want(200, `"1\n"`, "POST", "/v1/sessions/s/execute", code("print(x)"))
			}
			x.want(200, `"2\n"`, "POST", "/v1/execute", code("print(2)"))
			x.want(204, "", "DELETE", "/v1/sessions/s", nil)
		})
	}
}

// Where the unit is stopped, all ends with what systemd lets go of.
func TestWardenStops(t *testing.T) {
	x, m := managed(t, []string{"--template"})
	x.want(201, "", "POST", "/v1/sessions", `{"id":"s"}`)
	groups := x.groups()
	args := m.args(x.warden)
	x.endWarden()
	x.cmd.Wait()
	x.cmd = nil
	if m.keeps() != 1 {
		t.Fatalf("%d descriptors are stored\n%s", m.keeps(), x.wlog)
	}
	m.drop()
	deadline := time.Now().Add(20 * time.Second)
	for _, g := range groups {
		for {
			procs, err := os.ReadFile(g + "/cgroup.procs")
			if err != nil || len(procs) == 0 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s has the processes %s", g, procs)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	x.warden = m.start(x, args)
	x.start()
	x.want(404, "not-found", "GET", "/v1/sessions/s", nil)
}
