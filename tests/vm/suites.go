package main

import (
	"fmt"
	"regexp"
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
	only []string // these tests; all without
	// skip leaves tests out, with why: it is also the reason that is printed.
	skip []skipped
	time time.Duration // bounds it
}

type skipped struct{ test, why string }

// name is the suite's as it is printed: two may be of one package.
func (s testSuite) name() string {
	return strings.Join(append([]string{module + "/" + s.pkg}, s.args...), " ")
}

// Debian's releases that a machine can be made of.
const (
	trixie   = "trixie"   // Linux 6.12, systemd 257, Python 3.13
	bookworm = "bookworm" // Linux 6.1, systemd 252, Python 3.11
)

var releases = []string{trixie, bookworm}

// A row is a machine and the suites that are run in it, in this order.
type row struct {
	release string
	suites  []testSuite
}

// atOnce is how many machines run side by side, as each keeps little more than
// one processor of the host busy. The others wait for one to end.
const atOnce = 2

// all are the suites, for two machines.
var all = [2][]testSuite{
	{
		{pkg: "cgroup", time: 5 * time.Minute},
		{pkg: "tests/vm/inside", tags: "vm", time: 20 * time.Minute},
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

// packaged is what is tested of a release that is not the one for all suites.
var packaged = []testSuite{{pkg: "tests/vm/inside", tags: "vm", only: []string{"TestPackage"}, time: 15 * time.Minute}}

// rows are what `make test-vm` runs, or with a release all suites on that.
func rows(release string) []row {
	if release != "" {
		return []row{{release, all[0]}, {release, all[1]}}
	}
	return []row{{trixie, all[0]}, {trixie, all[1]}, {bookworm, packaged}}
}

// suitesOf are those of all rows.
func suitesOf(table []row) (all []testSuite) {
	for _, r := range table {
		all = append(all, r.suites...)
	}
	return all
}

// pattern is -test.run of a suite where run was asked for. It is false when that
// names none of its tests.
func (s testSuite) pattern(run string) (string, bool) {
	if len(s.only) == 0 {
		return run, true
	}
	top, below, deeper := strings.Cut(run, "/")
	asked, err := regexp.Compile(top)
	some := slices.DeleteFunc(slices.Clone(s.only), func(test string) bool { return err == nil && !asked.MatchString(test) })
	pattern := "^(" + strings.Join(some, "|") + ")$"
	if deeper {
		pattern += "/" + below
	}
	return pattern, len(some) > 0
}

// chosen leaves the suites that are asked for, and each row in its place.
func chosen(o options) ([]row, error) {
	if o.suite != "" && !slices.Contains(releases, o.suite) {
		return nil, fmt.Errorf("%q is no release that a machine is made of; there are %s", o.suite, strings.Join(releases, ", "))
	}
	table := rows(o.suite)
	wanted := make([]string, len(o.only))
	for i, p := range o.only {
		wanted[i] = strings.Trim(p, "./")
		if !slices.ContainsFunc(slices.Concat(all[:]...), func(s testSuite) bool { return s.pkg == wanted[i] }) {
			return nil, fmt.Errorf("%q is no package that is tested in the machine", p)
		}
	}
	for i, r := range table {
		table[i].suites = slices.DeleteFunc(slices.Clone(r.suites), func(s testSuite) bool {
			_, some := s.pattern(o.run)
			return !some || len(wanted) > 0 && !slices.Contains(wanted, s.pkg)
		})
	}
	return table, nil
}
