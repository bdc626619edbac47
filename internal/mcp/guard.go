package mcp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// guard stands around every request: there is a bound of them; a panic is a fault of ours, and costs one
// call and not all conversations; and what the SDK says of a wrong argument does
// not hold all of the argument.
func (s *Server) guard(next sdk.MethodHandler) sdk.MethodHandler {
	return func(ctx context.Context, method string, req sdk.Request) (result sdk.Result, err error) {
		defer func() {
			if p := recover(); p != nil {
				s.options.Log.Error("BUG: an MCP handler panicked", "method", method, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
				result, err = nil, errors.New("the server failed; its log says more")
			}
		}()
		if takesRoom(req) {
			defer s.calls.Add(-1)
			if s.calls.Add(1) > mostCalls {
				return nil, fmt.Errorf("%d calls are under way, and no more are allowed: wait for some, or interrupt them", mostCalls)
			}
		}
		result, err = next(ctx, method, req)
		if r, ok := result.(*sdk.CallToolResult); ok && err == nil && r.IsError && r.StructuredContent == nil {
			for _, c := range r.Content {
				if text, ok := c.(*sdk.TextContent); ok {
					text.Text, _ = trim(text.Text, 3*shortBytes, shortBytes)
				}
			}
		}
		return result, err
	}
}

// mostCalls are under way at once in all conversations of a server.
const mostCalls = 64

// takesRoom says whether a request may hold much memory, or take long.
func takesRoom(req sdk.Request) bool {
	switch p := req.GetParams().(type) {
	case *sdk.CallToolParamsRaw:
		return p.Name != "interrupt" && p.Name != "reset"
	case *sdk.ReadResourceParams:
		return true
	}
	return false
}

// QuietLog is for the SDK, which tells of every session: its information is
// somebody else's detail.
func QuietLog(log *slog.Logger) *slog.Logger { return slog.New(quiet{log.Handler()}) }

type quiet struct{ slog.Handler }

func (q quiet) Enabled(ctx context.Context, l slog.Level) bool {
	if l < slog.LevelWarn {
		l = slog.LevelDebug
	}
	return q.Handler.Enabled(ctx, l)
}
