package mcp

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// Options say what a Server is.
type Options struct {
	// Version is told to clients.
	Version string
	// Open makes the sandbox of a new conversation. It returns at once.
	Open func() Sandbox
	// Limits are those of the sandboxes, for the instructions.
	Limits Limits
	// Preparing says what sandboxes still wait for, for people to read; "" or
	// nil: nothing.
	Preparing func() string
	// Log gets what happens; nil: nothing.
	Log *slog.Logger
}

// Server has the tools, and the conversations that use them. It is safe for
// concurrent use.
type Server struct {
	options Options
	sdk     *sdk.Server

	calls   atomic.Int64  // under way
	kept    atomic.Int64  // bytes of results
	reading chan struct{} // holds a token for each resource that is read

	mu            sync.Mutex
	conversations map[*sdk.ServerSession]*conversation
	ending        sync.WaitGroup
}

// New makes a Server.
func New(o Options) *Server {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Preparing == nil {
		o.Preparing = func() string { return "" }
	}
	s := &Server{options: o, reading: make(chan struct{}, mostReadAtOnce), conversations: map[*sdk.ServerSession]*conversation{}}
	s.sdk = sdk.NewServer(&sdk.Implementation{Name: "cellblock", Title: "Cellblock", Version: o.Version}, &sdk.ServerOptions{
		Instructions: instructions(o.Limits),
		Capabilities: &sdk.ServerCapabilities{}, // what is added below, and no logging
		Logger:       QuietLog(o.Log),
	})
	s.sdk.AddReceivingMiddleware(s.guard)
	s.addRun()
	s.addFiles()
	s.addControl()
	s.addLookups()
	s.addResources()
	return s
}

// SDK is the server for a transport.
func (s *Server) SDK() *sdk.Server { return s.sdk }

// ServeStdio answers one client until it goes away or ctx ends.
func (s *Server) ServeStdio(ctx context.Context, in io.ReadCloser, out io.WriteCloser) error {
	// Run waits for the calls under way.
	stop := context.AfterFunc(ctx, s.endAll)
	defer stop()
	err := s.sdk.Run(ctx, &sdk.IOTransport{Reader: in, Writer: out, MaxLineLength: mostLine})
	if ctx.Err() != nil || errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// mostLine bounds one message over stdio.
const mostLine = 64 << 20

// conversation is that of a session, made with its first call.
func (s *Server) conversation(session *sdk.ServerSession) *conversation {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.conversations[session]
	if c == nil {
		c = newConversation(s.options.Open(), &s.kept)
		s.conversations[session] = c
		s.ending.Go(func() {
			_ = session.Wait() // why it ended is all the same
			s.forget(session, c)
		})
	}
	return c
}

func (s *Server) forget(session *sdk.ServerSession, c *conversation) {
	if err := c.end(); err != nil {
		s.options.Log.Error("a conversation did not end cleanly", "error", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conversations, session)
}

// End stops what the conversation of that MCP session runs and ends its
// sandbox, ahead of the session itself.
func (s *Server) End(id string) error {
	s.mu.Lock()
	var found *conversation
	for session, c := range s.conversations {
		if session.ID() == id {
			found = c
		}
	}
	s.mu.Unlock()
	if found == nil {
		return nil
	}
	return found.end()
}

// endAll stops what all conversations run, and ends their sandboxes.
func (s *Server) endAll() {
	s.mu.Lock()
	all := slices.Collect(maps.Values(s.conversations))
	s.mu.Unlock()
	for _, c := range all {
		_ = c.end() // told by whoever forgets it
	}
}

// Sessions is how many MCP sessions have begun: a client has said who it is.
func (s *Server) Sessions() int {
	n := 0
	for session := range s.sdk.Sessions() {
		if session.InitializeParams() != nil {
			n++
		}
	}
	return n
}

// Close ends all sessions, each when its calls are done, and returns when
// nothing of their sandboxes is left.
func (s *Server) Close() {
	var closing sync.WaitGroup
	for session := range s.sdk.Sessions() {
		closing.Go(func() { session.Close() })
	}
	closing.Wait()
	s.ending.Wait()
}
