//go:build cellblock_faults

package faults

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/internal/sys"
	"github.com/cellblock/cellblock/internal/testkit"
	"github.com/cellblock/cellblock/nsjail"
)

// errnos are what each call fails with, in turn.
var errnos = []syscall.Errno{syscall.ENOMEM, syscall.EMFILE, syscall.ENOSPC, syscall.EPERM, syscall.EINTR}

// A point is one system call of a cycle: the nth of its kind at its place.
type point struct {
	Place, Call string
	Nth         int
}

func (p point) String() string { return fmt.Sprintf("%s, %s #%d", p.Place, p.Call, p.Nth) }

// calls hears of every system call. Those of a cycle come from several
// goroutines, so that a point is named by its place and not by its number.
type calls struct {
	mu    sync.Mutex
	seen  []point
	count map[[2]string]int
	at    point
	errno syscall.Errno
	hit   bool
}

// listen starts a cycle in which the call at fails with errno; none when errno
// is 0.
func (c *calls) listen(at point, errno syscall.Errno) {
	c.mu.Lock()
	c.seen, c.count, c.at, c.errno, c.hit = nil, map[[2]string]int{}, at, errno, false
	c.mu.Unlock()
	sys.SetFaultHook(c.call)
}

func (c *calls) call(place, call string) syscall.Errno {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := [2]string{place, call}
	p := point{place, call, c.count[key]}
	c.count[key]++
	c.seen = append(c.seen, p)
	if c.errno != 0 && !c.hit && p == c.at {
		c.hit = true
		return c.errno
	}
	return 0
}

// took ends a cycle and says whether the call failed.
func (c *calls) took() (hit bool, seen []point) {
	sys.SetFaultHook(nil)
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hit, c.seen
}

// bench is what cycles run on.
type bench struct {
	ex      *executor.Executor
	runtime string
	folder  string
	records int // of what is kept between cycles
	calls   calls
}

func newBench(runtime string, template bool) (*bench, error) {
	ex, err := executor.New(executor.Config{RuntimeDir: runtime, Timeout: 20 * time.Second, Template: template})
	return &bench{ex: ex, runtime: runtime, folder: filepath.Join(runtime, "folder")}, err
}

const program = "open('out.txt', 'w').write('x')\nprint(6 * 7)"

// execute runs the program in s and looks at what came of it.
func execute(s *executor.Session) error {
	ctx, cancel := context.WithTimeout(context.Background(), 25*time.Second)
	defer cancel()
	r, err := s.Execute(ctx, executor.Request{Code: program})
	if err != nil {
		return err
	}
	if !r.Success || r.Output != "42\n" {
		return &wrongResult{fmt.Sprintf("verdict %q, output %q, %s", r.Verdict, r.Output, r.Stderr)}
	}
	return nil
}

// wrongResult is a call that gave neither its result nor an error.
type wrongResult struct{ text string }

func (w *wrongResult) Error() string { return "wrong result: " + w.text }

// cycle builds a cell, uses it and takes it down while the call at fails with
// errno. It returns the complaints about it.
func (b *bench) cycle(at point, errno syscall.Errno) (hit bool, seen []point, failed error, complaints []string) {
	complain := func(format string, a ...any) { complaints = append(complaints, fmt.Sprintf(format, a...)) }
	began := time.Now()
	s, err := b.ex.NewSession(context.Background(), executor.SessionOptions{Folder: b.folder})
	if err != nil {
		return false, nil, err, []string{err.Error()}
	}
	b.calls.listen(at, errno)
	failed = execute(s)
	if failed != nil {
		complaints = append(complaints, wrongError(failed, errno)...)
		if errno == errnos[0] {
			// The session is as good as a new one, not half open.
			if err := execute(s); err != nil {
				complain("the session is of no more use: %v", err)
			}
		}
	} else if _, err := os.Stat(filepath.Join(b.folder, "out.txt")); err != nil {
		// A file that could not be copied is copied after the next execution.
		if err := execute(s); err != nil {
			complain("the second execution: %v", err)
		}
	}
	if failed != nil && errno != errnos[0] {
		// nothing was executed
	} else if b, err := os.ReadFile(filepath.Join(b.folder, "out.txt")); string(b) != "x" {
		complain("the file of the workspace is %q in the folder (%v)", b, err)
	}
	if err := s.Close(); err != nil {
		complaints = append(complaints, wrongError(err, errno)...)
		if failed == nil {
			failed = err
		}
	}
	hit, seen = b.calls.took()
	if took := time.Since(began); took > 8*time.Second {
		complain("it took %s", took.Round(time.Millisecond))
	}
	return hit, seen, failed, append(complaints, b.leftBehind()...)
}

