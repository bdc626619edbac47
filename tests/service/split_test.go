package service

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cellblock/cellblock/internal/testkit"
)

// split is a service in two processes: a warden as root, and the one that speaks
// HTTP as nobody, without any capability.
type split struct {
	*service
	warden *exec.Cmd
	wlog   *testkit.Output
	faults bool // its logs may tell of errors
}

const nobody = 65534

// startSplit starts both; args are the warden's, own those of the other.
func startSplit(t *testing.T, args []string, own ...string) *split {
	t.Helper()
	return splitWith(t, func(x *split, _ string, args []string) *exec.Cmd {
		return x.launch("cellblock-warden", x.wlog, nil, args)
	}, args, own...)
}

// splitWith is startSplit with a warden that start starts, which is to listen at socket.
func splitWith(t *testing.T, start func(x *split, socket string, args []string) *exec.Cmd, args []string, own ...string) *split {
	t.Helper()
	x := &split{service: prepare(t, own...), wlog: new(testkit.Output)}
	s := x.service
	dir, err := build()
	if err != nil {
		t.Fatal(err)
	}
	// Where nobody can use it.
	program := filepath.Join(s.dir, "bin")
	if err := os.Mkdir(program, 0o755); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "cellblock-service"))
	if err == nil {
		err = os.WriteFile(filepath.Join(program, "cellblock-service"), text, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{"api", "tmp"} {
		if err := os.Mkdir(filepath.Join(s.dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(filepath.Join(s.dir, d), nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(s.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(s.dir, "w")
	x.warden = start(x, socket, append([]string{
		"--warden", socket, "--warden-user", fmt.Sprint(nobody), "--runtime-dir", filepath.Join(s.dir, "run"),
	}, args...))
	s.args = append(s.args, "--warden", socket, "--socket", filepath.Join(s.dir, "api/s"))
	s.at = filepath.Join(s.dir, "api/s")
	s.before = func(cmd *exec.Cmd) {
		cmd.Path = filepath.Join(program, "cellblock-service")
		cmd.Env = append(cmd.Env, "TMPDIR="+filepath.Join(s.dir, "tmp"))
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	t.Cleanup(x.end)
	s.start()
	return x
}

// end ends both, and fails the test unless nothing is left.
func (x *split) end() {
	x.t.Helper()
	if x.cmd != nil {
		x.cmd.Process.Signal(syscall.SIGTERM)
		if err := x.cmd.Wait(); err != nil {
			x.t.Errorf("the service's end: %v\n%.3000s", err, x.log)
		}
		x.cmd = nil
	}
	x.endWarden()
	for _, log := range []*testkit.Output{x.log, x.wlog} {
		if text := log.String(); strings.Contains(text, "panic") || strings.Contains(text, "BUG:") || !x.faults && strings.Contains(text, "level=ERROR") {
			x.t.Errorf("a log:\n%.3000s", text)
		}
	}
	x.nothingLeft()
}

func (x *split) endWarden() {
	if x.warden == nil {
		return
	}
	x.warden.Process.Signal(syscall.SIGTERM)
	if err := x.warden.Wait(); err != nil {
		x.t.Errorf("the warden's end: %v\n%.3000s", err, x.wlog)
	}
	x.warden = nil
}

// Sessions, and what runs in them, survive the process that speaks HTTP: its clean
// end, its sudden one, and its next version.
func TestSessionsSurvive(t *testing.T) {
	x := startSplit(t, nil, "--drain", "100ms")
	x.want(201, "", "POST", "/v1/sessions", `{"id":"s","limits":{"memory":"64M"},"preload":["nosuch"]}`)
	x.want(200, "", "POST", "/v1/sessions/s/execute", code("x = 1; open('f', 'w').write('kept')"))

	restart := func(how string, end func()) {
		t.Helper()
		done := make(chan string, 1)
		go func() {
			status, text := x.ask("POST", "/v1/sessions/s/execute", code("open('mark', 'w').close()\nimport time; time.sleep(1); x += 1; print('then', x)"))
			done <- fmt.Sprint(status, text)
		}()
		x.until(200, "mark", "GET", "/v1/sessions/s/files")
		end()
		if told := <-done; strings.HasPrefix(told, "200") {
			t.Fatalf("%s: the client was told %.300s", how, told)
		}
		x.start()
		x.want(200, `"state":"running"`, "GET", "/v1/sessions/s", nil)
		x.want(200, `then `, "GET", "/v1/sessions/s/result", nil)
		x.want(200, `"left_out":["nosuch"],"limits":{"memory_bytes":67108864`, "GET", "/v1/sessions/s", nil)
		x.want(200, "kept", "GET", "/v1/sessions/s/files/f", nil)
		x.want(204, "", "DELETE", "/v1/sessions/s/files/mark", nil)
	}
	restart("killed", x.kill)
	x.want(200, `2\n`, "POST", "/v1/sessions/s/execute", code("print(x)"))
	restart("ended", func() {
		x.cmd.Process.Signal(syscall.SIGTERM)
		if err := x.cmd.Wait(); err != nil {
			t.Errorf("its end: %v", err)
		}
		x.http.CloseIdleConnections()
	})
	x.want(200, `3\n`, "POST", "/v1/sessions/s/execute", code("print(x)"))

	var stats struct {
		Sessions    int   `json:"sessions"`
		Running     int   `json:"running"`
		MemoryBytes int64 `json:"memory_bytes"`
	}
	if err := json.Unmarshal([]byte(x.want(200, "", "GET", "/v1/stats", nil)), &stats); err != nil || stats.Sessions != 1 || stats.Running != 0 || stats.MemoryBytes != 64<<20 {
		t.Errorf("%+v, %v", stats, err)
	}
	x.want(204, "", "DELETE", "/v1/sessions/s", nil)
	x.kill()
	x.start()
	x.want(404, "not-found", "GET", "/v1/sessions/s", nil)
}

// Who asks while the next process starts waits until it has the sessions: nobody is
// told that his is not there, and none is made a second time.
func TestNobodyIsAnsweredTooEarly(t *testing.T) {
	x := startSplit(t, nil)
	for i := range 20 {
		x.want(201, "", "POST", "/v1/sessions", fmt.Sprintf(`{"id":"s%d","limits":{"memory":"64M"}}`, i))
	}
	x.want(200, "", "POST", "/v1/sessions/s0/execute", code("x = 'kept'"))
	x.kill()
	ready := make(chan struct{})
	var asking sync.WaitGroup
	for range 4 {
		asking.Go(func() {
			for asked := 0; ; {
				status, text := x.ask("POST", "/v1/execute", `{"session_id":"s0","code":"print(globals().get('x'))"}`)
				if status != 0 {
					asked++
				}
				if status != 0 && (status != 200 || !strings.Contains(text, `"kept\n"`)) {
					t.Errorf("%d %.300s", status, text)
				}
				select {
				case <-ready:
					if asked > 0 {
						return
					}
				default:
				}
			}
		})
	}
	x.start()
	close(ready)
	asking.Wait()
	x.want(200, `"sessions":20`, "GET", "/v1/stats", nil)
}

// Whose code ends with the service is told so, and not to ask for a result.
func TestNamelessExecutionEnds(t *testing.T) {
	x := startSplit(t, nil, "--drain", "100ms")
	told := make(chan string, 1)
	go func() {
		status, text := x.ask("POST", "/v1/execute", code("import time; time.sleep(60)"))
		told <- fmt.Sprint(status, " ", text)
	}()
	x.until(200, `"running":1,"memory`, "GET", "/v1/stats")
	x.cmd.Process.Signal(syscall.SIGTERM)
	if err := x.cmd.Wait(); err != nil {
		t.Errorf("its end: %v", err)
	}
	if text := <-told; !strings.HasPrefix(text, "503 ") || !strings.Contains(text, "run it again") || strings.Contains(text, "result") {
		t.Errorf("the client was told %.300s", text)
	}
	x.start()
}

// A stream that the service's end cuts says so, also to who reads late.
func TestStreamsEnd(t *testing.T) {
	x := startSplit(t, nil, "--drain", "100ms")
	const printing = "print('x' * (4 << 20), flush=True)\nimport time; time.sleep(60)"
	var streams []*bufio.Reader
	for i := range 3 {
		body, _ := json.Marshal(map[string]string{"code": printing, "session_id": fmt.Sprint("s", i)})
		r, err := http.NewRequest("POST", "http://cellblock/v1/execute", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Accept", "application/x-ndjson")
		resp, err := x.http.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		streams = append(streams, bufio.NewReader(resp.Body))
		if line, err := streams[i].ReadString('\n'); err != nil || !strings.Contains(line, "stdout") {
			t.Fatalf("%.80s, %v", line, err)
		}
	}
	x.cmd.Process.Signal(syscall.SIGTERM)
	ended := make(chan error, 1)
	go func(cmd *exec.Cmd) { ended <- cmd.Wait() }(x.cmd)
	x.cmd = nil
	select {
	case err := <-ended:
		t.Errorf("it ended before its streams did: %v", err)
		ended <- err
	case <-time.After(time.Second): // long after the drain
	}
	for i, s := range streams {
		text, err := io.ReadAll(s)
		if err != nil || !bytes.Contains(text, []byte(`"kind":"unavailable"`)) || !bytes.HasSuffix(text, []byte("{\"kind\":\"end\"}\n")) {
			t.Errorf("stream %d: %v, …%s", i, err, text[max(0, len(text)-300):])
		}
	}
	if err := <-ended; err != nil {
		t.Errorf("its end: %v", err)
	}
	x.http.CloseIdleConnections()
	x.start()
}

// A session that cannot be had again by its client ends with the process that made
// it: one of an execution without a name, or of MCP.
func TestNamelessSessionsEnd(t *testing.T) {
	x := startSplit(t, nil)
	go x.ask("POST", "/v1/execute", code("import time; time.sleep(60)"))
	x.until(200, `"sessions":1`, "GET", "/v1/stats")
	x.kill()
	x.start()
	x.until(200, `"sessions":0`, "GET", "/v1/stats")
	deadline := time.Now().Add(20 * time.Second)
	for len(x.groups()) > x.standing() {
		if time.Now().After(deadline) {
			t.Fatalf("its groups are there: %v", x.groups())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// standing is how many groups a warden without sessions has: of its pool, its
// template and its reader of source.
func (x *split) standing() int {
	x.t.Helper()
	x.want(201, "", "POST", "/v1/sessions", `{"id":"one"}`)
	with := len(x.groups())
	x.want(204, "", "DELETE", "/v1/sessions/one", nil)
	return with
}

// The process that speaks HTTP has no privilege to lose.
func TestServiceIsUnprivileged(t *testing.T) {
	x := startSplit(t, nil)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", x.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"Uid:\t65534\t65534\t65534\t65534", "CapEff:\t0000000000000000", "CapPrm:\t0000000000000000"} {
		if !strings.Contains(string(status), line) {
			t.Errorf("%q is not in\n%s", line, status)
		}
	}
	x.want(200, `"42\n"`, "POST", "/v1/execute", code("print(6*7)")) // root's question, by a uid that is not root
}

// A service whose warden ends says so and ends.
func TestWardenEnds(t *testing.T) {
	x := startSplit(t, nil)
	x.want(201, "", "POST", "/v1/sessions", `{"id":"s"}`)
	x.endWarden()
	ended := make(chan error, 1)
	go func() { ended <- x.cmd.Wait() }()
	select {
	case err := <-ended:
		if err == nil || !strings.Contains(x.log.String(), "the warden has ended") {
			t.Errorf("%v\n%s", err, x.log)
		}
	case <-time.After(30 * time.Second):
		t.Error("the service goes on")
	}
	x.cmd = nil
}

// A warden that is killed leaves nothing that its successor does not sweep.
func TestWardenKilled(t *testing.T) {
	x := startSplit(t, nil)
	x.want(201, "", "POST", "/v1/sessions", `{"id":"s"}`)
	before := x.groups()
	if len(before) == 0 {
		t.Fatal("no cell has a group")
	}
	x.warden.Process.Kill()
	x.warden.Wait()
	x.cmd.Wait()
	x.http.CloseIdleConnections()
	x.warden = x.launch("cellblock-warden", x.wlog, nil, x.warden.Args[1:])
	x.start()
	x.want(404, "not-found", "GET", "/v1/sessions/s", nil)
	now := strings.Join(x.groups(), " ")
	for _, g := range before {
		if _, err := os.Stat(g); err == nil && !strings.Contains(now, g) {
			t.Errorf("left: %s", g)
		}
	}
}

// until asks again and again until the answer has the status and holds the part.
func (s *service) until(status int, part, method, path string) {
	s.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		got, text := s.ask(method, path, nil)
		if got == status && strings.Contains(text, part) {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%s %s: still %d, or without %q: %.300s", method, path, got, part, text)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
