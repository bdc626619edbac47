package mcp

import (
	"bytes"
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cellblock/cellblock/internal/testkit"
)

// What cannot become a sandbox fails the start, and says what is missing; a client
// would show a server that lives, whose every call fails.
func TestStartThatFails(t *testing.T) {
	testkit.Require(t, testkit.Root, testkit.MemoryController, testkit.Python(""))
	dir := tempDir(t)
	for _, row := range []struct{ flags, want string }{
		{"--with no-such-package", `"no-such-package" is not installed`},
		{"--root no-such-root", "no-such-root"},
		{"--venv " + dir + "/none", dir + "/none"},
		{"--python /nowhere/python3", "/nowhere/python3"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		cmd := exec.CommandContext(ctx, program(t), append([]string{"mcp", "--runtime-dir", filepath.Join(dir, "run")}, strings.Fields(row.flags)...)...)
		stdin, err := cmd.StdinPipe() // stays open, as a client's does
		if err != nil {
			t.Fatal(err)
		}
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if err := cmd.Run(); err == nil || ctx.Err() != nil || cmd.ProcessState.ExitCode() < 1 || !strings.Contains(stderr.String(), row.want) {
			t.Errorf("%s: %v, %v: %s", row.flags, err, ctx.Err(), &stderr)
		}
		stdin.Close()
		cancel()
	}
}