// wrongError says what is wrong with an error: it must tell the step and the
// cause.
func wrongError(err error, errno syscall.Errno) []string {
	var wrong *wrongResult
	if errors.As(err, &wrong) {
		return []string{err.Error()}
	}
	var step *nsjail.StepError
	var posture *nsjail.PostureError
	var missing *nsjail.MissingError
	named := errors.As(err, &step) && step.Step != "" && step.Step != "unknown" || errors.As(err, &posture) || errors.As(err, &missing)
	var list []string
	if !named && !strings.HasPrefix(err.Error(), "cannot ") {
		list = append(list, fmt.Sprintf("no step is named: %v", err))
	}
	if errno != 0 && missing == nil && !errors.Is(err, errno) && !strings.Contains(err.Error(), errno.Error()) {
		list = append(list, fmt.Sprintf("the cause is not told: %v", err))
	}
	return list
}

// leftBehind lists the records, and what is in the folder that is not the
// program's, and takes them away.
func (b *bench) leftBehind() (left []string) {
	records := seenRecords(b.runtime)
	for deadline := time.Now().Add(time.Second); len(records) > b.records && time.Now().Before(deadline); records = seenRecords(b.runtime) {
		time.Sleep(time.Millisecond) // a nest that was replaced ends in the background
	}
	if len(records) > b.records {
		left = append(left, fmt.Sprintf("left behind: records %v", records))
		b.records = len(records)
	}
	entries, _ := os.ReadDir(b.folder)
	for _, e := range entries {
		if e.Name() != "out.txt" && e.Name() != "script.py" {
			left = append(left, "left behind: "+e.Name())
		}
		os.Remove(filepath.Join(b.folder, e.Name()))
	}
	return left
}

func seenRecords(runtime string) (names []string) {
	entries, _ := os.ReadDir(filepath.Join(runtime, "cells"))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// processState is what a cycle must leave of this process as it was.
func processState(t *testing.T) (fds []string) {
	t.Helper()
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range stats {
		text, _ := os.ReadFile(file)
		// pid (name) state ppid …
		f := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		if len(f) > 1 && f[1] == fmt.Sprint(os.Getpid()) {
			fds = append(fds, "a child in state "+strings.Replace(f[0], "R", "S", 1))
		}
	}
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if target, err := os.Readlink("/proc/self/fd/" + n.Name()); err == nil {
			if i := strings.IndexByte(target, '['); i > 0 && !strings.HasPrefix(target, "anon") {
				target = target[:i] // a number
			}
			fds = append(fds, target)
		}
	}
	slices.Sort(fds)
	return fds
}

// tally is what the faults came to.
type tally struct {
	faults, errors int
	places         map[string]bool
	byErrno        map[syscall.Errno]int
}

func (y *tally) add(p point, errno syscall.Errno, failed error) {
	y.faults++
	if failed != nil {
		y.errors++
	}
	y.places[p.Place] = true
	y.byErrno[errno]++
}

func newTally() *tally { return &tally{places: map[string]bool{}, byErrno: map[syscall.Errno]int{}} }

func (y *tally) String() string {
	s := fmt.Sprintf("%d faults at %d places: %d ended in an error that names the step, %d did no harm;", y.faults, len(y.places), y.errors, y.faults-y.errors)
	for _, e := range errnos {
		s += fmt.Sprintf(" %s %d", name(e), y.byErrno[e])
	}
	return s
}

func name(e syscall.Errno) string {
	return map[syscall.Errno]string{syscall.ENOMEM: "ENOMEM", syscall.EMFILE: "EMFILE", syscall.ENOSPC: "ENOSPC", syscall.EPERM: "EPERM", syscall.EINTR: "EINTR"}[e]
}

// Every call that the host makes for a cell fails once, with each errno.
func TestHostCalls(t *testing.T) { hostCalls(t, false) }

// The same for a cell that stands in a nest and gets its REPL from a template.
func TestHostCallsOfAFork(t *testing.T) { hostCalls(t, true) }

