package warden

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"sync"
	"time"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/rootfs"
)

// Client is an Engine that asks a warden. Its sessions last until they are closed,
// or the warden ends without handing them over to the next. Calls wait for that one.
type Client struct {
	path  string
	ended chan struct{} // closed when the warden is gone
	life  context.Context
	end   context.CancelFunc

	// asker is its name to a warden, and to the one after it: what is made, or was, under
	// another is somebody's who is gone.
	asker string

	mu       sync.Mutex
	version  string
	defaults Defaults
	link     *link
	coming   *conn           // of the link after it
	why      error           // of ended
	known    map[string]bool // handles of sessions
	idle     []*conn
	closed   bool
}

// mostIdle is how many connections are kept for the next call.
const mostIdle = 32

// Dial connects to the warden at a Unix socket, and waits until it can build cells,
// and until the process that had its sessions before is gone.
func Dial(ctx context.Context, path string) (*Client, error) {
	c := &Client{path: path, asker: newHandle(), ended: make(chan struct{}), known: map[string]bool{}}
	k, err := c.dial(ctx)
	if err != nil {
		return nil, err
	}
	var held heldAnswer
	if _, err := c.on(ctx, k, &exchange{call: call{Method: "hold", Protocol: protocol, Asker: c.asker}, answer: &held}); err != nil {
		k.close()
		return nil, fmt.Errorf("cannot use the warden at %s: %w", path, err)
	}
	c.version, c.defaults, c.link = held.Version, held.Defaults, newLink(k)
	c.life, c.end = context.WithCancel(context.Background())
	go c.keep(c.link)
	return c, nil
}

func (c *Client) dial(ctx context.Context) (*conn, error) {
	socket, err := new(net.Dialer).DialContext(ctx, "unix", c.path)
	if err != nil {
		todo := "start cellblock-warden --warden " + c.path + " (the package: systemctl start cellblock-warden), or name the socket of one that runs"
		if errors.Is(err, fs.ErrPermission) {
			todo = fmt.Sprintf("its --warden-user must be this process's user, uid %d", os.Geteuid())
		}
		return nil, fmt.Errorf("no warden answers at %s: %w: %s", c.path, err, todo)
	}
	return newConn(socket.(*net.UnixConn)), nil
}

// Ended is closed when the warden is gone, and not all sessions are there in the next,
// or when the Client was closed.
func (c *Client) Ended() <-chan struct{} { return c.ended }

// Why is what ended it, only after Ended is closed; nil where it was closed.
func (c *Client) Why() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.why
}

// Version is that of the warden's program.
func (c *Client) Version() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.version
}

// exchange is one call with what belongs to it.
type exchange struct {
	call
	files          []*os.File // to go with it
	answer         any        // decoded into; nil: not wanted
	stdout, stderr func([]byte)
}

// ask makes a call on a connection of its own.
func (c *Client) ask(ctx context.Context, x *exchange) error {
	l, k, err := c.asked(ctx, x)
	if k != nil {
		c.give(l, k)
	}
	return err
}

// asked is ask, and gives the connection, if it can serve another call. A call that a
// warden which is leaving has not begun is made to the next.
func (c *Client) asked(ctx context.Context, x *exchange) (*link, *conn, error) {
	for {
		l := c.now()
		if l.isLost() {
			if err := c.await(ctx, l); err != nil {
				return l, nil, err
			}
			continue
		}
		k, err := c.take(ctx)
		if isCut(err) && errors.Is(c.cut(l, err), ErrAway) {
			continue // nothing was sent
		}
		if err != nil {
			return l, nil, err
		}
		again, err := c.on(ctx, k, x)
		if !again {
			k.close()
			k = nil
		}
		switch {
		case errors.Is(err, errLeaving):
			if k != nil {
				k.close()
			}
			if err := c.await(ctx, l); err != nil {
				return l, nil, err
			}
		case isCut(err):
			return l, nil, c.cut(l, err)
		default:
			return l, k, err
		}
	}
}

func (c *Client) take(ctx context.Context) (*conn, error) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil, executor.ErrClosed
	}
	if n := len(c.idle); n > 0 {
		k := c.idle[n-1]
		c.idle = c.idle[:n-1]
		c.mu.Unlock()
		return k, nil
	}
	c.mu.Unlock()
	return c.dial(ctx)
}

// give keeps a connection for the next call on the same link.
func (c *Client) give(l *link, k *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.link != l || l.isLost() || len(c.idle) >= mostIdle {
		k.close()
		return
	}
	c.idle = append(c.idle, k)
}

// cancelTime is how long a call that was cancelled may take to end.
const cancelTime = 30 * time.Second

