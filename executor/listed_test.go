package executor

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cellblock/cellblock/internal/workspace"
)

func TestListedNamesAreBounded(t *testing.T) {
	var changes []workspace.Change
	for i := range 1000 {
		changes = append(changes, workspace.Change{Path: fmt.Sprintf("%04d/%s", i, strings.Repeat("n", 4000)), Kind: workspace.Created})
	}
	none := func(workspace.Change) bool { return false }
	var r Result
	r.list(changes, none)
	size := 0
	for _, f := range r.Files {
		size += len(f.Path)
	}
	for _, f := range r.CreatedFiles {
		size += len(f)
	}
	if size > maxListed || size < maxListed/2 || !r.Truncated.Files {
		t.Errorf("%d bytes of names, truncated %v; wanted at most %d, and to be told", size, r.Truncated.Files, maxListed)
	}
	r = Result{}
	r.list(changes[:3], none)
	if len(r.Files) != 3 || len(r.CreatedFiles) != 3 || r.Truncated.Files {
		t.Errorf("of 3 files: %d, %d, truncated %v", len(r.Files), len(r.CreatedFiles), r.Truncated.Files)
	}
}
