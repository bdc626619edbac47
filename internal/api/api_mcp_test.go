package api

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

const initialize = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`

// initialize asks for an MCP session.
func (c *client) initialize(body io.Reader) *http.Request {
	return c.request(context.Background(), "POST", mcpPath, body, "Content-Type", "application/json", "Accept", "application/json, text/event-stream")
}

// A body that comes slowly takes one place of its caller's, and holds up nobody.
func TestSlowBodiesHoldUpNoSession(t *testing.T) {
	c := serve(t, Settings{Quota: Quota{Sessions: 2}})
	body, slow := io.Pipe()
	first := make(chan int, 1)
	go func() {
		r, err := c.http.Do(c.initialize(body))
		if err != nil {
			t.Error(err)
			first <- 0
			return
		}
		r.Body.Close()
		first <- r.StatusCode
	}()
	// Written: it is on its way, and the rest of it is not.
	if _, err := io.WriteString(slow, initialize[:20]); err != nil {
		t.Fatal(err)
	}
	owner := c.server.keeper.of("uid:0")
	x, err := c.server.mcp.of(owner)
	if err != nil {
		t.Fatal(err)
	}
	opening := func() int {
		x.mu.Lock()
		defer x.mu.Unlock()
		return x.opening
	}
	for deadline := time.Now().Add(10 * time.Second); opening() != 1; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the first is not being opened")
		}
	}
	ask := func() *http.Response {
		t.Helper()
		r, err := c.http.Do(c.initialize(strings.NewReader(initialize)))
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		return r
	}
	second := ask()
	if second.StatusCode != 200 {
		t.Errorf("the second: %s", second.Status)
	}
	if r := ask(); r.StatusCode != 429 {
		t.Errorf("a third, beside one and one that is being opened: %s", r.Status)
	}
	io.WriteString(slow, initialize[20:])
	slow.Close()
	if status := <-first; status != 200 {
		t.Errorf("the first: status %d", status)
	}
	c.ask("DELETE", mcpPath, nil, "Mcp-Session-Id", second.Header.Get("Mcp-Session-Id")).want(204)
	// What was refused, cut or answered has given its place back.
	c.ask("POST", mcpPath, strings.NewReader("{"), "Content-Type", "application/json", "Accept", "application/json, text/event-stream").want(400)
	if r := ask(); r.StatusCode != 200 {
		t.Errorf("one more, after one has ended: %s", r.Status)
	}
	if r := ask(); r.StatusCode != 429 {
		t.Errorf("one too many: %s", r.Status)
	}
}
