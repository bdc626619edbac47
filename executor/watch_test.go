package executor_test

import (
	"testing"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/internal/testkit"
)

// Who only watches the output changes nothing of what a result says of it.
func TestWatch(t *testing.T) {
	testkit.Require(t, testkit.Root, testkit.MemoryController, testkit.Python(""))
	ex, err := executor.New(executor.Config{ExecutionBaseDir: t.TempDir(), MaxOutput: 1000})
	if err != nil {
		t.Fatal(err)
	}
	defer ex.Close()
	for _, watch := range []bool{false, true} {
		seen := 0
		r, err := ex.Execute(t.Context(), executor.Request{
			Code: "print('x' * 5000)", Watch: watch, Stdout: func(b []byte) { seen += len(b) },
		})
		if err != nil || len(r.Output) != 1000 || seen != 5001 || r.Truncated.Output != watch {
			t.Errorf("watch %v: %v, %d bytes kept, %d seen, truncated %v", watch, err, len(r.Output), seen, r.Truncated.Output)
		}
	}
	r, err := ex.Execute(t.Context(), executor.Request{
		Code: "while True: print('x' * 1000)", Watch: true, Stdout: func([]byte) {},
	})
	if err != nil || r.Verdict != executor.VerdictOutputLimit {
		t.Errorf("a flood: %v %s", err, r.Verdict)
	}
}
