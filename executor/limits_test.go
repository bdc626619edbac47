package executor

import (
	"errors"
	"math"
	"testing"
)

// A memory limit whose bytes no integer holds is refused, and not taken for a
// small one, or for none.
func TestMemoryLimitThatOverflows(t *testing.T) {
	e, err := New(Config{ExecutionBaseDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for _, mb := range []int{MaxMemoryMB + 1, 1 << 43, 1 << 44, 1<<44 + MinMemoryMB, math.MaxInt} {
		s, err := e.NewSession(t.Context(), SessionOptions{Limits: Limits{MaxMemoryMB: mb}})
		var invalid *InvalidError
		if !errors.As(err, &invalid) {
			t.Errorf("%d MB: %v", mb, err)
		}
		if err == nil {
			s.Close()
		}
	}
}
