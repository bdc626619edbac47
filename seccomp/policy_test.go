package seccomp_test

import (
	"slices"
	"testing"

	"github.com/cellblock/cellblock/internal/testkit"
	"github.com/cellblock/cellblock/seccomp"
)

func TestEveryRowIsSound(t *testing.T) {
	seen := map[string]bool{}
	for _, row := range seccomp.Policy() {
		if len(row.Names()) == 0 {
			t.Errorf("a row names no call: %+v", row)
		}
		if row.Why == "" {
			t.Errorf("row %q has no reason", row.Calls)
		}
		if row.Missing != "" && row.Missing != "arm64" {
			t.Errorf("row %q is missing on %q", row.Calls, row.Missing)
		}
		if len(row.When) == 0 && row.Else != 0 {
			t.Errorf("row %q has an Else without conditions", row.Calls)
		}
		if len(row.When) > 0 && (row.Else == 0 || row.Else == seccomp.Allow) {
			t.Errorf("row %q does not say what happens otherwise", row.Calls)
		}
		if len(row.When) == 0 && len(row.Feign) > 0 {
			t.Errorf("row %q has alternatives to none", row.Calls)
		}
		for _, feigned := range row.Feign {
			var args [6]uint64
			for _, c := range feigned {
				args[c.Arg] = c.Want
			}
			if slices.ContainsFunc(row.When, func(m seccomp.Match) bool { return m.Holds(args) }) {
				t.Errorf("row %q pretends with %v what it does", row.Calls, feigned)
			}
		}
		for _, name := range row.Names() {
			if seen[name] {
				t.Errorf("%s stands in two rows", name)
			}
			seen[name] = true
		}
		for _, match := range slices.Concat(row.When, row.Feign) {
			args := map[uint]bool{}
			for _, c := range match {
				if c.Arg > 5 || c.Want&^c.Mask != 0 || args[c.Arg] {
					t.Errorf("row %q: comparison %+v can never hold, or names an argument twice", row.Calls, c)
				}
				args[c.Arg] = true
			}
		}
	}
}

// A policy that answers by something other than a refusal, or that lets a
// new call pass by default, is no allowlist.
func TestDefaultIsRefusal(t *testing.T) {
	if seccomp.Default.Errno() == 0 {
		t.Fatalf("the default is %v", seccomp.Default)
	}
}

func TestCellNamesArchitecture(t *testing.T) {
	filter, err := seccomp.Cell()
	testkit.Require(t, testkit.Working("a filter for this architecture", err))
	if len(filter) == 0 || len(filter)%8 != 0 {
		t.Errorf("the filter has %d bytes", len(filter))
	}
}
