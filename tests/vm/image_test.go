package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestMirrorIn(t *testing.T) {
	const deb822 = "Types: deb\n# a comment\nURIs: http://mirror.test/debian\nSuites: bookworm bookworm-updates\nComponents: main\n\n" +
		"Types: deb\nURIs: http://mirror.test/security\nSuites: bookworm-security\nComponents: main"
	for _, c := range []struct{ name, text, release, want string }{
		{"deb822", deb822, "bookworm", "http://mirror.test/debian"},
		{"deb822, last stanza", deb822, "bookworm-security", "http://mirror.test/security"},
		{"another release", deb822, "trixie", ""},
		{"one line", "# deb http://no.test x main\ndeb http://a.test/debian bookworm main\n", "bookworm", "http://a.test/debian"},
		{"one line with options", "deb [arch=amd64 signed-by=/k] http://a.test/debian bookworm main\n", "bookworm", "http://a.test/debian"},
		{"another archive", "deb http://other.test/apt cloud-bookworm main\n", "bookworm", ""},
	} {
		if got := mirrorIn(c.text, c.release); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

// Each skipped test says why, and each suite has a bound below the machine's.
func TestSuitesAreWhole(t *testing.T) {
	for _, s := range suitesOf(rows("")) {
		if s.time <= 0 || s.time >= allTime {
			t.Errorf("%s is bounded by %s, the machine by %s", s.pkg, s.time, allTime)
		}
		for _, sk := range s.skip {
			if sk.why == "" {
				t.Errorf("%s: no reason to leave out %s", s.pkg, sk.test)
			}
		}
	}
}

// What is asked for is run in the machines where it always is, and on one
// release where that is named.
func TestChosen(t *testing.T) {
	const vm, module = "tests/vm/inside", module + "/"
	for _, c := range []struct {
		o    options
		want []string
	}{
		{options{only: []string{"./tests/escape", "cgroup"}}, []string{"0 trixie cgroup", "0 trixie tests/escape -forked -test.short", "1 trixie tests/escape -test.short"}},
		{options{only: []string{vm}}, []string{"0 trixie " + vm, "2 bookworm " + vm}},
		{options{only: []string{vm}, suite: bookworm}, []string{"0 bookworm " + vm}},
		{options{only: []string{vm}, run: "TestPackage/upgrade"}, []string{"0 trixie " + vm, "2 bookworm " + vm}},
		{options{only: []string{vm}, run: "TestPlaces"}, []string{"0 trixie " + vm}},
	} {
		table, err := chosen(c.o)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for i, r := range table {
			for _, s := range r.suites {
				got = append(got, fmt.Sprintf("%d %s %s", i, r.release, strings.TrimPrefix(s.name(), module)))
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%+v gives %q, want %q", c.o, got, c.want)
		}
	}
	for _, o := range []options{{only: []string{"cgroups"}}, {suite: "potato"}} {
		if _, err := chosen(o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
}

// A suite of a few tests keeps to them, whatever is asked for.
func TestPattern(t *testing.T) {
	few := testSuite{only: []string{"TestPackage", "TestPlaces"}}
	for run, want := range map[string]string{
		"": "^(TestPackage|TestPlaces)$", "Pack": "^(TestPackage)$", "TestPackage/upgrade/x": "^(TestPackage)$/upgrade/x", "Test": "^(TestPackage|TestPlaces)$",
	} {
		if got, ok := few.pattern(run); !ok || got != want {
			t.Errorf("%q gives %q (%v), want %q", run, got, ok, want)
		}
	}
	if got, ok := few.pattern("TestContainer"); ok {
		t.Errorf("a test that is not of the suite gives %q", got)
	}
	if got, ok := (testSuite{}).pattern("A/b"); !ok || got != "A/b" {
		t.Errorf("%q, %v", got, ok)
	}
}
