package executor_test

import (
	"testing"
	"time"

	"github.com/cellblock/cellblock/executor"
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
