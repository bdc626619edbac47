package mcp

import (
	"context"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

const initialize = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`

// Who may call, and from where, is as for the other routes.
func TestGuard(t *testing.T) {
	s := serve(t)
	for _, c := range []struct {
		name    string
		owner   string
		headers []string
		status  int
	}{
		{"no token", "", nil, 401},
		{"a wrong one", "", []string{"Authorization", "Bearer cb_x"}, 401},
		{"another name", "ann", []string{"Host", "evil.example"}, 403},
		{"another page", "ann", []string{"Origin", "http://evil.example"}, 403},
		{"another site", "ann", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"no JSON", "ann", []string{"Content-Type", "text/plain"}, 415},
		{"no such session", "ann", []string{"Mcp-Session-Id", "x"}, 404},
		{"all is well", "ann", nil, 200},
	} {
		status, text := s.ask(c.owner, "POST", "/mcp", initialize, append([]string{"Accept", "application/json, text/event-stream"}, c.headers...)...)
		if status != c.status {
			t.Errorf("%s: status %d instead of %d: %.300s", c.name, status, c.status, text)
		}
	}
	if status, _ := s.ask("ann", "PUT", "/mcp", "{}"); status != 405 {
		t.Errorf("PUT: status %d", status)
	}
	if status, _ := s.ask("ann", "POST", "/mcp", strings.Repeat(" ", 40<<20)); status != 413 {
		t.Errorf("40 MiB: status %d", status)
	}
}

// Each MCP session has a session of the owner's own, which ends with it.
func TestSessionsBelongToOwners(t *testing.T) {
	s := serve(t)
	ann, other, bob := s.connect("ann"), s.connect("ann"), s.connect("bob")
	for name, c := range map[string]*client{"ann": ann, "other": other, "bob": bob} {
		c.ok("run_python", args{"code": "who = '" + name + "'"})
	}
	for name, c := range map[string]*client{"ann": ann, "other": other, "bob": bob} {
		if got := c.ok("run_python", args{"code": "print(who)"}); got != name {
			t.Errorf("%s's variable is %q", name, got)
		}
	}
	if a, b := s.sessions("ann"), s.sessions("bob"); len(a) != 2 || len(b) != 1 {
		t.Errorf("sessions: %v and %v", a, b)
	}
	// Another's MCP session is none.
	const call = `{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":"run_python","arguments":{"code":"print(who)"}}}`
	headers := []string{"Accept", "application/json, text/event-stream", "Mcp-Session-Id", ann.ID(), "Mcp-Protocol-Version", "2025-06-18"}
	if status, text := s.ask("bob", "POST", "/mcp", call, headers...); status != 404 || strings.Contains(text, "ann") {
		t.Errorf("bob calls in ann's: %d %s", status, text)
	}
	if status, _ := s.ask("bob", "DELETE", "/mcp", "", headers...); status != 404 {
		t.Errorf("bob ends ann's: %d", status)
	}
	if status, _ := s.ask("bob", "GET", "/mcp", "", headers...); status != 404 {
		t.Errorf("bob listens to ann's: %d", status)
	}
	if status, text := s.ask("ann", "POST", "/mcp", call, headers...); status != 200 || !strings.Contains(text, "ann") {
		t.Errorf("ann calls in her own: %d %s", status, text)
	}
	ann.Close()
	if a := s.sessions("ann"); len(a) != 1 {
		t.Errorf("after one has ended: %v", a)
	}
}

// A session that the other routes end is made anew, and the model is told.
func TestSessionEndedElsewhere(t *testing.T) {
	s := serve(t)
	c := s.connect("ann")
	c.ok("run_python", args{"code": "x = 1"})
	if status, text := s.ask("ann", "DELETE", "/v1/sessions/"+s.sessions("ann")[0], ""); status != 204 {
		t.Fatalf("%d %s", status, text)
	}
	if got := c.run("x"); !strings.Contains(got, "NameError") || !strings.Contains(got, "this is a new session") {
		t.Errorf("it says %s", got)
	}
}

func TestQuotasApply(t *testing.T) {
	s := serve(t, "--quota-sessions", "2", "--max-timeout", "40s")
	one, two := s.connect("ann"), s.connect("ann")
	if status, text := s.ask("ann", "POST", "/v1/sessions", "{}"); status != 201 {
		t.Fatalf("%d %s", status, text)
	}
	one.ok("run_python", args{"code": "1"})
	if r := two.do("run_python", args{"code": "1"}); !r.IsError || !strings.Contains(textOf(r), "no more are allowed") {
		t.Errorf("a session too many: %s", textOf(r))
	}
	if r := one.do("run_python", args{"code": "1", "timeout_seconds": 41}); !r.IsError || !strings.Contains(textOf(r), "timeout_seconds") {
		t.Errorf("a timeout too long: %s", textOf(r))
	}
	_, err := sdk.NewClient(&sdk.Implementation{Name: "t", Version: "1"}, nil).Connect(t.Context(), &sdk.StreamableClientTransport{Endpoint: s.url("/mcp"), HTTPClient: s.http("ann"), MaxRetries: -1}, nil)
	if err == nil {
		t.Error("there is an MCP session too many")
	}
	s.connect("bob").ok("run_python", args{"code": "1"})
}

// A client that goes away without a word: its code goes on until its time is
// over, its session until it is idle.
func TestHTTPClientGoesAway(t *testing.T) {
	s := serve(t, "--idle", "1s")
	hc := s.http("ann")
	c := connect(t, &sdk.StreamableClientTransport{Endpoint: s.url("/mcp"), HTTPClient: hc})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go c.call(ctx, "run_python", args{"code": endless, "timeout_seconds": 2})
	c.until("begun")
	hc.Transport.(bearer).next.(*http.Transport).CloseIdleConnections()
	gone := &http.Client{Transport: dead{}}
	*hc = *gone // every further request of the client fails
	eventually(t, "the session has ended", func() bool { return len(s.sessions("ann")) == 0 })
}

// dead is a network that is down.
type dead struct{}

func (dead) RoundTrip(*http.Request) (*http.Response, error) { return nil, net.ErrClosed }

// What a running call's client deletes is stopped at once.
func TestDeleteStopsCode(t *testing.T) {
	s := serve(t)
	c := s.connect("ann")
	go c.call(t.Context(), "run_python", args{"code": endless, "timeout_seconds": 3000})
	c.until("begun")
	status, text := s.ask("ann", "DELETE", "/mcp", "", "Mcp-Session-Id", c.ID())
	if status != 204 {
		t.Errorf("%d %s", status, text)
	}
	if left := s.sessions("ann"); len(left) != 0 {
		t.Errorf("sessions: %v", left)
	}
}

// A service that is told to end does not wait for streams that never do.
func TestServiceEndsWithOpenStreams(t *testing.T) {
	s := serve(t, "--drain", "60s")
	c := s.connect("ann")
	c.ok("run_python", args{"code": "1"})
	s.stop()
	nothingLeft(t, s.dir)
}

// On the Unix socket the kernel says who calls.
func TestUnixSocket(t *testing.T) {
	s := serve(t)
	hc := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(s.dir, "s"))
	}}}
	c := connect(t, &sdk.StreamableClientTransport{Endpoint: "http://cellblock/mcp", HTTPClient: hc})
	defer c.Close()
	if got := c.ok("run_python", args{"code": "print(6*7)"}); got != "42" {
		t.Errorf("it said %q", got)
	}
}

