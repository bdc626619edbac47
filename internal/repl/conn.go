package repl

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/cellblock/cellblock/internal/weaken"
)

// Conn is the host's end of a REPL's control channel. It is not safe for
// concurrent use, except for Close. After an error that is neither a context's
// nor ErrTooLarge it is broken, and every later call returns that error.
type Conn struct {
	conn    *channel
	buf     []byte // what has arrived of the next frame
	pending bool   // a request is without its reply
	seq     uint64 // of the last request
	broken  error
}

// FromFile returns a Conn over a stream socket's file, which it closes.
func FromFile(f *os.File) (*Conn, error) {
	ch, err := newChannel(f)
	if err != nil {
		return nil, err
	}
	return &Conn{conn: ch}, nil
}

// Close closes the channel. The REPL then ends by itself, unless its code
// keeps it from that.
func (c *Conn) Close() error { return c.conn.Close() }

// File is the channel, for a process that takes it over, and stays the Conn's. It is an
// error where something of a conversation is still to come, or came unasked.
func (c *Conn) File() (*os.File, error) {
	switch {
	case c.broken != nil:
		return nil, c.broken
	case c.pending:
		return nil, errors.New("a request is without its reply")
	case len(c.buf) > 0:
		return nil, c.fail(fmt.Errorf("%w: %d bytes that nobody asked for", ErrProtocol, len(c.buf)))
	}
	return c.conn.file, nil
}

// Ready waits for the REPL's first frame.
func (c *Conn) Ready(ctx context.Context) (Hello, error) {
	claims, err := c.awaitSoon(startPatience)
	if errors.Is(err, context.DeadlineExceeded) {
		claims, err = c.await(ctx)
		c.conn.rest()
	}
	if err != nil {
		return Hello{}, err
	}
	if claims.PID <= 0 || len(claims.Version) > 32 {
		return Hello{}, c.fail(fmt.Errorf("%w: the first frame is not a greeting", ErrProtocol))
	}
	return claims.Hello, nil
}

// Exec runs code and waits for the reply. When ctx ends first its error is
// returned and the code goes on: Interrupt it, Await its reply, or kill it.
func (c *Conn) Exec(ctx context.Context, r Request) (Reply, error) {
	frame, err := encodeRequest(c.newSeq(), r)
	if err != nil {
		return Reply{}, err
	}
	if err := c.send(ctx, frame); err != nil {
		return Reply{}, err
	}
	return c.Await(ctx)
}

// Pending says whether a request was sent whose reply is still to come. An Exec
// whose context ended may have sent nothing.
func (c *Conn) Pending() bool { return c.pending }

// Await waits for the reply to an Exec whose context ended.
func (c *Conn) Await(ctx context.Context) (Reply, error) {
	if c.broken == nil && !c.pending {
		return Reply{}, errors.New("BUG(repl): no execution to wait for")
	}
	return c.replied(c.await(ctx))
}

// replied makes a reply of a frame.
func (c *Conn) replied(claims claims, err error) (Reply, error) {
	if err != nil {
		return Reply{}, err
	}
	c.pending = false
	c.conn.rest()
	reply, err := claims.reply()
	if err != nil {
		return Reply{}, c.fail(err)
	}
	return reply, nil
}

// Interrupt ends an execution whose context ended: it calls signal, which is to
// send the REPL SIGINT, and waits for the reply. It does so again after a
// while, because CPython can miss a signal that arrives just before a blocking
// system call, and it stops before another execution could be hit.
func (c *Conn) Interrupt(ctx context.Context, signal func() error) (Reply, error) {
	for pause := 250 * time.Millisecond; ; pause *= 2 {
		if err := signal(); err != nil {
			return Reply{}, fmt.Errorf("cannot interrupt the REPL: %w", err)
		}
		short, cancel := context.WithTimeout(ctx, pause)
		reply, err := c.Await(short)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil && c.broken == nil {
			continue
		}
		return reply, err
	}
}

// Complete returns the names that text can be completed to. It may run the
// user's code.
func (c *Conn) Complete(ctx context.Context, text string) ([]string, error) {
	claims, err := c.ask(ctx, opComplete, text)
	return claims.Names, err
}

// Check says whether source, as typed so far and without the newline of its
// last line, is "complete", "incomplete" or "invalid". A block becomes complete
// with an empty line after it.
func (c *Conn) Check(ctx context.Context, source string) (string, error) {
	claims, err := c.ask(ctx, opCheck, source)
	return claims.State, err
}

// LimitData makes the REPL set its own RLIMIT_DATA, soft and hard, for hosts
// that cannot set it from outside. The reply is as untrusted as any.
func (c *Conn) LimitData(ctx context.Context, bytes int64) error {
	_, err := c.ask(ctx, opLimit, strconv.FormatInt(bytes, 10))
	return err
}

// SetEnv sets environment variables, each as K=V, for all later executions.
func (c *Conn) SetEnv(ctx context.Context, env []string) error {
	list, err := terminated("environment entry", env)
	if err == nil {
		_, err = c.ask(ctx, opSetEnv, list)
	}
	return err
}

// PrepareTemplate has a REPL that is to be a template get ready for that, before it
// imports anything: what it allocates from now on lies together.
func (c *Conn) PrepareTemplate(ctx context.Context) error {
	_, err := c.ask(ctx, opTemplate, "")
	return err
}

