package service

import (
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// A session, and what is in it, survives a restart of the warden, and another one; so
// does the process that speaks HTTP.
func TestWardenRestarts(t *testing.T) {
	for _, row := range []struct {
		name string
		args []string
	}{{"exec", nil}, {"forked", []string{"--template"}}} {
		t.Run(row.name, func(t *testing.T) {
			x, m := managed(t, row.args)
			x.want(201, "", "POST", "/v1/sessions", `{"id":"s","limits":{"memory":"64M","timeout":7}}`)
			x.want(200, "", "POST", "/v1/sessions/s/execute", code("x = 1; open('f', 'w').write('kept'); print('said')"))
			for i := range 2 {
				m.restart(x, nil)
				if m.keeps() != 0 {
					t.Error("something stays in the store")
				}
				x.want(200, []string{`"said\n"`, `"new 1\n"`}[i], "GET", "/v1/sessions/s/result", nil)
				x.want(200, "kept", "GET", "/v1/sessions/s/files/f", nil)
				x.want(200, `"memory_bytes":67108864`, "GET", "/v1/sessions/s", nil)
				x.want(200, `"timeout":7`, "GET", "/v1/sessions/s", nil)
				x.want(200, `"1\n"`, "POST", "/v1/sessions/s/execute", code("print(x)"))
				x.want(200, `"lost":false`, "POST", "/v1/sessions/s/execute", code("print(x)"))
				x.want(204, "", "PUT", "/v1/sessions/s/files/g", "new")
				x.want(200, `"new 1\n"`, "POST", "/v1/sessions/s/execute", code("print(open('g').read(), x)"))
			}
			x.want(200, `"2\n"`, "POST", "/v1/execute", code("print(2)"))
			if err := x.cmd.Process.Signal(syscall.Signal(0)); err != nil {
				t.Errorf("the service has ended: %v\n%s", err, x.log)
			}
			x.want(204, "", "DELETE", "/v1/sessions/s", nil)
		})
	}
}

// What was taken over is held to the same as before: time, memory, processes.
func TestLimitsAfterARestart(t *testing.T) {
	x, m := managed(t, []string{"--template"})
	x.want(201, "", "POST", "/v1/sessions", `{"id":"s","limits":{"memory":"64M","pids":16}}`)
	x.want(200, "", "POST", "/v1/sessions/s/execute", code("x = 1"))
	m.restart(x, nil)
	for _, row := range []struct{ code, want string }{
		{`{"code":"while True: pass","timeout":0.5}`, `"verdict":"timeout"`},
		{`{"code":"bytearray(1<<30)"}`, "MemoryError"},
		{`{"code":"import os, time\nfor i in range(32):\n  if os.fork() == 0: time.sleep(5); os._exit(0)"}`, "BlockingIOError"},
		{`{"code":"print(x)"}`, `"1\n"`},
		{`{"code":"import mmap\nm = mmap.mmap(-1, 1 << 28)\nfor i in range(0, 1 << 28, 4096): m[i] = 1"}`, `"verdict":"out-of-memory"`},
		{`{"code":"print('x' in globals())"}`, `"False\n"`},
		{`{"code":"import os; os._exit(3)"}`, `"verdict":"exit"`},
		{`{"code":"print(7)"}`, `"7\n"`},
	} {
		x.want(200, row.want, "POST", "/v1/sessions/s/execute", row.code)
	}
	x.want(204, "", "DELETE", "/v1/sessions/s", nil)
}

// What runs has the time that is set for the end of a service; then it is interrupted,
// and its result is kept.
func TestWhatRunsWhileTheWardenRestarts(t *testing.T) {
	x, m := managed(t, []string{"--drain", "1s"})
	for _, id := range []string{"short", "long", "deaf"} {
		x.want(201, "", "POST", "/v1/sessions", fmt.Sprintf(`{"id":%q,"limits":{"memory":"64M"}}`, id))
	}
	told := map[string]chan string{"short": make(chan string, 1), "long": make(chan string, 1)}
	for id, seconds := range map[string]float64{"short": 0.5, "long": 60} {
		go func() {
			status, text := x.ask("POST", "/v1/sessions/"+id+"/execute", code(fmt.Sprintf("y = 5; print('begun', flush=True); open('mark', 'w').close()\nimport time; time.sleep(%g); print('whole')", seconds)))
			told[id] <- fmt.Sprint(status, " ", text)
		}()
		x.until(200, "mark", "GET", "/v1/sessions/"+id+"/files")
	}
	deaf := make(chan string, 1)
	go func() {
		status, text := x.ask("POST", "/v1/sessions/deaf/execute", code("import time\nopen('mark', 'w').close()\nwhile True:\n  try: time.sleep(60)\n  except KeyboardInterrupt: print('no', flush=True)"))
		deaf <- fmt.Sprint(status, " ", text)
	}()
	x.until(200, "mark", "GET", "/v1/sessions/deaf/files")
	m.restart(x, nil)
	if text := <-deaf; !strings.HasPrefix(text, "503 ") || !strings.Contains(text, "restart") {
		t.Errorf("what did not want to end: %.500s", text)
	}
	x.want(200, `no\n`, "GET", "/v1/sessions/deaf/result", nil)
	x.want(200, `"state":"lost"`, "GET", "/v1/sessions/deaf", nil)
	x.want(200, `"7\n"`, "POST", "/v1/sessions/deaf/execute", code("print(7)"))
	x.want(204, "", "DELETE", "/v1/sessions/deaf", nil)
	if text := <-told["short"]; !strings.HasPrefix(text, "200 ") || !strings.Contains(text, `begun\nwhole\n`) {
		t.Errorf("what had time to end: %.500s", text)
	}
	if text := <-told["long"]; !strings.HasPrefix(text, "503 ") || !strings.Contains(text, "restart") {
		t.Errorf("what had not: %.500s", text)
	}
	x.want(200, `begun\n`, "GET", "/v1/sessions/long/result", nil)
	x.want(200, `"verdict":"killed"`, "GET", "/v1/sessions/long/result", nil)
	for id := range told {
		x.want(200, `"5\n"`, "POST", "/v1/sessions/"+id+"/execute", code("print(y)"))
		x.want(204, "", "DELETE", "/v1/sessions/"+id, nil)
	}
}

// A client that does not read what its code prints keeps nobody else's session from
// being there after a restart: its code, and who hands over, would wait for it.
func TestSlowClientAndARestart(t *testing.T) {
	x, m := managed(t, []string{"--template", "--drain", "1s"})
	others := []string{"a", "b", "c", "d"}
	for _, id := range append([]string{"slow"}, others...) {
		x.want(201, "", "POST", "/v1/sessions", fmt.Sprintf(`{"id":%q,"limits":{"memory":"64M"}}`, id))
		x.want(200, "", "POST", "/v1/sessions/"+id+"/execute", code("x = 42"))
	}
	c, err := net.Dial("unix", x.at)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	body := code("import os, fcntl\nfcntl.fcntl(1, 1031, 1 << 20)\nopen('mark', 'w').close()\nwhile True: os.write(1, b'x' * 65536)")
	fmt.Fprintf(c, "POST /v1/sessions/slow/execute HTTP/1.1\r\nHost: c\r\nAccept: application/x-ndjson\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	x.until(200, "mark", "GET", "/v1/sessions/slow/files")
	m.restart(x, nil)
	for _, id := range others {
		x.want(200, `"42\n"`, "POST", "/v1/sessions/"+id+"/execute", code("print(x)"))
		x.want(204, "", "DELETE", "/v1/sessions/"+id, nil)
	}
	if text := x.wlog.String(); strings.Contains(text, "a session ends with this warden") {
		t.Errorf("the warden's log:\n%.3000s", text)
	}
	x.want(204, "", "DELETE", "/v1/sessions/slow", nil)
}

// Who calls while there is no warden waits for the next one, and is never told
// anything wrong.
func TestCallsBetweenTwoWardens(t *testing.T) {
	x, m := managed(t, []string{"--template"})
	const sessions = 4
	for i := range sessions {
		x.want(201, "", "POST", "/v1/sessions", fmt.Sprintf(`{"id":"s%d","limits":{"memory":"64M"}}`, i))
		x.want(200, "", "POST", fmt.Sprintf("/v1/sessions/s%d/execute", i), code("n = 0"))
	}
	var asking sync.WaitGroup
	var over atomic.Bool
	var unknown [sessions]int
	for i := range sessions {
		asking.Go(func() {
			counted := 0
			for last := false; !last; {
				last = over.Load() // once more after the last restart
				status, text := x.ask("POST", fmt.Sprintf("/v1/sessions/s%d/execute", i), code("n += 1; print('n is', n)"))
				switch {
				case status == 200:
					counted++
					var n int
					if _, err := fmt.Sscanf(text[max(strings.Index(text, "n is "), 0):], "n is %d", &n); err != nil || n < counted || n > counted+unknown[i] {
						t.Errorf("execution %d, of %d that may have been: %.300s", counted, unknown[i], text)
					}
				case status == 503:
					unknown[i]++ // it may have run
					last = false
				default:
					t.Errorf("%d %.300s", status, text)
				}
			}
		})
	}
	for range 3 {
		m.restart(x, nil)
	}
	over.Store(true)
	asking.Wait()
	t.Logf("calls with an end that is not known: %v", unknown)
	for i := range sessions {
		x.want(204, "", "DELETE", fmt.Sprintf("/v1/sessions/s%d", i), nil)
	}
}

// A warden that cannot store its sessions ends them, as one that has no store.
func TestWardenWithoutAStore(t *testing.T) {
	x, m := managed(t, []string{"--template"})
	x.faults = true // it says so
	x.want(201, "", "POST", "/v1/sessions", `{"id":"s"}`)
	m.notify.Close()
	x.endWarden()
	if text := x.wlog.String(); !strings.Contains(text, "sessions end with this warden") {
		t.Errorf("the log:\n%s", text)
	}
	x.nothingLeft()
	x.cmd.Process.Signal(syscall.SIGTERM)
	x.cmd.Wait()
	x.cmd = nil
}

// Where the unit is stopped, all ends with what systemd lets go of.
func TestWardenStops(t *testing.T) {
	x, m := managed(t, []string{"--template"})
	x.want(201, "", "POST", "/v1/sessions", `{"id":"s"}`)
	groups := x.groups()
	args := m.args(x.warden)
	x.endWarden()
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
	x.cmd.Wait() // it sees that its sessions are not there
	x.http.CloseIdleConnections()
	x.start()
	x.want(404, "not-found", "GET", "/v1/sessions/s", nil)
}
