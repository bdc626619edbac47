package main

import (
	"slices"
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
	for _, s := range slices.Concat(machines...) {
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

// A package's suites are run in the machines where they always are.
func TestChosen(t *testing.T) {
	some, err := chosen([]string{"./tests/escape", "cgroup"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i, suites := range some {
		for _, s := range suites {
			if s.pkg != "cgroup" && s.pkg != "tests/escape" {
				t.Errorf("%s was not chosen", s.pkg)
			}
			if !slices.ContainsFunc(machines[i], func(m testSuite) bool { return m.name() == s.name() }) {
				t.Errorf("%s is in machine %d", s.name(), i)
			}
			got = append(got, s.name())
		}
	}
	slices.Sort(got)
	if len(got) != 3 || len(slices.Compact(got)) != 3 {
		t.Errorf("chosen are %q", got)
	}
	if _, err := chosen([]string{"cgroups"}); err == nil {
		t.Error("an unknown package was chosen")
	}
}
