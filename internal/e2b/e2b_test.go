package e2b

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"mime/multipart"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/internal/api"
	"github.com/cellblock/cellblock/internal/testkit"
	"github.com/cellblock/cellblock/internal/warden/wardentest"
)

// client speaks to a server of the test's own, with real cells, on a real port.
type client struct {
	t           testing.TB
	server      *Server
	url         string
	key, theirs string
	secret, id  string // of the sandbox that is used
}

func serve(t testing.TB, s api.Settings, own Settings, of ...executor.Config) *client {
	t.Helper()
	testkit.Require(t, testkit.Root, testkit.MemoryController, testkit.Python(""))
	dir := t.TempDir()
	c := &client{t: t}
	var lines [2]string
	c.key, lines[0] = api.NewToken("mine")
	c.theirs, lines[1] = api.NewToken("theirs")
	if err := os.WriteFile(dir+"/tokens", []byte(strings.Join(lines[:], "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	var err error
	if s.Tokens, err = api.LoadTokens(dir + "/tokens"); err != nil {
		t.Fatal(err)
	}
	var cfg executor.Config
	if len(of) > 0 {
		cfg = of[0]
	}
	cfg.RuntimeDir, cfg.Template = dir+"/run", true
	s.Spool, s.Engine = dir, wardentest.Engine(t, cfg)
	service, err := api.New(s)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c.server, c.url = New(service, own), "http://"+l.Addr().String()
	served := make(chan error, 1)
	go func() { served <- service.ServeDoor(l, c.server.Door([]string{l.Addr().String()})) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := errors.Join(service.Shutdown(ctx), <-served); err != nil {
			t.Error(err)
		}
	})
	return c
}

type reply struct {
	t      testing.TB
	what   string
	status int
	body   string
}

// ask sends a request with what its headers say on top of the usual ones.
func (c *client) ask(method, path string, body any, headers ...string) *reply {
	c.t.Helper()
	r := c.request(c.t.Context(), method, path, body, headers...)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	return &reply{c.t, method + " " + shorten(path), resp.StatusCode, string(b)}
}

func (c *client) request(ctx context.Context, method, path string, body any, headers ...string) *http.Request {
	c.t.Helper()
	var content io.Reader
	switch b := body.(type) {
	case nil:
	case io.Reader:
		content = b
	case string:
		content = strings.NewReader(b)
	default:
		text, err := json.Marshal(b)
		if err != nil {
			c.t.Fatal(err)
		}
		content = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(ctx, method, c.url+path, content)
	if err != nil {
		c.t.Fatal(err)
	}
	all := append([]string{"Content-Type", "application/json", "X-API-Key", c.key, "E2b-Sandbox-Id", c.id, "X-Access-Token", c.secret}, headers...)
	for i := 0; i < len(all); i += 2 {
		r.Header.Del(all[i])
		if all[i+1] != "" {
			r.Header.Set(all[i], all[i+1])
		}
		if all[i] == "Host" {
			r.Host = all[i+1]
		}
	}
	return r
}

func (r *reply) want(status int, part string) *reply {
	r.t.Helper()
	if r.status != status || !strings.Contains(r.body, part) {
		r.t.Errorf("%s: status %d, want %d with %q: %.300s", r.what, r.status, status, part, r.body)
	}
	return r
}

func (r *reply) into(v any) {
	r.t.Helper()
	if err := json.Unmarshal([]byte(r.body), v); err != nil {
		r.t.Fatalf("%s: %v: %.300s", r.what, err, r.body)
	}
}

// sandbox makes one, which is used from then on.
func (c *client) sandbox() {
	c.t.Helper()
	var made struct{ SandboxID, EnvdAccessToken, TrafficAccessToken string }
	c.ask("POST", "/sandboxes", map[string]any{"templateID": "base"}).want(201, "sandboxID").into(&made)
	if made.EnvdAccessToken == "" || made.EnvdAccessToken != made.TrafficAccessToken {
		c.t.Fatalf("%+v", made)
	}
	c.id, c.secret = made.SandboxID, made.EnvdAccessToken
}

// run is what the frames of an execution say.
func (c *client) run(body any) (out string, frames []map[string]any) {
	c.t.Helper()
	r := c.ask("POST", "/execute", body).want(200, "")
	for line := range strings.Lines(r.body) {
		var f map[string]any
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			c.t.Fatalf("%q: %v", line, err)
		}
		if f["type"] == "stdout" {
			out += f["text"].(string)
		}
		frames = append(frames, f)
	}
	if len(frames) == 0 || frames[len(frames)-1]["type"] != "end_of_execution" {
		c.t.Fatalf("the frames have no end: %v", frames)
	}
	return out, frames
}

func TestFrames(t *testing.T) {
	c := serve(t, api.Settings{KeepAlive: 20 * time.Millisecond}, Settings{})
	c.sandbox()
	_, frames := c.run(map[string]any{"code": "import sys, time\nprint('o')\ntime.sleep(0.3)\nprint('e', file=sys.stderr)\n1/0"})
	var kinds []string
	for _, f := range frames {
		if kind := f["type"].(string); len(kinds) == 0 || kinds[len(kinds)-1] != kind {
			kinds = append(kinds, kind)
		}
	}
	all := strings.Join(kinds, " ")
	if !strings.Contains(all, "stdout") || !strings.Contains(all, "keepalive") || !strings.HasSuffix(all, "stderr number_of_executions error end_of_execution") {
		t.Errorf("frames: %s", all)
	}
}

// What belongs to somebody is nobody else's, by whatever key or secret.
func TestOwners(t *testing.T) {
	c := serve(t, api.Settings{}, Settings{})
	c.sandbox()
	first := *c
	c.sandbox()
	for _, key := range []string{"", "cb_nobody", first.secret, "*"} {
		c.ask("POST", "/sandboxes", map[string]any{}, "X-API-Key", key).want(401, "API key")
		c.ask("DELETE", "/sandboxes/"+c.id, nil, "X-API-Key", key).want(401, "API key")
	}
	for _, call := range []struct{ method, path string }{
		{"GET", ""}, {"DELETE", ""}, {"POST", "/timeout"}, {"POST", "/connect"},
	} {
		c.ask(call.method, "/sandboxes/"+c.id+call.path, nil, "X-API-Key", c.theirs).want(404, "there is no sandbox")
	}
	if r := c.ask("GET", "/v2/sandboxes", nil, "X-API-Key", c.theirs).want(200, ""); r.body != "[]" {
		t.Errorf("another caller sees %s", r.body)
	}
	for _, call := range []struct{ method, path string }{
		{"POST", "/execute"},
		{"GET", "/contexts"},
		{"POST", "/contexts"},
		{"DELETE", "/contexts/default"},
		{"POST", "/contexts/default/restart"},
		{"GET", "/files?path=x"},
		{"POST", "/files?path=x"},
		{"POST", "/filesystem.Filesystem/ListDir"},
		{"POST", "/filesystem.Filesystem/Remove"},
	} {
		for _, secret := range []string{"", first.secret, c.key, strings.ToUpper(c.secret), c.secret + "x"} {
			c.ask(call.method, call.path, nil, "X-Access-Token", secret).want(401, "access token is needed")
		}
		c.ask(call.method, call.path, nil, "E2b-Sandbox-Id", "").want(400, "E2b-Sandbox-Id is missing")
		c.ask(call.method, call.path, nil, "E2b-Sandbox-Id", "sbx../..").want(502, "was not found")
	}
	c.ask("GET", "/contexts", nil, "X-Access-Token", "", "E2b-Traffic-Access-Token", c.secret).want(200, "default")
	c.ask("GET", "/health", nil, "E2b-Sandbox-Id", "nobody").want(502, "")
	c.ask("GET", "/health", nil).want(204, "")
	// The service's own callers over TCP are the same ones.
	c.ask("GET", "/contexts", nil, "Host", "evil.example").want(403, "does not go by the name")
	c.ask("GET", "/contexts", nil, "Origin", "https://evil.example").want(403, "origin")
}

func TestOpen(t *testing.T) {
	c := serve(t, api.Settings{}, Settings{Open: true})
	c.ask("POST", "/sandboxes", map[string]any{}, "X-API-Key", "").want(401, "API key is needed")
	c.key = "e2b_whatever"
	c.sandbox()
	if out, _ := c.run(map[string]any{"code": "print(6*7)"}); out != "42\n" {
		t.Error(out)
	}
}

func TestBadRequests(t *testing.T) {
	c := serve(t, api.Settings{MaxBody: 4 << 20}, Settings{MaxTimeout: time.Hour})
	for _, bad := range []struct {
		body any
		part string
	}{
		{"{", "JSON"},
		{"[]", "JSON"},
		{map[string]any{"timeout": -1}, "timeout"},
		{map[string]any{"timeout": 3601}, "timeout"},
		{map[string]any{"allow_internet_access": true}, "no network"},
		{map[string]any{"network": map[string]any{}}, "no network"},
		{map[string]any{"autoPause": true}, "paused"},
		{map[string]any{"mcp": map[string]any{}}, "not supported"},
		{map[string]any{"volumeMounts": []any{1}}, "not supported"},
		{map[string]any{"templateID": "no-such-root"}, "no-such-root"},
		{map[string]any{"envVars": map[string]string{"LD_PRELOAD": "x"}}, "LD_PRELOAD"},
		{map[string]any{"envVars": map[string]string{"A=": "x"}}, "variable"},
		{map[string]any{"templateID": strings.Repeat("t", maxTemplate+1)}, "templateID"},
		{map[string]any{"metadata": map[string]string{"a": strings.Repeat("x", maxMetadataBytes)}}, "metadata"},
		{map[string]any{"metadata": map[string]string{strings.Repeat("x", maxMetadataBytes/2): "", "a": strings.Repeat("x", maxMetadataBytes/2)}}, "metadata"},
		{map[string]any{"envVars": map[string]string{"A": strings.Repeat("x", maxEnvBytes/2), "B": strings.Repeat("x", maxEnvBytes/2)}}, "envVars"},
	} {
		c.ask("POST", "/v2/sandboxes", bad.body).want(400, bad.part)
	}
	if got := c.ask("GET", "/sandboxes", nil); got.body != "[]" {
		t.Errorf("refused sandboxes are there: %s", got.body)
	}
	c.sandbox()
	c.ask("POST", "/execute", strings.Repeat(" ", 5<<20)).want(413, "are allowed")
	c.ask("POST", "/execute", io.MultiReader(strings.NewReader(strings.Repeat(" ", 5<<20)))).want(413, "")
	c.ask("POST", "/execute", "code", "Content-Type", "text/plain").want(415, "application/json")
	c.ask("POST", "/execute", `{"code": 1}`).want(400, "JSON")
	c.ask("POST", "/execute", map[string]any{"code": "1", "context_id": "nobody"}).want(404, "not found")
	c.ask("POST", "/contexts", map[string]any{"language": "bash"}).want(404, "only python")
	c.ask("POST", "/contexts", map[string]any{"cwd": "/etc"}).want(400, "outside")
	c.ask("POST", "/contexts", map[string]any{"cwd": "/home/user/none'; import os"}).want(400, "no directory")
	c.ask("GET", "/contexts", nil).want(200, `"id":"default"`)
	c.ask("POST", "/nothing", nil).want(501, "no call that this service answers")
	c.ask("POST", "/process.Process/Start", "\x00\x00\x00\x00\x02{}", "Content-Type", "application/connect+json").want(200, "unimplemented")
	c.ask("POST", "/process.Process/List", "{}").want(501, `"code":"unimplemented"`)
	_, frames := c.run(map[string]any{"code": "1", "env_vars": map[string]string{"A\x00": "x"}})
	if frames[0]["type"] != "error" {
		t.Errorf("%v", frames)
	}
	if out, _ := c.run(map[string]any{"code": "print(6*7)"}); out != "42\n" {
		t.Error(out)
	}
}

func form(t *testing.T, parts ...string) (io.Reader, string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for i := 0; i < len(parts); i += 2 {
		p, err := w.CreateFormFile("file", parts[i])
		if err == nil {
			_, err = p.Write([]byte(parts[i+1]))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	w.Close()
	return &b, w.FormDataContentType()
}

func TestUploads(t *testing.T) {
	c := serve(t, api.Settings{}, Settings{}, executor.Config{WorkspaceBytes: 1 << 20})
	c.sandbox()
	send := func(query string, parts ...string) *reply {
		body, kind := form(t, parts...)
		return c.ask("POST", "/files"+query, body, "Content-Type", kind)
	}
	send("", "a/b.txt", "one", "/home/user/c", "two").want(200, "/home/user/a/b.txt")
	c.ask("GET", "/files?path=a/b.txt", nil).want(200, "one")
	for _, path := range []string{"../x", "/etc/x", "a/../../x", "/home/user", "", "/home/user/../x", "/workspace/../x", "a\x00b", strings.Repeat("n/", 3000) + "x", ".cellblock-partial-x"} {
		send("", path, "x").want(400, "")
	}
	large := strings.Repeat("x", 3<<20)
	send("?path=large", "x", large).want(507, "")
	c.ask("POST", "/files?path=large", large, "Content-Type", "application/octet-stream").want(507, "")
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	io.Copy(z, io.LimitReader(zeros{}, 64<<20))
	z.Close()
	c.ask("POST", "/files?path=bomb", &bomb, "Content-Type", "application/octet-stream", "Content-Encoding", "gzip").want(507, "")
	c.ask("POST", "/files?path=x", "no gzip", "Content-Type", "application/octet-stream", "Content-Encoding", "gzip").want(400, "cannot be read")
	c.ask("POST", "/files?path=x", "x", "Content-Type", "application/octet-stream", "Content-Encoding", "br").want(415, "gzip")
	c.ask("POST", "/files?path=x", "x").want(400, "multipart")
	c.ask("POST", "/files?path=x", "x", "Content-Type", "multipart/form-data").want(400, "multipart")
	c.ask("POST", "/files?path=x", "--b\r\nno part", "Content-Type", "multipart/form-data; boundary=b").want(400, "")
	c.run(map[string]any{"code": "import os; os.symlink('/etc', 'etc'); os.mkfifo('fifo')"})
	c.ask("GET", "/files?path=etc/passwd", nil).want(404, "")
	c.ask("GET", "/files?path=fifo", nil).want(400, "no regular file")
	c.ask("POST", "/filesystem.Filesystem/Stat", map[string]any{"path": "etc"}).want(200, "SYMLINK")
	c.ask("POST", "/filesystem.Filesystem/Remove", map[string]any{"path": "etc"}).want(200, "{}")
	c.ask("POST", "/filesystem.Filesystem/Remove", map[string]any{"path": "/home/user"}).want(400, "invalid_argument")
	if out, _ := c.run(map[string]any{"code": "print(sorted(os.listdir()))"}); out != "['a', 'c', 'fifo']\n" {
		t.Errorf("the workspace holds %s", out)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// A sandbox is a session of the service: its quota holds, and who ends the one
// ends the other.
func TestQuota(t *testing.T) {
	c := serve(t, api.Settings{Quota: api.Quota{Sessions: 2}}, Settings{})
	c.sandbox()
	c.sandbox()
	c.ask("POST", "/sandboxes", map[string]any{}).want(429, "no more are allowed")
	c.ask("DELETE", "/sandboxes/"+c.id, nil).want(204, "")
	c.ask("POST", "/execute", map[string]any{"code": "1"}).want(502, "was not found")
	c.sandbox()
	for range executor.MaxContexts {
		c.ask("POST", "/contexts", map[string]any{}).want(200, "ctx")
	}
	c.ask("POST", "/contexts", map[string]any{}).want(400, "at most 16")
	c.run(map[string]any{"code": "1"})
}

// Who goes away interrupts its code; the sandbox lives on.
func TestClientGoesAway(t *testing.T) {
	c := serve(t, api.Settings{}, Settings{})
	c.sandbox()
	ctx, cancel := context.WithCancel(t.Context())
	resp, err := http.DefaultClient.Do(c.request(ctx, "POST", "/execute", map[string]any{"code": "kept = 1\nprint('go', flush=True)\nimport time\ntime.sleep(99)"}))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	resp.Body.Read(make([]byte, 100))
	began := time.Now()
	cancel()
	if out, _ := c.run(map[string]any{"code": "print(kept)"}); out != "1\n" || time.Since(began) > 10*time.Second {
		t.Errorf("%q after %s", out, time.Since(began))
	}
}

// A context whose maker went away before it was told is listed and can be removed, or
// is not there.
func TestContextOfAClientThatIsGone(t *testing.T) {
	log := new(lines)
	c := serve(t, api.Settings{Log: slog.New(slog.NewTextHandler(log, nil))}, Settings{})
	c.sandbox()
	for i := range executor.MaxContexts {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i+1)*500*time.Microsecond)
		if resp, err := http.DefaultClient.Do(c.request(ctx, "POST", "/contexts", map[string]any{})); err == nil {
			resp.Body.Close()
		}
		cancel()
	}
	for deadline := time.Now().Add(20 * time.Second); ; {
		var list []struct{ ID string }
		c.ask("GET", "/contexts", nil).want(200, "default").into(&list)
		for _, x := range list[1:] {
			c.ask("DELETE", "/contexts/"+x.ID, nil).want(204, "")
		}
		made := 0
		for made < executor.MaxContexts && c.ask("POST", "/contexts", map[string]any{}).status == 200 {
			made++
		}
		if made == executor.MaxContexts {
			break
		}
		if time.Now().After(deadline) { // those that were still being made are listed, or have ended
			t.Fatalf("only %d contexts can be made", made)
		}
	}
	c.run(map[string]any{"code": "1"})
	if told := log.String(); strings.Contains(told, "level=ERROR") {
		t.Errorf("who goes away is no fault of the service's:\n%s", told)
	}
}

func TestPaths(t *testing.T) {
	for in, want := range map[string]string{
		"x": "x", "/home/user/x": "x", "/home/user": "", "/home/user/": "", "~": "", "~/a/./b": "a/b", "/workspace/a//b": "a/b", ".": "", "": "",
	} {
		if got, err := inside(in); got != want || err != nil {
			t.Errorf("%q is %q (%v), not %q", in, got, err, want)
		}
	}
	for _, bad := range []string{"/", "/etc", "/home", "/home/users", "/home/user2/x", "/workspaces", "..", "a/..", "~x/../y", "/home/user/..", "a\x00"} {
		if got, err := inside(bad); err == nil {
			t.Errorf("%q is taken for %q", bad, got)
		}
	}
}

func FuzzPaths(f *testing.F) {
	for _, s := range []string{"/home/user/x", "..", "~/a", "/workspace//", "a/./b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := inside(s)
		if err != nil {
			return
		}
		for _, name := range strings.Split(p, "/") {
			if strings.HasPrefix(p, "/") || name == ".." || strings.ContainsRune(name, 0) {
				t.Errorf("%q is %q", s, p)
			}
		}
	})
}

// What a client did wrong is in the log with its reason, and as no error of the
// service.
func TestMistakesOfClientsInTheLog(t *testing.T) {
	log := new(lines)
	c := serve(t, api.Settings{Log: slog.New(slog.NewTextHandler(log, nil))}, Settings{})
	c.ask("POST", "/sandboxes", map[string]any{"network": map[string]any{"allowOut": []string{"x"}}}).want(400, "no network")
	c.ask("GET", "/sandboxes/none", nil).want(404, "")
	c.ask("GET", "/sandboxes", nil, "X-API-Key", "wrong").want(401, "")
	c.ask("POST", "/process.Process/Start", "{}").want(501, "")
	c.ask("GET", "/health", nil, "E2b-Sandbox-Id", "none").want(502, "")
	told := log.String()
	for _, part := range []string{`status=400 kind=invalid error="a cell has no network`, "status=404", "status=401", "status=501", "status=502"} {
		if !strings.Contains(told, part) {
			t.Errorf("the log does not say %s", part)
		}
	}
	if strings.Contains(told, "level=ERROR") || strings.Contains(told, "<nil>") || strings.Count(told, "\n") != 5 {
		t.Errorf("five mistakes are told as\n%s", told)
	}
}

// lines are what is logged, for who reads while it is.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
