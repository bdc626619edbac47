package repl

import (
	"context"
	"errors"
	"os"
	"time"
)

// startPatience is how long a REPL that starts is waited for in the kernel.
const startPatience = 20 * time.Millisecond

// fits is how long a request may be that the channel takes at once, whatever the
// REPL does.
const fits = 32 << 10

// ExecSoon is Exec for code that most likely ends within patience, a few
// milliseconds: the calling thread waits in the kernel for it. After patience the
// error is context.DeadlineExceeded and the code goes on, as after Exec; see Pending.
// That is the error at once, and nothing is sent, for a request that is too large to
// be sent without waiting.
func (c *Conn) ExecSoon(r Request, patience time.Duration) (Reply, error) {
	frame, err := encodeRequest(c.newSeq(), r)
	if err != nil {
		return Reply{}, err
	}
	if len(frame) > fits {
		return Reply{}, context.DeadlineExceeded
	}
	if err := c.send(context.Background(), frame); err != nil {
		return Reply{}, err
	}
	return c.replied(c.awaitSoon(patience))
}

// awaitSoon is await for as long as patience lasts; then the error is
// context.DeadlineExceeded.
func (c *Conn) awaitSoon(patience time.Duration) (claims, error) {
	if c.broken != nil {
		return claims{}, c.broken
	}
	end := time.Now().Add(patience)
	read := func(b []byte) (int, error) { return c.conn.soon(b, time.Until(end)) }
	return c.receive(read, func(err error) error {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return context.DeadlineExceeded
		}
		return c.fail(c.explain(context.Background(), err))
	})
}