// A connection that breaks in the middle of a call loses nothing: the answer is
// fetched by whoever has the id of the last event.
func TestAnswerAfterABrokenConnection(t *testing.T) {
	s := serve(t)
	c := s.connect("ann")
	c.ok("run_python", args{"code": "x = 41"})
	body := `{"jsonrpc":"2.0","id":5000,"method":"tools/call","params":{"name":"run_python","_meta":{"progressToken":"p"},"arguments":{"code":"import os, time\nprint('begun', flush=True)\nwhile not os.path.exists('go'): time.sleep(0.01)\nprint(x + 1)"}}}`
	r, err := http.NewRequest("POST", s.url("/mcp"), strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"Content-Type": "application/json", "Accept": "application/json, text/event-stream", "Mcp-Session-Id": c.ID(), "Mcp-Protocol-Version": "2025-11-25"} {
		r.Header.Set(name, value)
	}
	resp, err := s.http("ann").Do(r)
	if err != nil {
		t.Fatal(err)
	}
	last, seen := "", ""
	for buf := make([]byte, 4096); !strings.Contains(seen, "begun"); {
		n, err := resp.Body.Read(buf)
		if err != nil {
			t.Fatalf("%v: %s", err, seen)
		}
		seen += string(buf[:n])
	}
	for line := range strings.Lines(seen) {
		if id, ok := strings.CutPrefix(line, "id: "); ok {
			last = strings.TrimSpace(id)
		}
	}
	resp.Body.Close()
	c.ok("upload_file", args{"path": "go", "text": ""})
	r, err = http.NewRequest("GET", s.url("/mcp"), nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"Accept": "text/event-stream", "Mcp-Session-Id": c.ID(), "Last-Event-ID": last, "Mcp-Protocol-Version": "2025-11-25"} {
		r.Header.Set(name, value)
	}
	resp, err = s.http("ann").Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	rest, err := io.ReadAll(resp.Body)
	if err != nil || !strings.Contains(string(rest), `42`) || !strings.Contains(string(rest), `"id":5000`) {
		t.Errorf("after %q: %v %d %.600s", last, err, resp.StatusCode, rest)
	}
}