// on makes a call on a connection, and says whether that can serve another.
func (c *Client) on(ctx context.Context, k *conn, x *exchange) (again bool, err error) {
	for rest := x.files; len(rest) > 0; {
		var fds []int
		for _, f := range rest[:min(len(rest), maxFDs)] {
			fds = append(fds, int(f.Fd()))
		}
		if err := k.send(frameGiven, nil, fds...); err != nil {
			return false, c.failed(err)
		}
		rest = rest[len(fds):]
	}
	if err := k.sendJSON(frameCall, x.call); err != nil {
		return false, c.failed(err)
	}
	stop := context.AfterFunc(ctx, func() {
		if errors.Is(context.Cause(ctx), ErrDetach) {
			k.socket.SetReadDeadline(past) // the code goes on
			return
		}
		if k.send(frameCancel, nil) == nil {
			k.socket.SetReadDeadline(time.Now().Add(cancelTime))
		}
	})
	again, err = c.follow(k, x)
	if !stop() {
		again = false // a cancel may yet be sent on it
		if errors.Is(context.Cause(ctx), ErrDetach) && err != nil {
			err = ErrDetach
		}
	}
	return again, err
}

// follow takes what comes until the call is over.
func (c *Client) follow(k *conn, x *exchange) (again bool, err error) {
	var parts []byte
	for {
		f, err := k.receive()
		if err != nil {
			return false, c.failed(err)
		}
		switch f.kind {
		case frameStdout:
			if x.stdout != nil {
				x.stdout(f.bytes)
			}
		case frameStderr:
			if x.stderr != nil {
				x.stderr(f.bytes)
			}
		case frameFailure:
			var told failure
			if err := json.Unmarshal(f.bytes, &told); err != nil {
				return false, c.failed(err)
			}
			// One that found no descriptor has closed the connection.
			return told.Class != classNoRoom, told.err()
		case framePart:
			parts = append(parts, f.bytes...)
		case frameAnswer:
			if x.answer == nil {
				return true, nil
			}
			if err := json.Unmarshal(append(parts, f.bytes...), x.answer); err != nil {
				return false, c.failed(err)
			}
			return true, nil
		default:
			return false, c.failed(fmt.Errorf("a message of kind %d", f.kind))
		}
	}
}

func (c *Client) failed(err error) error {
	if c.isOver() {
		return executor.ErrClosed // and the session with the warden
	}
	return fmt.Errorf("the warden at %s does not answer as it should: %w", c.path, err)
}

func (c *Client) isOver() bool {
	select {
	case <-c.ended:
		return true
	default:
		return false
	}
}

// Ready implements Engine. The warden was ready when Dial returned.
func (c *Client) Ready(context.Context) error { return nil }

// Defaults implements Engine.
func (c *Client) Defaults() Defaults {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.defaults
}

// Lasting implements Engine.
func (c *Client) Lasting() bool { return true }

// NewSession implements Engine.
func (c *Client) NewSession(ctx context.Context, spec Spec) (Session, error) {
	var made madeAnswer
	if err := c.ask(ctx, &exchange{call: call{Method: "make", Asker: c.asker, Spec: &spec}, answer: &made}); err != nil {
		if errors.Is(err, executor.ErrClosed) && !c.isOver() {
			err = ErrRestarting // it was made for who asked before the restart
		}
		return nil, err
	}
	return c.session(made), nil
}

// Found implements Engine.
func (c *Client) Found(ctx context.Context) ([]Found, error) {
	var all []madeAnswer
	if err := c.ask(ctx, &exchange{call: call{Method: "list"}, answer: &all}); err != nil {
		return nil, err
	}
	var found []Found
	for _, made := range all {
		found = append(found, Found{made.Spec, c.session(made), made.Status})
	}
	return found, nil
}

// Validate implements Engine.
func (c *Client) Validate(ctx context.Context, code string) (bool, []executor.Issue, error) {
	var v validAnswer
	err := c.ask(ctx, &exchange{call: call{Method: "validate", Code: code}, answer: &v})
	return v.Valid, v.Issues, err
}

// Root implements Engine.
func (c *Client) Root(ctx context.Context) (*rootfs.Root, error) {
	var root rootfs.Root
	if err := c.ask(ctx, &exchange{call: call{Method: "root"}, answer: &root}); err != nil {
		return nil, err
	}
	return &root, nil
}

// Renew implements Engine.
func (c *Client) Renew(ctx context.Context) error {
	return c.ask(ctx, &exchange{call: call{Method: "renew"}})
}

// Close implements Engine.
func (c *Client) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	open := []*conn{c.link.hold}
	if c.coming != nil {
		open = append(open, c.coming)
	}
	c.mu.Unlock()
	c.end()
	for _, k := range open {
		_ = errors.Join(k.socket.CloseRead(), k.socket.CloseWrite()) // it may have ended
	}
	<-c.ended
	return nil
}
