package validator

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"
)

// MaxDelay is the longest that one source may keep the parser. With it, the
// judgement of any source is there within a second.
const MaxDelay = 800 * time.Millisecond

// Conn is the host's end of a facts process: a net.Conn, or an *os.File that
// supports deadlines. Close must make the process end.
type Conn interface {
	io.ReadWriteCloser
	SetDeadline(t time.Time) error
}

// Pipe is a Source over one facts process (FactsSource). It asks one question
// at a time; callers wait for their turn for as long as their context allows.
// Once the process was slow, died or sent nonsense the Pipe is closed: every
// later call gets ErrLost. It is safe for concurrent use.
//
//	host                                      facts.py
//	 |-- u32 length, source (<= MaxSource) -->|
//	 |<-- u32 length, JSON (<= MaxReply) -----|
type Pipe struct {
	conn Conn
	turn chan struct{} // holds one token while nobody asks
	lost atomic.Bool
}

// NewPipe returns a Pipe. Every answer may take
// MaxDelay.
func NewPipe(conn Conn) *Pipe {
	p := &Pipe{conn: conn, turn: make(chan struct{}, 1)}
	p.turn <- struct{}{}
	return p
}

// Facts implements Source.
func (p *Pipe) Facts(ctx context.Context, code []byte) (Facts, error) {
	select {
	case <-p.turn:
		defer func() { p.turn <- struct{}{} }()
	case <-ctx.Done():
		return Facts{}, ctx.Err()
	}
	return p.ask(ctx, code, MaxDelay)
}

// Ready waits until a process that was just started answers; on a busy machine
// that takes longer than any source may.
func (p *Pipe) Ready(ctx context.Context) error {
	_, err := p.ask(ctx, nil, startDelay)
	return notTheCode(err)
}

// ask is Facts for a caller whose turn it is.
func (p *Pipe) ask(ctx context.Context, code []byte, delay time.Duration) (Facts, error) {
	switch {
	case len(code) > MaxSource:
		return Facts{}, fmt.Errorf("%w: more than %d bytes", ErrUnparsable, MaxSource)
	case ctx.Err() != nil:
		return Facts{}, ctx.Err()
	case p.lost.Load():
		return Facts{}, ErrLost
	}
	facts, err := exchange(ctx, p.conn, code, delay)
	if err == nil {
		return facts, nil
	}
	closed := p.lost.Load()
	_ = p.Close()
	switch {
	case ctx.Err() != nil:
		return Facts{}, ctx.Err()
	case closed:
		return Facts{}, ErrLost
	case errors.Is(err, os.ErrDeadlineExceeded):
		return Facts{}, fmt.Errorf("%w: %w", ErrUnparsable, errSlow)
	case errors.Is(err, errNonsense):
		return Facts{}, fmt.Errorf("%w: %w", ErrUnparsable, err)
	}
	return Facts{}, fmt.Errorf("%w: %w", ErrUnparsable, errCrashed)
}

var (
	errSlow     = fmt.Errorf("it takes longer than %v", MaxDelay)
	errCrashed  = errors.New("the parser crashed")
	errNonsense = errors.New("the parser sent nonsense")
)

// exchange sends one frame and reads one. When ctx ends in between, the stream
// is at an unknown place and conn good for nothing.
func exchange(ctx context.Context, conn Conn, code []byte, delay time.Duration) (Facts, error) {
	if err := conn.SetDeadline(time.Now().Add(delay)); err != nil {
		return Facts{}, err
	}
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = conn.SetDeadline(time.Unix(1, 0))
		close(interrupted)
	})
	defer func() {
		if !stop() {
			<-interrupted // or it would cut the next exchange short
		}
	}()

	frame := binary.LittleEndian.AppendUint32(make([]byte, 0, 4+len(code)), uint32(len(code)))
	if _, err := conn.Write(append(frame, code...)); err != nil {
		return Facts{}, err
	}
	var head [4]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return Facts{}, err
	}
	size := binary.LittleEndian.Uint32(head[:])
	if size > MaxReply {
		return Facts{}, fmt.Errorf("%w: %d bytes", errNonsense, size)
	}
	answer := make([]byte, size)
	if _, err := io.ReadFull(conn, answer); err != nil {
		return Facts{}, err
	}
	facts, err := DecodeFacts(answer)
	if err != nil {
		return Facts{}, fmt.Errorf("%w: %w", errNonsense, err)
	}
	return facts, nil
}

// Close ends the Pipe and a question that is under way.
func (p *Pipe) Close() error {
	if p.lost.Swap(true) {
		return nil
	}
	return p.conn.Close()
}
