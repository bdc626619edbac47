package api

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/internal/testkit"
	"github.com/cellblock/cellblock/internal/warden/wardentest"
)

// client speaks to a server of the test's own, with real cells, over a real
// socket.
type client struct {
	t      testing.TB
	server *Server
	socket string
	http   *http.Client
}

func serve(t testing.TB, s Settings, of ...executor.Config) *client {
	t.Helper()
	testkit.Require(t, testkit.Root, testkit.MemoryController, testkit.Python(""))
	dir, err := os.MkdirTemp("", "cb") // short: the path of a socket is
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s.Spool = dir
	cfg := executor.Config{Template: true} // as `serve` does
	if len(of) > 0 {
		cfg = of[0]
		cfg.Template = true
	}
	cfg.RuntimeDir = cmp.Or(cfg.RuntimeDir, filepath.Join(dir, "run"))
	s.Engine = wardentest.Engine(t, cfg)
	server, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	c := &client{t: t, server: server, socket: l.Addr().String()}
	c.http = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", c.socket)
	}}}
	t.Cleanup(func() {
		c.http.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return c
}

// reply is an answer that was read.
type reply struct {
	t      testing.TB
	what   string
	status int
	header http.Header
	body   []byte
}

// ask sends a request; a body that is no io.Reader goes as JSON.
func (c *client) ask(method, path string, body any, headers ...string) *reply {
	c.t.Helper()
	r := c.request(context.Background(), method, path, body, headers...)
	resp, err := c.http.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return &reply{c.t, method + " " + shorten(path), resp.StatusCode, resp.Header, b}
}

func (c *client) request(ctx context.Context, method, path string, body any, headers ...string) *http.Request {
	c.t.Helper()
	var content io.Reader
	kind := ""
	switch b := body.(type) {
	case nil:
	case io.Reader:
		content, kind = b, octets
	default:
		text, err := json.Marshal(b)
		if err != nil {
			c.t.Fatal(err)
		}
		content, kind = bytes.NewReader(text), "application/json"
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://cellblock"+path, content)
	if err != nil {
		c.t.Fatal(err)
	}
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		}
	}
	return r
}

// want fails the test unless the answer has the status.
func (r *reply) want(status int) *reply {
	r.t.Helper()
	if r.status != status {
		r.t.Fatalf("%s: status %d instead of %d: %.500s", r.what, r.status, status, r.body)
	}
	return r
}

// problem fails the test unless the answer is a problem of the kind.
func (r *reply) problem(k Kind) Problem {
	r.t.Helper()
	var p Problem
	if err := json.Unmarshal(r.body, &p); err != nil || p.Kind != k {
		r.t.Fatalf("%s: status %d, kind %q instead of %q: %.500s", r.what, r.status, p.Kind, k, r.body)
	}
	of, known := kinds[p.Kind]
	if !known || p.Status != r.status || p.Title != of.title || p.Type != "urn:cellblock:problem:"+string(k) || p.Detail == "" {
		r.t.Errorf("%s: status %d, and the problem is %+v", r.what, r.status, p)
	}
	if kind := r.header.Get("Content-Type"); kind != "application/problem+json" {
		r.t.Errorf("%s: a problem of type %q", r.what, kind)
	}
	if id := r.header.Get("X-Request-Id"); id == "" || p.Instance != "urn:cellblock:request:"+id {
		r.t.Errorf("%s: request %q, instance %q", r.what, id, p.Instance)
	}
	return p
}

// refused fails the test unless the answer is a problem of the kind, with a status of its own.
func (r *reply) refused(status int, k Kind) *reply {
	r.t.Helper()
	var p Problem
	if err := json.Unmarshal(r.body, &p); err != nil || r.status != status || p.Status != status || p.Kind != k || p.Detail == "" ||
		r.header.Get("Content-Type") != "application/problem+json" {
		r.t.Errorf("%s: status %d instead of %d: %v %.500s", r.what, r.status, status, r.header, r.body)
	}
	return r
}

func decode[T any](r *reply) T {
	r.t.Helper()
	var v T
	d := json.NewDecoder(bytes.NewReader(r.body))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		r.t.Fatalf("%s: %v: %.500s", r.what, err, r.body)
	}
	return v
}

// session makes a session and returns its path.
func (c *client) session(body NewSession) string {
	c.t.Helper()
	info := decode[SessionInfo](c.ask("POST", "/v1/sessions", body).want(201))
	return "/v1/sessions/" + info.ID
}

