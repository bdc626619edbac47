package api

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/internal/ndjson"
)

func TestExecute(t *testing.T) {
	c := serve(t, Settings{})
	body := StandaloneExecution{Execution: Execution{
		Code:       "print(open('in/a.txt').read())\nopen('out.txt','w').write('x')\n6*7",
		InputFiles: []InputFile{{"in/a.txt", []byte("hällo")}},
	}}
	r := decode[executor.Result](c.ask("POST", "/v1/execute", body).want(200))
	if !r.Success || r.Output != "hällo\n" || r.Value == nil || *r.Value != "42" || len(r.CreatedFiles) != 1 {
		t.Errorf("%+v", r)
	}
	if n := decode[Stats](c.ask("GET", "/v1/stats", nil)); n.Sessions != 0 || n.Executions != 1 || n.MemoryBytes != 0 {
		t.Errorf("afterwards: %+v", n)
	}
	body.InputFiles[0].Name = "../a"
	if p := c.ask("POST", "/v1/execute", body).problem(KindInvalid); strings.Contains(p.Detail, c.server.spool.dir) {
		t.Errorf("a path of the host is told: %s", p.Detail)
	}
}

// With a session id the session is made, and found again. What is preloaded is in
// every namespace, and no variable of the code's.
func TestExecuteInANamedSession(t *testing.T) {
	c := serve(t, Settings{})
	body := StandaloneExecution{SessionID: "s", Creation: Creation{
		Preload: []string{"json  as j", "no_such_module", "no_such.module as n", "math"}, Limits: Limits{MemoryMB: 128},
	}}
	for i, row := range []struct{ code, output string }{
		{"x = j.dumps(1)", ""},
		{"print(x, math.floor(1.5))", "1 1\n"},
		{"import os; os._exit(1)", ""},
		{"print(j.dumps(2))", "2\n"},
	} {
		body.Code = row.code
		r := decode[executor.Result](c.ask("POST", "/v1/execute", body).want(200))
		if r.Output != row.output || r.Session.Execution != i+1 || r.Session.ID != "s" || r.Namespace["j"].Type != "" {
			t.Errorf("%s: %+v", row.code, r)
		}
	}
	info := decode[SessionInfo](c.ask("GET", "/v1/sessions/s", nil).want(200))
	if info.State != StateIdle || info.Limits.MemoryBytes != 128<<20 || len(info.Preload) != 2 || info.Preload[0] != "json as j" ||
		!slices.Equal(info.LeftOut, []string{"no_such_module", "no_such.module as n"}) {
		t.Errorf("%+v", info)
	}
	made := decode[SessionInfo](c.ask("POST", "/v1/sessions", NewSession{Creation: Creation{Preload: []string{"math", "no_such_module"}}}).want(201))
	if !slices.Equal(made.LeftOut, []string{"no_such_module"}) || !slices.Equal(made.Preload, []string{"math"}) {
		t.Errorf("%+v", made)
	}
}

// A session that is there keeps its limits, and who asks for others is told.
func TestLimitsOfASessionThatIsThere(t *testing.T) {
	c := serve(t, Settings{})
	ask := func(l Limits) *reply {
		return c.ask("POST", "/v1/execute", StandaloneExecution{Execution: Execution{Code: "1"}, SessionID: "s", Creation: Creation{Limits: l}})
	}
	ask(Limits{Memory: 128 << 20, Timeout: 7}).want(200)
	for _, same := range []Limits{{}, {MemoryMB: 128}, {Memory: 128 << 20, Timeout: 7}} {
		ask(same).want(200)
	}
	for _, other := range []Limits{{MemoryMB: 64}, {Timeout: 8}, {PIDs: 17}, {CPUs: 0.5}, {CPUTime: 3}, {WorkspaceSize: 1 << 20}, {WorkspaceFiles: 99}, {MaxOutput: 1000}} {
		if p := ask(other).problem(KindInvalid); !strings.Contains(p.Detail, "has its limits since it was made") {
			t.Errorf("%+v: %s", other, p.Detail)
		}
	}
	ask(Limits{}).want(200) // it is let go of
}

// Sessions that name no modules have the service's own.
func TestPreloadOfTheService(t *testing.T) {
	c := serve(t, Settings{}, executor.Config{Preload: []string{"json as j"}})
	path := c.session(NewSession{})
	if r := c.run(path, "print(j.dumps([1]))"); r.Output != "[1]\n" {
		t.Errorf("%+v", r)
	}
	if info := decode[SessionInfo](c.ask("GET", path, nil)); len(info.Preload) != 1 || info.Preload[0] != "json as j" {
		t.Errorf("%+v", info)
	}
}

