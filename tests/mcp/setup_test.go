// Package mcp speaks with Cellblock's MCP servers as others' clients do: the Go
// SDK's client and the MCP Inspector's command line, over standard input and
// output and over HTTP.
package mcp

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/cellblock/cellblock/internal/testkit"
)

// science is what the cells of these tests have installed.
const science = "numpy,pandas,matplotlib"

// programs builds both programs side by side, as they are installed.
var programs = sync.OnceValues(func() (dir string, err error) {
	if path := os.Getenv("CELLBLOCK_BIN"); path != "" {
		return filepath.Dir(path), nil
	}
	if dir, err = os.MkdirTemp("", "cellblock-mcp"); err != nil {
		return "", err
	}
	built = dir
	cmd := exec.Command("go", "build", "-o", dir+"/", "github.com/cellblock/cellblock/cmd/cellblock", "github.com/cellblock/cellblock/cmd/cellblock-service")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return dir, nil
})

var built string // by programs; "" when nothing was

func TestMain(m *testing.M) {
	status := m.Run()
	if built != "" {
		os.RemoveAll(built)
	}
	os.Exit(status)
}

func program(t *testing.T) string {
	t.Helper()
	testkit.Require(t, testkit.Root, testkit.MemoryController, testkit.Python(""))
	dir, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "cellblock")
}

// tempDir is short enough for a socket's path, and must be empty of records and
// uploads at the end.
func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "cbm")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		nothingLeft(t, dir)
		os.RemoveAll(dir)
	})
	return dir
}

// cells are the records of living cells.
func cells(dir string) []string {
	files, _ := filepath.Glob(filepath.Join(dir, "run/cells/*"))
	return files
}

func nothingLeft(t *testing.T, dir string) {
	t.Helper()
	uploads, _ := filepath.Glob(filepath.Join(dir, "cellblock-*"))
	if left := append(cells(dir), uploads...); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// client is a conversation of the SDK's client with a server.
type client struct {
	*sdk.ClientSession
	t *testing.T

	mu       sync.Mutex
	progress []*sdk.ProgressNotificationParams
	seen     chan struct{} // after each progress
}

func connect(t *testing.T, transport sdk.Transport) *client {
	t.Helper()
	c := &client{t: t, seen: make(chan struct{}, 10_000)}
	options := &sdk.ClientOptions{ProgressNotificationHandler: func(_ context.Context, r *sdk.ProgressNotificationClientRequest) {
		c.mu.Lock()
		c.progress = append(c.progress, r.Params)
		c.mu.Unlock()
		c.seen <- struct{}{}
	}}
	session, err := sdk.NewClient(&sdk.Implementation{Name: "test", Version: "1"}, options).Connect(t.Context(), transport, nil)
	if err != nil {
		t.Fatal(err)
	}
	c.ClientSession = session
	return c
}

// told is what progress has said of output so far.
func (c *client) told() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var b strings.Builder
	for _, p := range c.progress {
		b.WriteString(p.Message)
	}
	return b.String()
}

// until waits for progress that has said a text.
func (c *client) until(text string) {
	c.t.Helper()
	limit := time.After(time.Minute)
	for !strings.Contains(c.told(), text) {
		select {
		case <-c.seen:
		case <-limit:
			c.t.Fatalf("no progress said %q, only %q", text, c.told())
		}
	}
}

type args = map[string]any

// call calls a tool, asking for progress.
func (c *client) call(ctx context.Context, tool string, a any) (*sdk.CallToolResult, error) {
	params := &sdk.CallToolParams{Name: tool, Arguments: a}
	params.SetProgressToken(tool)
	return c.CallTool(ctx, params)
}

// do is call for what must come to an answer.
func (c *client) do(tool string, a any) *sdk.CallToolResult {
	c.t.Helper()
	r, err := c.call(c.t.Context(), tool, a)
	if err != nil {
		c.t.Fatalf("%s(%.200q): %v", tool, inJSON(c.t, a), err)
	}
	return r
}

// ok is do for what must succeed; it returns the first text.
func (c *client) ok(tool string, a any) string {
	c.t.Helper()
	r := c.do(tool, a)
	if r.IsError {
		c.t.Fatalf("%s(%.200q): %s", tool, inJSON(c.t, a), textOf(r))
	}
	return textOf(r)
}

// run runs code and returns the first text.
func (c *client) run(code string) string {
	c.t.Helper()
	return textOf(c.do("run_python", args{"code": code}))
}

func textOf(r *sdk.CallToolResult) string {
	for _, c := range r.Content {
		if text, ok := c.(*sdk.TextContent); ok {
			return text.Text
		}
	}
	return ""
}

// structured decodes structured content.
func structured[T any](t *testing.T, r *sdk.CallToolResult) (v T) {
	t.Helper()
	b, err := json.Marshal(r.StructuredContent)
	if err == nil {
		err = json.Unmarshal(b, &v)
	}
	if err != nil {
		t.Fatalf("structured content %v: %v", r.StructuredContent, err)
	}
	return v
}