// run executes code in a session.
func (c *client) run(path, code string) executor.Result {
	c.t.Helper()
	return decode[executor.Result](c.ask("POST", path+"/execute", Execution{Code: code}).want(200))
}

func TestWhatIsNotThere(t *testing.T) {
	c := serve(t, Settings{})
	c.ask("GET", "/nothing", nil).problem(KindNotFound)
	c.ask("GET", "/v1/sessions?x=1", nil).problem(KindInvalid)
	c.ask("GET", "/v1/sessions/none", nil).problem(KindNotFound)
}

// What is there and takes another method says which.
func TestMethodsThatAreNotTaken(t *testing.T) {
	c := serve(t, Settings{})
	for _, row := range []struct{ method, path, allow string }{
		{"GET", "/v1/execute", "POST"},
		{"OPTIONS", "/v1/execute", "POST"},
		{"PATCH", "/v1/sessions", "GET, HEAD, POST"},
		{"POST", "/v1/sessions/none", "DELETE, GET, HEAD"},
		{"GET", "/v1/sessions/none/execute", "POST"},
		{"POST", "/v1/sessions/none/files/a/b", "DELETE, GET, HEAD, PUT"},
		{"DELETE", "/healthz", "GET, HEAD"},
		{"DELETE", "/openapi.json", "GET, HEAD"},
	} {
		r := c.ask(row.method, row.path, nil).refused(405, KindInvalid)
		if got := r.header.Get("Allow"); got != row.allow {
			t.Errorf("%s %s: Allow: %s, and not %s", row.method, row.path, got, row.allow)
		}
	}
	c.ask("HEAD", "/v1/execute", nil).want(405)
	c.ask("GET", "/v1/execute/", nil).problem(KindNotFound)
}

// A caller gets a status that says what its mistake was.
func TestBodies(t *testing.T) {
	c := serve(t, Settings{MaxBody: 1 << 20})
	for _, row := range []struct {
		name, kind, body string
		status           int
		want             Kind
	}{
		{"no JSON", "application/json", "{", 400, KindInvalid},
		{"nothing", "application/json", " ", 400, KindInvalid},
		{"a list", "application/json", "[]", 400, KindInvalid},
		{"an unknown field", "application/json", `{"code":"1","nope":1}`, 400, KindInvalid},
		{"a wrong type", "application/json", `{"code":1}`, 400, KindInvalid},
		{"no code", "application/json", `{}`, 400, KindInvalid},
		{"text", "text/plain", `{"code":"1"}`, 415, KindInvalid},
		{"a form", "application/x-www-form-urlencoded", `code=1`, 415, KindInvalid},
		{"deeply nested", "application/json", `{"code":` + strings.Repeat("[", 500_000), 400, KindInvalid},
		{"too large", "application/json", `{"code":"` + strings.Repeat("#", 2<<20) + `"}`, 413, KindTooLarge},
		{"bad base64", "application/json", `{"code":"1","input_files":[{"name":"a","content_base64":"%"}]}`, 400, KindInvalid},
		{"a time that is none", "application/json", `{"code":"1","timeout":-1}`, 400, KindInvalid},
		{"a time that is too long", "application/json", `{"code":"1","timeout":1e9}`, 400, KindInvalid},
		{"a size that is none", "application/json", `{"code":"1","limits":{"memory":"much"}}`, 400, KindInvalid},
		{"too little memory", "application/json", `{"code":"1","limits":{"memory":"1M"}}`, 400, KindInvalid},
		{"more memory than there is", "application/json", `{"code":"1","limits":{"memory":"1000T"}}`, 400, KindInvalid},
		{"a root that is not there", "application/json", `{"code":"1","root":"no-such-root"}`, 400, KindInvalid},
		{"a module that is none", "application/json", `{"code":"1","preload":["os; print(1)"]}`, 400, KindInvalid},
		{"a bad session id", "application/json", `{"code":"1","session_id":"../../x"}`, 400, KindInvalid},
	} {
		t.Run(row.name, func(t *testing.T) {
			for _, chunked := range []bool{false, true} {
				var body io.Reader = strings.NewReader(row.body)
				if chunked {
					body = io.MultiReader(body) // of unknown length
				}
				r := c.ask("POST", "/v1/execute", body, "Content-Type", row.kind).want(row.status)
				var p Problem
				if err := json.Unmarshal(r.body, &p); err != nil || p.Kind != row.want || len(r.body) > 4096 {
					t.Errorf("chunked %t: %.300s", chunked, r.body)
				}
			}
		})
	}
}
