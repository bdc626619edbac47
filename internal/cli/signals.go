package cli

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
)

// untilSignal returns a context that the first SIGINT, SIGTERM or SIGHUP ends,
// with a *signalError as its cause. A second one ends the process at once: the
// cell then ends through its lifeline.
func untilSignal() (ctx context.Context, cancel context.CancelCauseFunc, stop func()) {
	return untilOneOf(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
}

func untilOneOf(signals ...os.Signal) (ctx context.Context, cancel context.CancelCauseFunc, stop func()) {
	ctx, cancel = context.WithCancelCause(context.Background())
	// A broken pipe is to arrive as an error, so that the cell can be ended.
	signal.Ignore(syscall.SIGPIPE)
	arrived := make(chan os.Signal, 2)
	signal.Notify(arrived, signals...)
	done := make(chan struct{})
	go func() {
		for n := 1; ; n++ {
			select {
			case s := <-arrived:
				number := s.(syscall.Signal)
				if n > 1 {
					os.Exit(statusOfSignal + int(number))
				}
				cancel(&signalError{number})
			case <-done:
				return
			}
		}
	}()
	return ctx, cancel, func() {
		signal.Stop(arrived)
		close(done)
		cancel(context.Canceled)
	}
}

// writeFailed is the reason to end a cell whose output can go nowhere.
func writeFailed(err error) error {
	if errors.Is(err, syscall.EPIPE) {
		return &signalError{syscall.SIGPIPE}
	}
	return err
}