// stdio starts cellblock mcp as a client would.
func stdio(t *testing.T, flags ...string) *client {
	t.Helper()
	c, _ := stdioCommand(t, flags...)
	return c
}

func stdioCommand(t *testing.T, flags ...string) (*client, *exec.Cmd) {
	t.Helper()
	dir := tempDir(t)
	cmd := exec.Command(program(t), append([]string{"mcp", "--runtime-dir", filepath.Join(dir, "run")}, flags...)...)
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	log := new(testkit.Output)
	cmd.Stderr = log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	c := connect(t, &sdk.CommandTransport{Command: cmd, TerminateDuration: 30 * time.Second})
	t.Cleanup(func() {
		c.Close()
		clean(t, log)
	})
	return c, cmd
}

// service is a service of the test's own, on TCP with two tokens.
type service struct {
	t       *testing.T
	dir     string
	address string
	tokens  map[string]string // by name
	log     *testkit.Output
	cmd     *exec.Cmd
}

func serve(t *testing.T, flags ...string) *service {
	t.Helper()
	path := program(t)
	dir := tempDir(t)
	s := &service{t: t, dir: dir, tokens: map[string]string{}, log: new(testkit.Output)}
	var lines []string
	for _, name := range []string{"ann", "bob"} {
		out, err := exec.Command(path, "config", "token", name).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		for line := range strings.Lines(string(out)) {
			fields := strings.Fields(line)
			switch {
			case strings.Contains(line, "sha256:"):
				lines = append(lines, strings.Join(fields[len(fields)-2:], " "))
			case len(fields) > 0 && strings.HasPrefix(fields[len(fields)-1], "cb_"):
				s.tokens[name] = fields[len(fields)-1]
			}
		}
	}
	if len(lines) != 2 || len(s.tokens) != 2 {
		t.Fatalf("tokens: %v %v", lines, s.tokens)
	}
	tokens := filepath.Join(dir, "tokens")
	if err := os.WriteFile(tokens, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.address = l.Addr().String()
	l.Close()
	s.cmd = exec.Command(path, append([]string{
		"serve", "--socket", filepath.Join(dir, "s"), "--listen", s.address, "--tokens", tokens,
		"--runtime-dir", filepath.Join(dir, "run"),
	}, flags...)...)
	s.cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	if err := testkit.StartReady(s.cmd, dir, s.log); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	return s
}

func (s *service) stop() {
	if s.cmd.ProcessState != nil {
		return // it has been stopped
	}
	s.cmd.Process.Signal(syscall.SIGTERM)
	if err := s.cmd.Wait(); err != nil {
		s.t.Errorf("its end: %v\n%.3000s", err, s.log)
	}
	clean(s.t, s.log)
}

// clean fails the test for what no log should hold.
func clean(t *testing.T, log *testkit.Output) {
	t.Helper()
	for _, bad := range []string{"panic", "BUG:", "kind=internal", "DATA RACE"} {
		if text := log.String(); strings.Contains(text, bad) {
			t.Errorf("its log has %q:\n%.5000s", bad, text)
		}
	}
}

func (s *service) url(path string) string { return "http://" + s.address + path }

// bearer adds a token to each request.
type bearer struct {
	token string
	next  http.RoundTripper
}

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+b.token)
	return b.next.RoundTrip(r)
}

func (s *service) http(name string) *http.Client {
	return &http.Client{Transport: bearer{s.tokens[name], &http.Transport{}}}
}

// connect begins a conversation of the named owner.
func (s *service) connect(name string) *client {
	s.t.Helper()
	c := connect(s.t, &sdk.StreamableClientTransport{Endpoint: s.url("/mcp"), HTTPClient: s.http(name)})
	s.t.Cleanup(func() { c.Close() })
	return c
}

// ask speaks to the other routes of the service.
func (s *service) ask(name, method, path, body string, headers ...string) (int, string) {
	s.t.Helper()
	r, err := http.NewRequest(method, s.url(path), strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		}
		r.Header.Set(headers[i], headers[i+1])
	}
	hc := http.DefaultClient
	if name != "" {
		hc = s.http(name)
	}
	resp, err := hc.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	var b bytes.Buffer
	b.ReadFrom(resp.Body)
	return resp.StatusCode, b.String()
}

// sessions are the ids of an owner's sessions.
func (s *service) sessions(name string) []string {
	s.t.Helper()
	_, text := s.ask(name, "GET", "/v1/sessions", "")
	var list struct{ Sessions []struct{ ID string } }
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		s.t.Fatalf("%v: %s", err, text)
	}
	ids := []string{}
	for _, x := range list.Sessions {
		ids = append(ids, x.ID)
	}
	return ids
}

// both runs a test against both kinds of servers.
func both(t *testing.T, test func(t *testing.T, c *client), flags ...string) {
	t.Run("stdio", func(t *testing.T) { test(t, stdio(t, flags...)) })
	t.Run("http", func(t *testing.T) { test(t, serve(t, flags...).connect("ann")) })
}

// eventually waits for what has no event of its own in this process.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it never came to pass that %s", what)
		}
	}
}
