package cli

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/nsjail"
	"github.com/cellblock/cellblock/rootfs"
)

func TestExitStatus(t *testing.T) {
	tests := []struct {
		verdict executor.Verdict
		code    int
		signal  string
		want    int
	}{
		{executor.VerdictOK, 0, "", 0},
		{executor.VerdictError, 1, "", 1},
		{executor.VerdictSyntaxError, 1, "", 1},
		{executor.VerdictExit, 0, "", 0},
		{executor.VerdictExit, 7, "", 7},
		{executor.VerdictExit, 124, "", 124},
		{executor.VerdictExit, 255, "", 255},
		{executor.VerdictTimeout, -1, "", 124},
		{executor.VerdictCPUTime, -1, "", 124},
		{executor.VerdictRefused, -1, "", 126},
		{executor.VerdictOutOfMemory, -1, "", 137},
		{executor.VerdictOutputLimit, -1, "", 137},
		{executor.VerdictKilled, -1, "SIGKILL", 137},
		{executor.VerdictCrashed, -1, "SIGSEGV", 139},
		{executor.VerdictCrashed, -1, "SIGABRT", 134},
		{executor.VerdictCrashed, -1, "signal 34", 162},
		{executor.VerdictCrashed, -1, "", 137},
	}
	for _, tt := range tests {
		r := executor.Result{Verdict: tt.verdict, ReturnCode: tt.code, Signal: tt.signal, Success: tt.code == 0}
		if got := exitStatus(r); got != tt.want {
			t.Errorf("%s, return code %d, signal %q: status %d, wanted %d", tt.verdict, tt.code, tt.signal, got, tt.want)
		}
	}
	// "Enhanced error detection" fails an execution that returned 0.
	if got := exitStatus(executor.Result{Verdict: executor.VerdictOK}); got != 1 {
		t.Errorf("a failure with return code 0: status %d, wanted 1", got)
	}
}

func TestStatusOf(t *testing.T) {
	wrap := func(err error) error { return fmt.Errorf("while doing something: %w", err) }
	tests := []struct {
		err  error
		want int
	}{
		{usagef("x"), 2},
		{wrap(usagef("x")), 2},
		{&executor.InvalidError{What: "session id"}, 2},
		{wrap(rootfs.ErrSpec), 2},
		{rootfs.ErrPython, 125},
		{rootfs.ErrPackage, 125},
		{rootfs.ErrTampered, 125},
		{rootfs.ErrNotFound, 125},
		{&nsjail.MissingError{Layer: nsjail.LayerCgroup}, 125},
		{&nsjail.StepError{Step: "mount"}, 125},
		{&nsjail.PostureError{}, 125},
		{errors.New("x"), 125},
		{context.Canceled, 125},
		{&signalError{syscall.SIGINT}, 130},
		{&signalError{syscall.SIGTERM}, 143},
		{&signalError{syscall.SIGHUP}, 129},
		{&signalError{syscall.SIGPIPE}, 141},
	}
	for _, tt := range tests {
		if got := statusOf(tt.err); got != tt.want {
			t.Errorf("statusOf(%v) = %d, wanted %d", tt.err, got, tt.want)
		}
	}
}

func TestBecause(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.Background())
	plain := errors.New("plain")
	if err := because(ctx, plain); !errors.Is(err, plain) {
		t.Errorf("without a signal: %v", err)
	}
	cancel(&signalError{syscall.SIGTERM})
	if got := statusOf(because(ctx, context.Canceled)); got != 143 {
		t.Errorf("after SIGTERM: status %d", got)
	}
	if err := because(ctx, nil); err != nil {
		t.Errorf("nothing failed: %v", err)
	}
}
