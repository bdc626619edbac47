package lane

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
)

// Config says what is answered, and by whom. All fields are needed.
type Config struct {
	// Handler answers, as that of the http.Server.
	Handler http.Handler
	// Context is as http.Server.ConnContext.
	Context func(context.Context, net.Conn) context.Context
	// Short says whether a request is answered with one piece, and soon as a rule.
	Short func(*http.Request) bool
	// FirstTime is how long the first request of a connection is waited for,
	// IdleTime each later one, and WriteTime how long a client may take for an answer.
	FirstTime, IdleTime, WriteTime time.Duration
	Log                            *slog.Logger
}

// Lanes are the connections under way. It is safe for concurrent use, and cannot be
// used again after Shutdown.
type Lanes struct {
	Config

	mu     sync.Mutex
	open   map[*conn]bool // whether it answers a request now
	ending bool
	busy   sync.WaitGroup // those that answer
}

// New returns Lanes without a connection.
func New(c Config) *Lanes { return &Lanes{Config: c, open: map[*conn]bool{}} }

// Listen returns a listener for the http.Server: it accepts what is not for a lane.
// Connections of l that are over no Unix socket are not.
func (l *Lanes) Listen(inner net.Listener) net.Listener {
	x := &listener{Listener: inner, lanes: l, rest: make(chan accepted), closed: make(chan struct{})}
	go x.accept()
	return x
}

// Shutdown closes the connections on which no request is answered, and waits for
// the answers of the others until ctx ends.
func (l *Lanes) Shutdown(ctx context.Context) error {
	l.mu.Lock()
	l.ending = true
	for c, answers := range l.open {
		if !answers {
			c.net.Close()
		}
	}
	l.mu.Unlock()
	answered := make(chan struct{})
	go func() {
		l.busy.Wait()
		close(answered)
	}()
	select {
	case <-answered:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close closes every connection.
func (l *Lanes) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ending = true
	for c := range l.open {
		c.net.Close()
	}
}

// enter notes whether a connection answers a request from now on. It may go on if
// the Lanes do not end, and if they do only to its answer's end.
func (l *Lanes) enter(c *conn, answers bool) (goOn bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[c] {
		l.busy.Done()
	}
	if l.ending {
		delete(l.open, c)
		return false
	}
	if answers {
		l.busy.Add(1)
	}
	l.open[c] = answers
	return true
}

// leave forgets a connection.
func (l *Lanes) leave(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[c] {
		l.busy.Done()
	}
	delete(l.open, c)
}

func (l *Lanes) isEnding() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ending
}

// listener gives the http.Server the connections that are not for a lane, or no
// more.
type listener struct {
	net.Listener
	lanes  *Lanes
	rest   chan accepted
	once   sync.Once
	closed chan struct{}
}

type accepted struct {
	conn net.Conn
	err  error
}

func (l *listener) accept() {
	for {
		c, err := l.Listener.Accept()
		if socket := unixConn(c); socket != nil {
			if raw, rerr := socket.SyscallConn(); rerr == nil {
				go newConn(l, c, raw).serve()
				continue
			}
		}
		if !l.give(accepted{c, err}) {
			return
		}
	}
}

// give has the http.Server accept something, and says whether it still does.
func (l *listener) give(a accepted) bool {
	select {
	case l.rest <- a:
		return true
	case <-l.closed:
		if a.conn != nil {
			a.conn.Close()
		}
		return false
	}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case a := <-l.rest:
		return a.conn, a.err
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// unixConn is the socket below what a listener accepted; nil if it is of another kind.
func unixConn(c net.Conn) syscall.Conn {
	switch c := c.(type) {
	case *net.UnixConn:
		return c
	case interface{ NetConn() net.Conn }:
		return unixConn(c.NetConn())
	}
	return nil
}
