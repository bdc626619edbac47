// Package service attacks and disturbs a real `cellblock serve`: what its
// clients send, how they behave, what the machine lacks, and its own sudden end.
package service

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/cellblock/cellblock/internal/testkit"
)

// built is where build has put the programs, "" when it has not.
var built string

// build returns the directory of cellblock-service and cellblock-warden.
var build = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("CELLBLOCK_BIN"); path != "" {
		return filepath.Dir(path), nil
	}
	dir, err := os.MkdirTemp("", "cellblock-service")
	if err != nil {
		return "", err
	}
	built = dir
	const programs = "github.com/cellblock/cellblock/cmd/cellblock-"
	cmd := exec.Command("go", "build", "-o", dir+"/", programs+"service", programs+"warden")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return dir, nil
})

func TestMain(m *testing.M) {
	status := m.Run()
	if built != "" {
		os.RemoveAll(built)
	}
	os.Exit(status)
}

// service is a service of the test's own, in a process of its own.
type service struct {
	t      *testing.T
	dir    string
	at     string // its socket
	args   []string
	cmd    *exec.Cmd
	log    *testkit.Output
	http   *http.Client
	before func(*exec.Cmd) // may change how it is started
}

func start(t *testing.T, args ...string) *service {
	t.Helper()
	s := prepare(t, args...)
	t.Cleanup(s.stop)
	s.start()
	return s
}

// prepare is start without the start.
func prepare(t *testing.T, args ...string) *service {
	t.Helper()
	testkit.Require(t, testkit.Root, testkit.MemoryController, testkit.Python(""))
	dir, err := os.MkdirTemp("", "cbs")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &service{t: t, dir: dir, args: args}
	s.http = &http.Client{Transport: &http.Transport{
		DialContext:         func(ctx context.Context, _, _ string) (net.Conn, error) { return s.dial(ctx) },
		MaxIdleConnsPerHost: 64,
	}}
	s.at = filepath.Join(dir, "s")
	t.Cleanup(s.http.CloseIdleConnections)
	return s
}

func (s *service) socket() string { return s.at }

func (s *service) dial(ctx context.Context) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "unix", s.socket())
}

// start starts it and returns when it says that it is ready.
func (s *service) start() {
	s.t.Helper()
	s.log = new(testkit.Output)
	s.cmd = s.launch("cellblock-service", s.log, s.before, append([]string{"serve", "--socket", s.socket(), "--runtime-dir", filepath.Join(s.dir, "run")}, s.args...))
}

// launch starts a program and returns when it says that it is ready.
func (s *service) launch(program string, log *testkit.Output, before func(*exec.Cmd), args []string) *exec.Cmd {
	s.t.Helper()
	dir, err := build()
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(dir, program), args...)
	cmd.Env = append(os.Environ(), "TMPDIR="+s.dir)
	if before != nil {
		before(cmd)
	}
	if err := testkit.StartReady(cmd, s.dir, log); err != nil {
		s.t.Fatal(err)
	}
	return cmd
}

// stop ends it cleanly, and fails the test unless nothing is left.
func (s *service) stop() {
	s.t.Helper()
	if s.cmd == nil {
		return
	}
	s.cmd.Process.Signal(syscall.SIGTERM)
	if err := s.cmd.Wait(); err != nil {
		s.t.Errorf("its end: %v\n%.3000s", err, s.log)
	}
	s.cmd = nil
	if strings.Contains(s.log.String(), "panic") || strings.Contains(s.log.String(), "BUG:") || strings.Contains(s.log.String(), "kind=internal") {
		s.t.Errorf("its log:\n%.3000s", s.log)
	}
	s.nothingLeft()
}

// kill ends it as the kernel would.
func (s *service) kill() {
	s.cmd.Process.Kill()
	s.cmd.Wait()
	s.cmd = nil
	s.http.CloseIdleConnections()
}

// groups are those that the records of living cells name.
func (s *service) groups() []string {
	var all []string
	files, _ := filepath.Glob(filepath.Join(s.dir, "run/cells/*"))
	for _, f := range files {
		b, _ := os.ReadFile(f)
		var r struct{ Groups []string }
		if json.Unmarshal(b, &r) == nil {
			all = append(all, r.Groups...)
		}
	}
	return all
}

func (s *service) nothingLeft() {
	s.t.Helper()
	files, _ := filepath.Glob(filepath.Join(s.dir, "run/cells/*"))
	spool, _ := filepath.Glob(filepath.Join(s.dir, "cellblock-spool-*"))
	if len(files)+len(spool) > 0 {
		s.t.Errorf("left behind: %v %v", files, spool)
	}
}

// ask sends a request, a string as JSON, and returns status and body; 0 when
// there is no answer.
func (s *service) ask(method, path string, body any, headers ...string) (int, string) {
	status, text, _ := s.askAll(method, path, body, headers...)
	return status, text
}

func (s *service) askAll(method, path string, body any, headers ...string) (int, string, http.Header) {
	var content io.Reader
	kind := "application/json"
	switch b := body.(type) {
	case string:
		content = strings.NewReader(b)
	case io.Reader:
		content = b
	}
	if method == "PUT" {
		kind = "application/octet-stream"
	}
	r, err := http.NewRequest(method, "http://cellblock"+path, content)
	if err != nil {
		return 0, err.Error(), nil
	}
	if content != nil {
		r.Header.Set("Content-Type", kind)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := s.http.Do(r)
	if err != nil {
		return 0, err.Error(), nil
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error(), nil
	}
	return resp.StatusCode, string(text), resp.Header
}

// want fails the test unless the answer has the status and holds the part.
func (s *service) want(status int, part, method, path string, body any) string {
	s.t.Helper()
	got, text := s.ask(method, path, body)
	if got != status || !strings.Contains(text, part) {
		s.t.Errorf("%s %.80s: status %d instead of %d, or without %q: %.300s", method, path, got, status, part, text)
	}
	return text
}

// code is the body of an execution.
func code(text string) string {
	b, _ := json.Marshal(map[string]string{"code": text})
	return string(b)
}