// frames reads a streamed execution to its end.
func (c *client) frames(path string, body any) []Frame {
	c.t.Helper()
	r, err := c.http.Do(c.request(context.Background(), "POST", path, body, "Accept", ndjson.Type))
	if err != nil {
		c.t.Fatal(err)
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK || r.Header.Get("Content-Type") != ndjson.Type {
		text, _ := io.ReadAll(r.Body)
		c.t.Fatalf("status %d, %s: %s", r.StatusCode, r.Header.Get("Content-Type"), text)
	}
	var list []Frame
	lines := bufio.NewScanner(r.Body)
	lines.Buffer(nil, 32<<20)
	for lines.Scan() {
		var f Frame
		if err := json.Unmarshal(lines.Bytes(), &f); err != nil {
			c.t.Fatalf("%q: %v", lines.Text(), err)
		}
		list = append(list, f)
	}
	if len(list) == 0 || list[len(list)-1].Kind != "end" {
		c.t.Fatalf("the stream has no end: %+v", list)
	}
	return list[:len(list)-1]
}

func TestStream(t *testing.T) {
	c := serve(t, Settings{KeepAlive: 50 * time.Millisecond})
	path := c.session(NewSession{})
	list := c.frames(path+"/execute", Execution{Code: `
import sys, time
sys.stdout.buffer.write("hä".encode()[:2]); sys.stdout.flush()
time.sleep(0.3)
sys.stdout.buffer.write("hä".encode()[2:] + b"\xff\n"); sys.stdout.flush()
print("problem", file=sys.stderr, flush=True)
`})
	var out, errs strings.Builder
	alive, results := 0, 0
	for _, f := range list {
		switch f.Kind {
		case "stdout":
			out.WriteString(f.Text)
		case "stderr":
			errs.WriteString(f.Text)
		case "keep-alive":
			alive++
		case "result":
			results++
			if !f.Result.Success || f.Result.Output != "hä\ufffd\n" {
				t.Errorf("%+v", f.Result)
			}
		default:
			t.Errorf("%+v", f)
		}
	}
	if out.String() != "hä\ufffd\n" || errs.String() != "problem\n" || alive == 0 || results != 1 {
		t.Errorf("stdout %q, stderr %q, %d keep-alives, %d results", out.String(), errs.String(), alive, results)
	}
	list = c.frames(path+"/execute", Execution{Code: "1", InputFiles: []InputFile{{"../x", []byte{}}}})
	list = slices.DeleteFunc(list, func(f Frame) bool { return f.Kind == "keep-alive" })
	if len(list) != 1 || list[0].Kind != "error" || list[0].Error.Kind != KindInvalid {
		t.Errorf("%+v", list)
	}
}

// started runs code that prints a line and goes on, and gives what ends the
// client's part.
func (c *client) started(path string, body Execution) (leave func()) {
	c.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r, err := c.http.Do(c.request(ctx, "POST", path+"/execute", body, "Accept", ndjson.Type))
	if err != nil {
		c.t.Fatal(err)
	}
	line, err := bufio.NewReader(r.Body).ReadString('\n')
	if err != nil || !strings.Contains(line, "stdout") {
		c.t.Fatalf("%q %v", line, err)
	}
	return func() { cancel(); r.Body.Close() }
}

// Who goes away interrupts its code, unless it asked for something else.
func TestClientGoesAway(t *testing.T) {
	c := serve(t, Settings{})
	path := c.session(NewSession{})
	const code = "import time\ntry:\n print('here', flush=True)\n time.sleep(%s)\n end = 'done'\nexcept KeyboardInterrupt:\n end = 'interrupted'\n"
	for _, row := range []struct {
		sleep string
		keep  bool
		end   string
	}{{"60", false, "interrupted"}, {"0.5", true, "done"}} {
		leave := c.started(path, Execution{Code: strings.Replace(code, "%s", row.sleep, 1), KeepRunning: row.keep})
		leave()
		// The next execution has its turn when that one is over.
		began := time.Now()
		if r := c.run(path, "print(end)"); r.Output != row.end+"\n" || time.Since(began) > 20*time.Second {
			t.Errorf("keep_running %t: %q after %s", row.keep, r.Output, time.Since(began))
		}
	}
}