// Template makes the REPL a template, which forks a REPL for each message of one
// byte with descriptors on the connection that is returned (nsjail/native/src/fork.c)
// and speaks this protocol no more. The Conn is of no more use. PrepareTemplate
// comes first.
func (c *Conn) Template(ctx context.Context, plan []byte) (*net.UnixConn, error) {
	if _, err := c.ask(ctx, opTemplate, string(plan)); err != nil {
		return nil, err
	}
	c.broken = errors.New("BUG(repl): the REPL is a template")
	return c.conn.release()
}

func (c *Conn) ask(ctx context.Context, op uint32, field string) (claims, error) {
	frame, err := encodeFrame(op, 0, c.newSeq(), field)
	if err != nil {
		return claims{}, err
	}
	if err := c.send(ctx, frame); err != nil {
		return claims{}, err
	}
	answer, err := c.await(ctx)
	if err != nil {
		// Unlike code, nothing of this kind is worth an interrupt.
		return claims{}, c.fail(err)
	}
	c.pending = false
	if answer.Status != StatusOK {
		if answer.Exception != nil {
			return claims{}, fmt.Errorf("the REPL refused: %s: %s", answer.Exception.Name, answer.Exception.Value)
		}
		return claims{}, c.fail(fmt.Errorf("%w: status %.40q", ErrProtocol, answer.Status))
	}
	return answer, nil
}

// newSeq returns a number for the next request, never the 0 of the greeting.
func (c *Conn) newSeq() uint64 { return rand.Uint64() | 1 }

// send writes a request.
func (c *Conn) send(ctx context.Context, frame []byte) error {
	if c.broken != nil {
		return c.broken
	}
	if c.pending {
		return errors.New("BUG(repl): a request is already under way")
	}
	if len(c.buf) > 0 {
		return c.fail(fmt.Errorf("%w: %d bytes that nobody asked for", ErrProtocol, len(c.buf)))
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	stop := c.deadline(ctx)
	n, err := c.conn.Write(frame)
	stop()
	if err != nil {
		if ctx.Err() != nil && n == 0 {
			return ctx.Err()
		}
		// A part was sent and nothing else can follow it.
		return c.fail(c.explain(ctx, err))
	}
	c.seq = binary.LittleEndian.Uint64(frame[12:])
	c.pending = true
	return nil
}

// await returns the next frame. What has arrived of it is kept when ctx ends.
func (c *Conn) await(ctx context.Context) (claims, error) {
	if c.broken != nil {
		return claims{}, c.broken
	}
	stop := c.deadline(ctx)
	defer stop()
	return c.receive(c.conn.Read, func(err error) error {
		if errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() != nil {
			return ctx.Err()
		}
		return c.fail(c.explain(ctx, err))
	})
}

// receive reads until a frame is whole. failed gives the error for one of read.
func (c *Conn) receive(read func([]byte) (int, error), failed func(error) error) (claims, error) {
	for {
		frame, err := c.next()
		if err != nil {
			return claims{}, c.fail(err)
		}
		if frame != nil {
			answer, err := decodeClaims(frame)
			if err != nil {
				return claims{}, c.fail(err)
			}
			return answer, nil
		}
		if cap(c.buf)-len(c.buf) < 4096 {
			c.buf = append(make([]byte, 0, 2*cap(c.buf)+8192), c.buf...)
		}
		n, err := read(c.buf[len(c.buf):cap(c.buf)])
		c.buf = c.buf[:len(c.buf)+n]
		if err != nil && n == 0 {
			return claims{}, failed(err)
		}
	}
}

// next takes a whole frame from the buffer, without its length and number, or
// returns nil when there is none yet.
func (c *Conn) next() ([]byte, error) {
	if len(c.buf) < 4 {
		return nil, nil
	}
	size := binary.LittleEndian.Uint32(c.buf)
	if size < seqSize || size > MaxReply {
		return nil, fmt.Errorf("%w: frame of %d bytes", ErrProtocol, size)
	}
	if len(c.buf) >= 4+seqSize {
		// Wrong numbers need not be waited for.
		if seq := binary.LittleEndian.Uint64(c.buf[4:]); seq != c.seq && !weaken.Layer("reply-number") {
			return nil, fmt.Errorf("%w: a reply to something else", ErrProtocol)
		}
	}
	if len(c.buf) < 4+int(size) {
		return nil, nil
	}
	if len(c.buf) > 4+int(size) {
		return nil, fmt.Errorf("%w: more than one reply", ErrProtocol)
	}
	frame := c.buf[4+seqSize:]
	if cap(c.buf) > 64<<10 {
		c.buf = nil // one large reply should not be held for a session's life
	} else {
		c.buf = c.buf[:0] // decoded before the next read
	}
	return frame, nil
}

// deadline makes reads and writes end with ctx; stop undoes that.
func (c *Conn) deadline(ctx context.Context) (stop func()) {
	if ctx.Done() == nil {
		return func() {}
	}
	done := make(chan struct{})
	cancel := context.AfterFunc(ctx, func() {
		defer close(done)
		c.conn.SetDeadline(time.Unix(1, 0))
	})
	return func() {
		if !cancel() {
			// It has begun: let it end, or it would hit a later call.
			<-done
			c.conn.SetDeadline(time.Time{})
		}
	}
}

func (c *Conn) explain(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("cannot send to the REPL: %w", ctx.Err())
	}
	if errors.Is(err, io.EOF) {
		return ErrClosed
	}
	return fmt.Errorf("%w: %w", ErrClosed, err)
}

// fail makes err the answer to every later call.
func (c *Conn) fail(err error) error {
	if c.broken == nil {
		c.broken = err
	}
	return err
}
