package service

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// watcher looks at a service from outside: what it has, and what it leaves.
type watcher struct {
	s      *service
	pid    func() int        // of the process that has the sessions
	logs   func() []string   // of all processes
	end    func()            // of the service
	groups map[string]uint64 // of any cell, with their inodes
	files  map[string]int    // descriptors of the idle service, by their kind
	most   int64
}

func watch(s *service, pid func() int, logs func() []string, end func()) *watcher {
	w := &watcher{s: s, pid: pid, logs: logs, end: end, groups: map[string]uint64{}}
	// Once it has a template, and what stands ready.
	s.want(201, "", "POST", "/v1/sessions", `{"id":"first"}`)
	s.want(204, "", "DELETE", "/v1/sessions/first", nil)
	w.files = w.descriptors()
	return w
}

// sample notes each second what the service has in memory, and which groups there are.
func (w *watcher) sample(end time.Time) <-chan []int64 {
	done := make(chan []int64, 1)
	go func() {
		var all []int64
		tick := time.NewTicker(min(time.Second, time.Until(end)/100))
		defer tick.Stop()
		for time.Now().Before(end) {
			<-tick.C
			all = append(all, w.memory())
			maps.Copy(w.groups, w.s.identities())
		}
		done <- all
	}()
	return done
}

// typical is the median of the second tenth of the samples, and that of the last.
func (w *watcher) typical(samples []int64) (before, after int64) {
	w.most = slices.Max(samples)
	tenth := max(1, len(samples)/10)
	median := func(part []int64) int64 { part = slices.Sorted(slices.Values(part)); return part[len(part)/2] }
	return median(samples[min(tenth, len(samples)-tenth):][:tenth]), median(samples[len(samples)-tenth:])
}

// nothingLeft fails the test if the service, whose sessions have ended, has more open
// than at its start, or if it leaves a group, a process in one, a mount or a file.
func (w *watcher) nothingLeft() {
	s := w.s
	s.t.Helper()
	s.http.CloseIdleConnections()
	more := func() (all []string) {
		for kind, n := range w.descriptors() {
			if kind == "socket" {
				n -= kept
			}
			if n > w.files[kind]+slack {
				all = append(all, fmt.Sprintf("%d × %s instead of %d", n, kind, w.files[kind]))
			}
		}
		return all
	}
	for deadline := time.Now().Add(30 * time.Second); len(more()) > 0; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Errorf("descriptors of a service without sessions: %v", more())
			break
		}
	}
	maps.Copy(w.groups, s.identities())
	failures := map[string]int{}
	for _, log := range w.logs() {
		for _, m := range regexp.MustCompile(`level=ERROR .*?(error=.*|$)`).FindAllStringSubmatch(log, -1) {
			failures[m[1]]++
		}
	}
	if len(failures) > 0 {
		s.t.Errorf("the log has errors: %v", failures)
	}
	w.end()
	for path, inode := range w.groups {
		var st syscall.Stat_t
		if syscall.Stat(path, &st) == nil && st.Ino == inode {
			s.t.Errorf("the group %s is left", path)
		}
	}
	if mounts, err := os.ReadFile("/proc/self/mountinfo"); err != nil || strings.Contains(string(mounts), s.dir) {
		s.t.Errorf("mounts are left (%v): %s", err, mounts)
	}
	err := filepath.WalkDir(s.dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && d.Type()&os.ModeSocket == 0 && filepath.Dir(path) != filepath.Join(s.dir, "run") && filepath.Dir(path) != filepath.Join(s.dir, "bin") {
			s.t.Errorf("the file %s is left", path)
		}
		return err
	})
	if err != nil {
		s.t.Error(err)
	}
}

// slack is how many descriptors of a kind come and go by themselves; kept are the
// connections that a service keeps to its warden.
const (
	slack = 8
	kept  = 32
)

// descriptors are those of the process, by their kind.
func (w *watcher) descriptors() map[string]int {
	all := map[string]int{}
	dir := fmt.Sprintf("/proc/%d/fd", w.pid())
	names, err := os.ReadDir(dir)
	if err != nil {
		w.s.t.Error(err)
	}
	for _, n := range names {
		if to, err := os.Readlink(filepath.Join(dir, n.Name())); err == nil {
			kind, _, isKind := strings.Cut(to, ":")
			if !isKind {
				kind = "file"
			}
			all[kind]++
		}
	}
	return all
}

// memory is what the process has in memory.
func (w *watcher) memory() int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", w.pid()))
	if err != nil {
		w.s.t.Error(err)
		return 0
	}
	pages, err := strconv.ParseInt(strings.Fields(string(b))[1], 10, 64)
	if err != nil {
		w.s.t.Error(err)
	}
	return pages * int64(os.Getpagesize())
}
