package executor_test

import (
	"strings"
	"testing"
	"time"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/internal/testkit"
)

// On a busy machine the first moments of an execution can be over before the
// code was sent. A time-out of 1 ns is like that always: it is a time-out, and no
// lost session.
func TestTimeIsOverBeforeTheCodeIsSent(t *testing.T) {
	ex := newExecutor(t, executor.Config{})
	if r := run(t, ex, executor.Request{Code: "kept = 1", SessionID: "b"}); !r.Success {
		t.Fatal(errorText(r))
	}
	for i := range 8 {
		r := run(t, ex, executor.Request{Code: "while True: pass", SessionID: "b", Timeout: time.Nanosecond})
		if r.Verdict != executor.VerdictTimeout || r.Session.Lost {
			t.Fatalf("execution %d: verdict %s, lost %t, %s", i, r.Verdict, r.Session.Lost, errorText(r))
		}
	}
	if r := run(t, ex, executor.Request{Code: "print(kept)", SessionID: "b"}); r.Output != "1\n" {
		t.Errorf("output %q, %s", r.Output, errorText(r))
	}
}

// A REPL that code has stopped reads nothing. A request that is too large for the
// channel is given up when its time is over as any other: whatever it is that is large.
func TestLargeRequestToAStoppedREPL(t *testing.T) {
	ex := newExecutor(t, executor.Config{})
	const stop = `
import os, signal, threading, time
threading.Thread(target=lambda: (time.sleep(0.2), os.kill(os.getpid(), signal.SIGSTOP)), daemon=True).start()`
	for what, large := range map[string]executor.Request{
		"Env":  {Env: map[string]string{"LARGE": strings.Repeat("x", 1<<20)}},
		"Argv": {Argv: []string{"a", strings.Repeat("x", 1<<20)}},
		"Code": {Code: "#" + strings.Repeat("x", 1<<20)},
	} {
		id := strings.ToLower(what)
		if r := run(t, ex, executor.Request{Code: stop, SessionID: id}); !r.Success {
			t.Fatal(errorText(r))
		}
		large.SessionID, large.Timeout = id, 500*time.Millisecond
		if large.Code == "" {
			large.Code = "1"
		}
		// Until it has stopped, it answers.
		for deadline := time.Now().Add(testkit.Paced(20 * time.Second)); ; {
			began := time.Now()
			r := run(t, ex, large)
			took := time.Since(began)
			if r.Verdict == executor.VerdictOK && began.Before(deadline) {
				continue
			}
			if r.Verdict != executor.VerdictTimeout || took > testkit.Paced(8*time.Second) {
				t.Errorf("%s of 1 MiB: %s after %s", what, r.Verdict, took)
			}
			break
		}
	}
}
