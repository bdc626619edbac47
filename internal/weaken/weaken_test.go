//go:build !cellblock_weaken

package weaken_test

import (
	"bytes"
	"os"
	"testing"

	"github.com/cellblock/cellblock/internal/weaken"
)

// An ordinary program has no switch: whatever its environment says, and not
// even the name of the variable is in it.
func TestOrdinaryProgramsHaveNoSwitch(t *testing.T) {
	t.Setenv("CELLBLOCK_WEAKEN", "posture,seccomp")
	t.Setenv("CELLBLOCK_WEAKEN_PROGRAMS", t.TempDir())
	if weaken.Layer("posture") || weaken.Layer("seccomp") {
		t.Error("a layer is left out by an environment variable")
	}
	if string(weaken.Program("init", []byte("x"))) != "x" {
		t.Error("a program is replaced")
	}
	bin := os.Getenv("CELLBLOCK_BIN")
	if bin == "" {
		return
	}
	b, err := os.ReadFile(bin)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(b, []byte("CELLBLOCK_WEAKEN")) {
		t.Errorf("%s was built with the tag cellblock_weaken", bin)
	}
}