func hostCalls(t *testing.T, template bool) {
	testkit.Require(t, testkit.Root, testkit.MemoryController)
	b, err := newBench(t.TempDir(), template)
	if err != nil {
		t.Fatal(err)
	}
	ours := true
	defer func() {
		if ours {
			b.ex.Close()
		}
	}()
	if err := b.ex.Warm(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.records = len(seenRecords(b.runtime))
	// Twice: the first cell of a process looks at the host, see TestFirstCell.
	var seen []point
	for range 2 {
		_, points, err, complaints := b.cycle(point{}, 0)
		if err != nil || len(complaints) > 0 {
			t.Fatal(err, complaints)
		}
		seen = points
	}
	testkit.Leaks(t)
	t.Cleanup(func() { b.ex.Close() })
	ours = false // the cleanup has it
	t.Logf("a cycle makes %d system calls that can fail", len(seen))
	if list := os.Getenv("CELLBLOCK_FAULTS_LIST"); list != "" {
		for _, p := range seen {
			t.Log(p)
		}
	}
	before := processState(t)
	y := newTally()
	for i, p := range seen {
		if only := os.Getenv("CELLBLOCK_FAULTS_ONLY"); !strings.Contains(p.String(), only) {
			continue
		}
		for j, errno := range errnos {
			if testing.Short() && (i+j)%25 != 0 {
				continue
			}
			hit, _, failed, complaints := b.cycle(p, errno)
			if after := settled(t, before); !slices.Equal(before, after) {
				complaints = append(complaints, "this process has changed: "+difference(before, after))
				before = after
			}
			if len(complaints) > 0 {
				t.Errorf("%s fails with %s:\n\t%s", p, name(errno), strings.Join(complaints, "\n\t"))
			}
			if hit {
				y.add(p, errno, failed)
			}
		}
	}
	t.Log(y)
	most := len(seen) * len(errnos)
	if all := !testing.Short() && os.Getenv("CELLBLOCK_FAULTS_ONLY") == ""; all && y.faults < most*9/10 {
		t.Errorf("%d of %d faults took place", y.faults, most)
	}
}

// settled is the process's state, when it is not as before only after what ends
// by itself has had the time to.
func settled(t *testing.T, before []string) []string {
	for deadline := time.Now().Add(time.Second); ; {
		after := processState(t)
		if slices.Equal(before, after) || time.Now().After(deadline) {
			return after
		}
		time.Sleep(time.Millisecond) // no one event covers all of this
	}
}

func difference(before, after []string) string {
	count := map[string]int{}
	for _, s := range after {
		count[s]++
	}
	for _, s := range before {
		count[s]--
	}
	var list []string
	for s, n := range count {
		if n != 0 {
			list = append(list, fmt.Sprintf("%+d %s", n, s))
		}
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

// What a process finds out about its host once, its first cell does: here each
// fault has a process of its own.
func TestFirstCell(t *testing.T) {
	testkit.Require(t, testkit.Root, testkit.MemoryController)
	if at := os.Getenv(firstCellEnv); at != "" {
		firstCell(t, at)
		return
	}
	testkit.Leaks(t)
	first := child(t, order{})
	later := map[string]bool{}
	for _, p := range first.Later {
		later[p.Place+p.Call] = true
	}
	y := newTally()
	i := 0
	for _, p := range first.Seen {
		if later[p.Place+p.Call] {
			continue // TestHostCalls has it
		}
		for _, errno := range errnos {
			if i++; testing.Short() && i%11 != 0 {
				continue
			}
			r := child(t, order{p, errno})
			if len(r.Complaints) > 0 {
				t.Errorf("%s fails with %s:\n\t%s", p, name(errno), strings.Join(r.Complaints, "\n\t"))
			}
			if r.Hit {
				var failed error
				if r.Failed != "" {
					failed = errors.New(r.Failed)
				}
				y.add(p, errno, failed)
			}
		}
	}
	t.Log(y)
	if i < 50 {
		t.Errorf("only %d faults", i)
	}
}

const firstCellEnv = "CELLBLOCK_FAULTS_FIRST"

type order struct {
	At    point
	Errno syscall.Errno
}

type report struct {
	Hit         bool
	Failed      string
	Complaints  []string
	Seen, Later []point // calls of the first cell, of the second
}

// child runs firstCell in a process of its own.
func child(t *testing.T, o order) (r report) {
	t.Helper()
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", "-test.run=^TestFirstCell$", "-test.count=1")
	out := filepath.Join(t.TempDir(), "report")
	cmd.Env = append(os.Environ(), firstCellEnv+"="+string(text), firstCellEnv+"_REPORT="+out)
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	if text, err = os.ReadFile(out); err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func firstCell(t *testing.T, text string) {
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		t.Fatal(err)
	}
	var r report
	b, err := newBench(t.TempDir(), false)
	if err != nil {
		t.Fatal(err)
	}
	var failed error
	r.Hit, r.Seen, failed, r.Complaints = b.cycle(o.At, o.Errno)
	if failed != nil {
		r.Failed = failed.Error()
	}
	// Whatever the first met, the second cell is as good as any.
	_, later, err, complaints := b.cycle(point{}, 0)
	if err != nil {
		complaints = append(complaints, "the second cell: "+err.Error())
	}
	r.Later, r.Complaints = later, append(r.Complaints, complaints...)
	if err := b.ex.Close(); err != nil {
		r.Complaints = append(r.Complaints, err.Error())
	}
	for _, s := range processState(t) {
		if strings.HasPrefix(s, "a child") {
			r.Complaints = append(r.Complaints, s)
		}
	}
	text2, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(os.Getenv(firstCellEnv+"_REPORT"), text2, 0o600); err != nil {
		t.Fatal(err)
	}
}
