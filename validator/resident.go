package validator

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Resident is a Source that keeps one facts process and starts another when
// that one is gone. It starts the first at the first question, or by Warm. It
// is safe for concurrent use; questions are answered one at a time.
type Resident struct {
	start func(context.Context) (Conn, error)
	turn  chan struct{} // holds one token while nobody asks

	mu     sync.Mutex
	pipe   *Pipe // nil: none was started, or it broke
	closed bool
}

// NewResident returns a Resident. start runs FactsSource and returns the host's
// end of its file descriptor 3; closing it must end the process. start is never
// called twice at the same time.
func NewResident(start func(context.Context) (Conn, error)) *Resident {
	r := &Resident{start: start, turn: make(chan struct{}, 1)}
	r.turn <- struct{}{}
	return r
}

// Facts implements Source. A source that finds the process dead, or that kills
// it, is put to a fresh one once: an earlier source may have been the cause. An
// answer takes at most MaxDelay and the starts.
func (r *Resident) Facts(ctx context.Context, code []byte) (Facts, error) {
	if err := r.take(ctx); err != nil {
		return Facts{}, err
	}
	defer r.give()

	delay := MaxDelay
	for first := true; ; first = false {
		pipe, err := r.running(ctx)
		if err != nil {
			return Facts{}, err
		}
		asked := time.Now()
		facts, err := pipe.ask(ctx, code, delay)
		delay -= time.Since(asked)
		again := errors.Is(err, errCrashed) || errors.Is(err, ErrLost)
		if !again || !first || delay <= 0 {
			return facts, err
		}
	}
}

// Warm starts the process if none is running, so that the first question does
// not wait for it.
func (r *Resident) Warm(ctx context.Context) error {
	if err := r.take(ctx); err != nil {
		return err
	}
	defer r.give()
	_, err := r.running(ctx)
	return err
}

func (r *Resident) take(ctx context.Context) error {
	select {
	case <-r.turn:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *Resident) give() { r.turn <- struct{}{} }

// running returns the process's pipe. Only who has the turn calls it.
func (r *Resident) running(ctx context.Context) (*Pipe, error) {
	r.mu.Lock()
	pipe, closed := r.pipe, r.closed
	r.mu.Unlock()
	if closed {
		return nil, ErrLost
	}
	if pipe != nil && !pipe.lost.Load() {
		return pipe, nil
	}
	conn, err := r.start(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot start the parser: %w", err)
	}
	pipe = NewPipe(conn, MaxDelay)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		pipe.Close()
		return nil, ErrLost
	}
	r.pipe = pipe
	return pipe, nil
}

// Close ends the process and a question that is under way. Every later question
// gets ErrLost.
func (r *Resident) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	if r.pipe == nil {
		return nil
	}
	return r.pipe.Close()
}
