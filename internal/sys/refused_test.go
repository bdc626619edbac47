package sys_test

import (
	"testing"

	"github.com/cellblock/cellblock/internal/sys"
	"github.com/cellblock/cellblock/internal/testkit"
)

// Where cells are built, no call that builds them is refused, and trying them
// changes nothing. Refusals are shown in containers: tests/vm/inside.
func TestNothingIsRefused(t *testing.T) {
	testkit.Require(t, testkit.Root)
	before, err := sys.ReadControl("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	if refused := sys.Refused(); len(refused) > 0 {
		t.Errorf("%v", refused)
	}
	after, err := sys.ReadControl("/proc/self/mountinfo")
	if err != nil || after != before {
		t.Errorf("%v\nmounts before:\n%s\nafter:\n%s", err, before, after)
	}
}
