package nsjail_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cellblock/cellblock/internal/repl"
	"github.com/cellblock/cellblock/internal/testkit"
	"github.com/cellblock/cellblock/nsjail"
)

// Records of owners that died may name groups that are another's by now: one that was
// killed while it looked for a free number, or one whose groups went and whose number
// was taken since. A sweep of theirs leaves the cell that lives there alone.
func TestSweepLeavesTheGroupsOfOthers(t *testing.T) {
	testkit.Require(t, testkit.Root, testkit.MemoryController)
	s := spec(t)
	cell, _, conn := start(t, s)
	records, err := filepath.Glob(filepath.Join(s.RuntimeDir, "cells", "*"))
	if err != nil || len(records) != 1 {
		t.Fatalf("%v, %v", records, err)
	}
	text, err := os.ReadFile(records[0])
	if err != nil {
		t.Fatal(err)
	}
	var mine map[string]any
	if err := json.Unmarshal(text, &mine); err != nil {
		t.Fatal(err)
	}
	ids, ok := mine["identities"].([]any)
	if !ok || len(ids) != len(cell.Group().Paths()) {
		t.Fatalf("a record without the identities of its groups: %s", text)
	}
	others := make([]uint64, len(ids))
	for name, theirs := range map[string]map[string]any{
		"killed while it looked for a number": {"owner": 1, "groups": cell.Group().Paths()},
		"killed, and the number taken since":  {"owner": 1, "groups": cell.Group().Paths(), "identities": others},
	} {
		dir := t.TempDir()
		if err := os.Chmod(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(filepath.Join(dir, "cells"), 0o700); err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(theirs)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "cells", filepath.Base(records[0])), text, 0o600); err != nil {
			t.Fatal(err)
		}
		if n, err := nsjail.Sweep(dir); n != 1 || err != nil {
			t.Errorf("%s: %d records swept, %v", name, n, err)
		}
		if r, err := conn.Exec(t.Context(), repl.Request{Code: "6 * 7"}); err != nil || r.Value == nil || !strings.Contains(*r.Value, "42") {
			t.Errorf("%s: the cell that lives there says %v, %v", name, r.Value, err)
		}
	}
}
