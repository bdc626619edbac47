package warden

import (
	"errors"
	"fmt"
	"os"
	"time"
)

var (
	never = time.Time{}
	past  = time.Unix(1, 0)
)

// unheard is how long a call goes on until its asker is listened to. Most calls
// have ended by then, and need not pay for it.
const unheard = 5 * time.Millisecond

// listen hears what the asker says while its call is under way: that it no longer
// wants it, or nothing. stop ends that when the call has; its error is that of a
// connection that is of no more use.
func (p *pending) listen() (stop func() error) {
	heard, ended := make(chan error, 1), make(chan struct{})
	late := time.AfterFunc(unheard, func() { heard <- p.hear(ended) })
	return func() error {
		if late.Stop() {
			return nil
		}
		close(ended)
		p.conn.socket.SetReadDeadline(past)
		err := <-heard
		p.conn.socket.SetReadDeadline(never)
		return err
	}
}

// hear receives until it is made to end by a deadline.
func (p *pending) hear(ended <-chan struct{}) error {
	for {
		f, err := p.conn.receive()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			select {
			case <-ended:
				return nil
			default: // nobody else sets one
			}
		}
		if err != nil {
			// The asker is gone. What changes a session goes on, for who comes after it.
			if !methods[p.Method].lasts {
				p.cancel()
			}
			return err
		}
		f.close()
		if f.kind != frameCancel {
			p.cancel()
			return fmt.Errorf("a message of kind %d came in the middle of a call", f.kind)
		}
		p.cancel()
	}
}
