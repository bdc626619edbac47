package warden

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"reflect"
	"syscall"
	"time"

	"github.com/cellblock/cellblock/executor"
)

// ErrAway says of a call that the connection to the warden ended in the middle of it.
var ErrAway = errors.New("the warden ended or restarts, and it is not known what came of this call")

// errLeaving is the warden's word that it has not begun a call, which the next one takes.
var errLeaving = errors.New("the warden restarts, and takes no more calls")

const (
	// gapTime bounds how long the next warden may take to be reached, and gapPause is
	// between two attempts where no socket unit holds the place of one: nothing tells
	// of a socket that is not there yet.
	gapTime  = 10 * time.Second
	gapPause = 50 * time.Millisecond
	// callWait is how long a call waits for the next warden.
	callWait = 30 * time.Second
	// noticeTime is how long after the end of one connection that of all is known.
	noticeTime = time.Second
)

// link is what a Client has of one warden: each is followed by that of the next.
type link struct {
	hold *conn
	lost chan struct{} // closed when the connection is
	next chan struct{} // closed when there is another link, or none will be
}

func newLink(hold *conn) *link {
	return &link{hold: hold, lost: make(chan struct{}), next: make(chan struct{})}
}

// keep stays connected: with the warden that comes after one that has ended, if it has
// all sessions that this process knows of. Else the Client ends.
func (c *Client) keep(l *link) {
	defer close(c.ended)
	for {
		_, _ = l.hold.receive() // nothing comes: it returns at the end
		close(l.lost)
		c.mu.Lock()
		idle, closed := c.idle, c.closed
		c.idle = nil
		c.mu.Unlock()
		for _, k := range idle {
			k.close()
		}
		l.hold.close()
		if closed {
			close(l.next)
			return
		}
		following, err := c.follower()
		c.mu.Lock()
		if err != nil || c.closed {
			c.why = err
			c.mu.Unlock()
			if following != nil {
				following.hold.close()
			}
			close(l.next)
			return
		}
		c.link = following
		c.mu.Unlock()
		close(l.next)
		l = following
	}
}

// follower is the link to the next warden.
func (c *Client) follower() (_ *link, err error) {
	k, err := c.redial()
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			k.close()
		}
	}()
	if !c.comes(k) {
		return nil, executor.ErrClosed
	}
	defer c.comes(nil)
	var held heldAnswer
	if _, err := c.on(c.life, k, &exchange{call: call{Method: "hold", Protocol: protocol, Asker: c.asker, Again: true}, answer: &held}); err != nil {
		return nil, fmt.Errorf("cannot use the next warden: %w", err)
	}
	c.mu.Lock()
	same := reflect.DeepEqual(held.Defaults, c.defaults)
	c.version = held.Version
	c.mu.Unlock()
	if !same {
		return nil, errors.New("the next warden has another configuration")
	}
	var all []madeAnswer
	if _, err := c.on(c.life, k, &exchange{call: call{Method: "list"}, answer: &all}); err != nil {
		return nil, fmt.Errorf("cannot ask the next warden for its sessions: %w", err)
	}
	there := map[string]bool{}
	for _, made := range all {
		there[made.Handle] = true
		if !c.knows(made.Handle) { // made, and nobody was told
			if _, err := c.on(c.life, k, &exchange{call: call{Method: "end", Session: made.Handle}}); err != nil {
				return nil, fmt.Errorf("cannot end a session of nobody's: %w", err)
			}
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for handle := range c.known {
		if !there[handle] {
			return nil, errors.New("the next warden lacks sessions of the one before")
		}
	}
	return newLink(k), nil
}

// comes notes the connection that is to be the next link's, to be closed with the
// Client; false: that has happened.
func (c *Client) comes(k *conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.coming = k
	return !c.closed
}

// redial connects to the next warden, when there is one.
func (c *Client) redial() (*conn, error) {
	ctx, cancel := context.WithTimeout(c.life, gapTime)
	defer cancel()
	pause := time.NewTicker(gapPause)
	defer pause.Stop()
	for {
		k, err := c.dial(ctx)
		if err == nil {
			return k, nil
		}
		select {
		case <-pause.C:
		case <-ctx.Done():
			return nil, err
		}
	}
}

func (l *link) isLost() bool {
	select {
	case <-l.lost:
		return true
	default:
		return false
	}
}

// now is the link that there is.
func (c *Client) now() *link {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.link
}

// await waits until there is another link than this.
func (c *Client) await(ctx context.Context, l *link) error {
	late := time.NewTimer(callWait)
	defer late.Stop()
	select {
	case <-l.next:
	case <-ctx.Done():
		return ctx.Err()
	case <-late.C:
		return ErrRestarting
	}
	if c.now() == l {
		return executor.ErrClosed // there is no other
	}
	return nil
}

// cut says what the end of a connection means for a call on it.
func (c *Client) cut(l *link, err error) error {
	late := time.NewTimer(noticeTime)
	defer late.Stop()
	select {
	case <-l.lost:
		return ErrAway
	case <-late.C:
		return err
	}
}

// isCut says whether an error is that of a connection whose other end is gone.
func isCut(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && !errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) // it had not read all
}

func (c *Client) knows(handle string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.known[handle]
}

func (c *Client) learn(handle string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known[handle] = true
}

func (c *Client) forget(handle string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.known, handle)
}
