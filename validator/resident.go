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

// startDelay is how long a new process may take until it answers.
const startDelay = 10 * time.Second

// Facts implements Source. A source that finds the process dead, or that kills
// one which had answered before, is put to a fresh one once: an earlier source
// may have been the cause. An answer takes at most MaxDelay, starts apart.
func (r *Resident) Facts(ctx context.Context, code []byte) (Facts, error) {
	if err := r.take(ctx); err != nil {
		return Facts{}, err
	}
	defer r.give()

	delay := MaxDelay
	for {
		pipe, fresh, err := r.running(ctx)
		if err != nil {
			return Facts{}, err
		}
		asked := time.Now()
		facts, err := pipe.ask(ctx, code, delay)
		delay -= time.Since(asked)
		again := errors.Is(err, errCrashed) || errors.Is(err, ErrLost)
		if !again || fresh || delay <= 0 {
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
	_, _, err := r.running(ctx)
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

// running returns the process's pipe, and whether it was only now started. Only
// who has the turn calls it.
func (r *Resident) running(ctx context.Context) (pipe *Pipe, fresh bool, err error) {
	r.mu.Lock()
	pipe, closed := r.pipe, r.closed
	r.mu.Unlock()
	switch {
	case closed:
		return nil, false, ErrLost
	case pipe != nil && !pipe.lost.Load():
		return pipe, false, nil
	}
	conn, err := r.start(ctx)
	if err != nil {
		return nil, false, fmt.Errorf("cannot start the parser: %w", err)
	}
	pipe = NewPipe(conn)
	r.mu.Lock()
	r.pipe, closed = pipe, r.closed
	r.mu.Unlock()
	if closed { // Close came in between and did not see this one
		_ = pipe.Close()
		return nil, false, ErrLost
	}
	// The empty source: so that a process which does not come up is an error of
	// ours, and its start-up time is not taken from the first source.
	if err := pipe.Ready(ctx); err != nil {
		return nil, false, fmt.Errorf("cannot start the parser: %w", err)
	}
	return pipe, true, nil
}

// notTheCode keeps the words of err but not ErrUnparsable.
func notTheCode(err error) error {
	if errors.Is(err, ErrUnparsable) {
		return errors.New(err.Error())
	}
	return err
}

// Rest ends the process when it has answered; the next question starts another.
func (r *Resident) Rest(ctx context.Context) error {
	if err := r.take(ctx); err != nil {
		return err
	}
	defer r.give()
	r.mu.Lock()
	pipe := r.pipe
	r.pipe = nil
	r.mu.Unlock()
	if pipe == nil {
		return nil
	}
	return pipe.Close()
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
