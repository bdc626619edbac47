package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A testSuite is one package's tests and how they are run in the machine.
type testSuite struct {
	pkg  string
	tags string   // build tags
	args []string // beside -test.run and the like
	// skip leaves tests out, with why: it is also the reason that is printed.
	skip []skipped
	time time.Duration // bounds it
}

type skipped struct{ test, why string }

// suites are what `make test-vm` runs, in this order. The emulator is about ten
// times slower than the machine.
var suites = []testSuite{
	{pkg: "cgroup", time: 4 * time.Minute},
	{pkg: "tests/vm/inside", tags: "vm", time: 8 * time.Minute},
	{pkg: "nsjail", time: 4 * time.Minute, skip: []skipped{
		{"FuzzDecode", "it compiles the init's decoder, and there is no compiler; nothing in it is the kernel's"},
		{"FuzzPlan", "as FuzzDecode"},
	}},
	{pkg: "executor", args: []string{"-test.short"}, time: 8 * time.Minute, skip: []skipped{
		{"TestPandas", "pandas would double the image; cells with the bare Python show the same of the kernel"},
		{"TestExamples/Limits", "its second of time for each attack is too short under emulation; the probes of tests/escape are the same attacks"},
	}},
	{pkg: "tests/escape", args: []string{"-test.short"}, time: 12 * time.Minute},
}

// chosen are the suites of the packages that are named; all without a name.
func chosen(pkgs []string) ([]testSuite, error) {
	if len(pkgs) == 0 {
		return suites, nil
	}
	var some []testSuite
	for _, p := range pkgs {
		i := slices.IndexFunc(suites, func(s testSuite) bool { return s.pkg == strings.Trim(p, "./") })
		if i < 0 {
			return nil, fmt.Errorf("%q is no package that is tested in the machine", p)
		}
		some = append(some, suites[i])
	}
	return some, nil
}
