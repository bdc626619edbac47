//go:build cellblock_weaken

package warden

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/cellblock/cellblock/internal/testkit"
	"github.com/cellblock/cellblock/internal/weaken"
)

// TestMutation takes what holds a process that was taken over away, one after the
// other, and wants a test to notice.
func TestMutation(t *testing.T) {
	testkit.Require(t, testkit.Root, testkit.MemoryController, testkit.Python(""))
	for layer, m := range map[string]struct{ test, shows string }{
		"warden-asker":    {"TestStranger", "a stranger was answered"},
		"warden-fields":   {"TestTakenOverAsker", "a failure of class invalid is wanted"},
		"warden-bounds":   {"TestBounds", "one session more than there may be"},
		"given-as-opened": {"TestTakenOverAsker", "the cell has read what only the warden may"},

		"given-of-the-kernel": {"TestTakenOverAsker", "a failure of class invalid is wanted"},
		"warden-descriptors":  {"TestDescriptorsAreBounded", "more than there may be"},
		"foreign-bounded":     {"TestFileThatNeverAnswers", "i/o timeout"},
	} {
		t.Run(layer, func(t *testing.T) {
			cmd := exec.Command("/proc/self/exe", "-test.run", "^"+m.test+"$")
			cmd.Env = append(os.Environ(), weaken.LayersEnv+"="+layer)
			if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), m.shows) {
				t.Errorf("without %s, %s passes or fails for another reason than %q: %v\n%.3000s", layer, m.test, m.shows, err, out)
			}
		})
	}
}
