package cli

import (
	"strings"
	"testing"
)

func TestCompletionScripts(t *testing.T) {
	for _, shell := range shells {
		status, out, _, err := runWith(t, "", "completion", shell)
		if status != 0 || err != nil || !strings.Contains(out, "__complete") {
			t.Errorf("completion %s: status %d, %v, %d bytes", shell, status, err, len(out))
		}
	}
}

func TestCompletions(t *testing.T) {
	t.Setenv("CELLBLOCK_STATE_DIR", t.TempDir())
	tests := []struct {
		args []string
		want string
	}{
		{[]string{""}, "run\t"},
		{[]string{"ro"}, "rootfs\t"},
		{[]string{"rootfs", ""}, "verify\t"},
		{[]string{"run", "--time"}, "--timeout\t"},
		{[]string{"run", "--without", ""}, "cgroup\n"},
		{[]string{"run", "--memory", ""}, "512M\n"},
		{[]string{"run", ""}, "py\n:8"},
		{[]string{"completion", ""}, "fish\n"},
		{[]string{"rootfs", "verify", ""}, ":4\n"},
	}
	for _, tt := range tests {
		_, out, _, err := runWith(t, "", append([]string{"__complete"}, tt.args...)...)
		if err != nil || !strings.Contains(out, tt.want) {
			t.Errorf("completing %q: %v, got %q, wanted %q in it", tt.args, err, out, tt.want)
		}
	}
}
