package libraries

import (
	"strings"
	"testing"

	"github.com/cellblock/cellblock/executor"
)

// TestHints: what fails because this is a sandbox comes with what to do instead.
func TestHints(t *testing.T) {
	need(t)
	ex, err := executor.New(executor.Config{WorkspaceBytes: 128 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ex.Close() })
	for _, h := range hints {
		t.Run(h.name, func(t *testing.T) {
			r, err := ex.Execute(t.Context(), executor.Request{Code: h.code})
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(r.Hint, h.want) {
				t.Errorf("hint %q lacks %q; %s%s", r.Hint, h.want, r.Verdict, said(r))
			}
		})
	}
	r, err := ex.Execute(t.Context(), executor.Request{Module: "pip", Argv: []string{"pip", "install", "x"}})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(r.Hint, "--with NAME") {
		t.Errorf("python -m pip: hint %q", r.Hint)
	}
}
