package warden_test

import (
	"strings"
	"testing"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/internal/warden"
)

// A result whose JSON is larger than any message comes whole, and so does code that
// grows when it is written as JSON.
func TestLargeMessages(t *testing.T) {
	c := dial(t, start(t, warden.Options{Executor: executor.Config{MaxOutput: 24 << 20}}))
	s := session(t, c, warden.Spec{})
	const size = 23 << 20 // six times as many bytes in JSON
	r, err := s.Execute(t.Context(), executor.Request{Code: "print(chr(1) * (23 << 20), end='')"})
	if err != nil || r.Output != strings.Repeat("\x01", size) {
		t.Fatalf("%d bytes, %v", len(r.Output), err)
	}
	if r, err := s.Result(t.Context()); err != nil || len(r.Output) != size {
		t.Errorf("%d bytes, %v", len(r.Output), err)
	}
	text := strings.Repeat("<", 23<<20)
	if r, err := s.Execute(t.Context(), executor.Request{Code: "len('" + text + "')"}); err != nil || r.Success {
		t.Errorf("code that is too large for a REPL: %+v, %v", r.Error, err)
	}
	run(t, s, "print(1)", "1\n")
}
