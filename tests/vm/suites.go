package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// pace is what the tests are told of the machine: how many times longer than a
// usual one it takes, with some room for a busy host. Probes sleep 30 s where a
// limit of 5 s must end them, so it has to be below 6.
const pace = 5

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

// name is the suite's as it is printed: two may be of one package.
func (s testSuite) name() string {
	return strings.Join(append([]string{module + "/" + s.pkg}, s.args...), " ")
}

// machines are the suites that `make test-vm` runs: each row in a machine of its
// own, in this order. The machines run side by side, as each keeps little more
// than one processor of the host busy.
var machines = [][]testSuite{
	{
		{pkg: "cgroup", time: 5 * time.Minute},
		{pkg: "tests/vm/inside", tags: "vm", time: 15 * time.Minute},
		{pkg: "nsjail", time: 5 * time.Minute, skip: []skipped{
			{"FuzzDecode", "it compiles the init's decoder, and there is no compiler; nothing in it is the kernel's"},
			{"FuzzPlan", "as FuzzDecode"},
		}},
		{pkg: "tests/escape", args: []string{"-forked", "-test.short"}, time: 20 * time.Minute, skip: usedLeftOut},
	},
	{
		{pkg: "executor", args: []string{"-test.short"}, time: 15 * time.Minute, skip: []skipped{
			{"TestPandas", "to prepare a root with pandas takes minutes there; cells with numpy show the same of the kernel"},
			{"TestResults", "as TestPandas, with matplotlib"},
			{"TestTablesOfForkedSessions", "as TestPandas"},
		}},
		{pkg: "tests/escape", args: []string{"-test.short"}, time: 20 * time.Minute, skip: usedLeftOut},
	},
}

var usedLeftOut = []skipped{{"TestUsed", "it plays the rows of the other tests again, in sessions that others have used: that shows nothing more of the kernel"}}

// chosen leaves those of the packages that are named, all without a name, and
// each machine in its place.
func chosen(pkgs []string) ([][]testSuite, error) {
	wanted := make([]string, len(pkgs))
	for i, p := range pkgs {
		wanted[i] = strings.Trim(p, "./")
		if !slices.ContainsFunc(slices.Concat(machines...), func(s testSuite) bool { return s.pkg == wanted[i] }) {
			return nil, fmt.Errorf("%q is no package that is tested in the machine", p)
		}
	}
	some := make([][]testSuite, len(machines))
	for i, suites := range machines {
		for _, s := range suites {
			if len(pkgs) == 0 || slices.Contains(wanted, s.pkg) {
				some[i] = append(some[i], s)
			}
		}
	}
	return some, nil
}
