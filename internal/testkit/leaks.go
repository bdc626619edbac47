package testkit

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// Leaks remembers this process's children, descriptors and mounts and the
// cells' groups on the machine, and fails the test when, at its end, there is
// one more of any. What ends by itself within two seconds is no leak.
//
// Descriptors, children and mounts belong to the whole process: do not use it
// beside t.Parallel. Call it before the cleanups it is to judge are registered.
func Leaks(t testing.TB) {
	t.Helper()
	leaks(t, takeSnapshot)
}

// Growth is Leaks for what goes on after the test, and has other pipes, sockets
// and files then: these are counted by their kind.
func Growth(t testing.TB) {
	t.Helper()
	leaks(t, func() snapshot { return takeSnapshot().kinds() })
}

func leaks(t testing.TB, take func() snapshot) {
	t.Helper()
	before := take()
	t.Cleanup(func() {
		t.Helper()
		deadline := time.Now().Add(Paced(2 * time.Second))
		for {
			left := before.missingFrom(take())
			if len(left) == 0 {
				return
			}
			if time.Now().After(deadline) {
				t.Errorf("left behind:\n\t%s", strings.Join(left, "\n\t"))
				return
			}
			time.Sleep(5 * time.Millisecond) // no one event covers all of this
		}
	})
}

// A snapshot counts things by their description.
type snapshot map[string]int

func takeSnapshot() snapshot {
	s := make(snapshot)
	for _, c := range children() {
		s["child "+c]++
	}
	for _, f := range descriptors() {
		s["descriptor of "+f]++
	}
	for _, m := range mountLines() {
		s["mount "+m]++
	}
	for _, g := range cellGroups() {
		s["group "+g]++
	}
	return s
}

// kinds is the snapshot without the numbers of pipes and sockets.
func (s snapshot) kinds() snapshot {
	kinds := make(snapshot)
	for what, n := range s {
		for _, kind := range []string{"descriptor of pipe:", "descriptor of socket:"} {
			if strings.HasPrefix(what, kind) {
				what = kind
			}
		}
		kinds[what] += n
	}
	return kinds
}

// missingFrom lists what later has and s has not.
func (s snapshot) missingFrom(later snapshot) []string {
	var more []string
	for what, n := range later {
		had := s[what]
		if had == 0 && runtimeOwned[what] {
			had = 1
		}
		if n > had {
			more = append(more, fmt.Sprintf("%s (%d more)", what, n-had))
		}
	}
	slices.Sort(more)
	return more
}

// runtimeOwned are the descriptors that the Go runtime opens once, for good,
// when something first waits in its poller.
var runtimeOwned = map[string]bool{
	"descriptor of anon_inode:[eventpoll]": true,
	"descriptor of anon_inode:[eventfd]":   true,
}

// children lists this process's children, zombies among them. (The kernel's own
// list in /proc/PID/task/TID/children is not in every kernel.)
func children() []string {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	var found []string
	self := fmt.Sprint(os.Getpid())
	for _, file := range stats {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // ended meanwhile
		}
		// The name in parentheses may itself hold blanks and parentheses.
		open, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
		if open < 0 || end < open {
			continue
		}
		f := strings.Fields(string(text[end+1:]))
		if len(f) >= 2 && f[1] == self {
			found = append(found, string(text[:end+1]))
		}
	}
	return found
}

// descriptors lists what this process's descriptors refer to.
func descriptors() []string {
	dir, err := os.Open("/proc/self/fd")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	var found []string
	for _, n := range names {
		if n == fmt.Sprint(dir.Fd()) {
			continue
		}
		if target, err := os.Readlink("/proc/self/fd/" + n); err == nil {
			found = append(found, target)
		}
	}
	return found
}

func mountLines() []string {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}
