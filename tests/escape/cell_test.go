// Package escape tries to get out of cells, and to hurt what is beside them.
//
// Every probe is a row: a piece of Python that runs in a real cell, built by
// package executor, and what must come of it: the exact error, the verdict,
// and whether the session answers afterwards. After each row the host is
// looked at: the canaries are as they were, a sibling session answers, and of
// the cell nothing is left. The probes are destructive; they run nowhere but
// in cells.
package escape

import (
	"bufio"
	"context"
	_ "embed"
	"flag"
	"fmt"
	"maps"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/internal/testkit"
)

// A probe is one attack and what must come of it.
type probe struct {
	n    string // of the catalogue of attacks; several rows may share one
	name string
	code string // Python; @PORT@, @ABSTRACT@ and @CANARY@ name what the host has, @PACE@ is testkit.Pace
	// want is the output, less white space at its ends. In a row with match,
	// it is a part of the output.
	want  string
	match bool
	// verdict is ok unless said otherwise, or error where exc names an exception.
	verdict executor.Verdict
	exc     string
	signal  string
	lost    bool          // the namespace is gone afterwards
	within  time.Duration // how long the execution may take at the usual pace; 10 s
	cfg     func(*executor.Config)
	req     func(*executor.Request)
	folder  bool // the session has a folder on the host
	// then looks at the host, or goes on in the session.
	then      func(t *testing.T, s *stage, r executor.Result)
	lostLater bool // then loses the namespace
	// What becomes of the row's own session, by its own doing, is not fixed.
	anyVerdict, anyLost bool
	slow                bool // left out by -short
	alone               bool // not played in a session that others have used, for it ends that or looks at children only
}

// stage is a session with the host around it, on which a probe plays.
type stage struct {
	*host
	ex      *executor.Executor // the session's
	session *executor.Session
	folder  string
	outside string // the folder's parent, where nothing but it may appear
}

// forked has every probe played in a session that was forked from a template.
var forked = flag.Bool("forked", false, "play the probes in sessions that are forked from a template")

// base is the configuration of a row without its own.
func base(h *host) executor.Config {
	cfg := executor.Config{
		Timeout: testkit.Paced(20 * time.Second), MaxMemoryMB: 96, PIDs: 32, CPUs: 2,
		WorkspaceBytes: 16 << 20, WorkspaceFiles: 2000, MaxOutput: 1 << 20,
		ExecutionBaseDir: h.dir + "/sessions", RuntimeDir: h.dir + "/run",
		Template: *forked,
	}
	if h.root != nil {
		cfg.StateDir, cfg.Root = h.root.StateDir, h.root.Root
	}
	return cfg
}

//go:embed testdata/prelude.py
var preludeSource string

// prelude is run in each session before the probe.
var prelude = sync.OnceValues(func() (string, error) {
	f, err := os.Open("../../seccomp/testdata/numbers_" + runtime.GOARCH + ".txt")
	if err != nil {
		return "", err
	}
	defer f.Close()
	var b strings.Builder
	b.WriteString("NR = {")
	for lines := bufio.NewScanner(f); lines.Scan(); {
		number, name, _ := strings.Cut(lines.Text(), " ")
		fmt.Fprintf(&b, "%q: %s, ", name, number)
	}
	return b.String() + "}\n" + preludeSource, nil
})

// run executes in a session that must answer.
func (h *host) run(t *testing.T, s *executor.Session, r executor.Request) executor.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Paced(time.Minute)+r.Timeout)
	defer cancel()
	result, err := s.Execute(ctx, r)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return result
}

func (h *host) fill(code string) string {
	return strings.NewReplacer("@PORT@", fmt.Sprint(h.listener.Addr().(*net.TCPAddr).Port),
		"@ABSTRACT@", h.abstract, "@CANARY@", h.canary, "@SHM@", h.shm, "@PACE@", fmt.Sprint(testkit.Pace()), "@SHORT@", map[bool]string{true: "True", false: "False"}[testing.Short()]).Replace(code)
}

// executorFor is the shared executor, or one of the row's own.
func (h *host) executorFor(t *testing.T, p probe) *executor.Executor {
	t.Helper()
	if p.cfg == nil {
		return h.ex
	}
	cfg := base(h)
	p.cfg(&cfg)
	ex, err := executor.New(cfg)
	must(t, err)
	t.Cleanup(func() { must(t, ex.Close()) })
	return ex
}

// play runs one row in a session of its own.
func (h *host) play(t *testing.T, p probe) {
	t.Helper()
	testkit.Leaks(t)
	ex := h.executorFor(t, p)
	before := h.slots(t)
	s := h.newStage(t, ex, p.folder)
	closed := false
	defer func() {
		if !closed {
			s.session.Close()
		}
	}()
	during := h.slots(t)
	s.prepare(t)
	s.act(t, p)
	maps.Copy(during, h.slots(t)) // the row may have taken another session
	began := time.Now()
	if err := s.session.Close(); err != nil {
		t.Errorf("cannot close the session: %v", err)
	}
	closed = true
	if took := time.Since(began); took > testkit.Paced(5*time.Second) {
		t.Errorf("closing took %s", took)
	}
	for n := range h.nothingLeft(t, before, during) {
		if ex == h.ex || !ex.Config().Template || len(before) > 2 {
			t.Errorf("the record of cell %d is left", n)
		}
		before[n] = true // the template of the row's own executor
	}
	h.holds(t)
}

// newStage starts a session, with a folder on the host or without.
func (h *host) newStage(t *testing.T, ex *executor.Executor, folder bool) *stage {
	t.Helper()
	s := &stage{host: h, ex: ex, outside: t.TempDir()}
	var o executor.SessionOptions
	if folder {
		s.folder = s.outside + "/folder"
		o.Folder = s.folder
	}
	var err error
	s.session, err = ex.NewSession(t.Context(), o)
	must(t, err)
	return s
}

// act runs a row's code and looks at what comes of it, in the session as well.
func (s *stage) act(t *testing.T, p probe) {
	t.Helper()
	r := executor.Request{Code: s.fill(p.code)}
	if p.req != nil {
		p.req(&r)
	}
	began := time.Now()
	result := s.run(t, s.session, r)
	p.judge(t, result, time.Since(began))
	if p.then != nil {
		p.then(t, s, result)
	}
	s.answers(t, p.lost || p.lostLater, p.anyLost)
}

func (s *stage) prepare(t *testing.T) {
	t.Helper()
	code, err := prelude()
	must(t, err)
	if r := s.run(t, s.session, executor.Request{Code: code, Filename: "<prelude>"}); r.Verdict != executor.VerdictOK {
		t.Fatalf("the prelude: %s: %s", r.Verdict, deref(r.Error))
	}
}

// renew ends the row's session and plays on with a new one.
func (s *stage) renew(t *testing.T) {
	t.Helper()
	must(t, s.session.Close())
	var err error
	s.session, err = s.ex.NewSession(t.Context(), executor.SessionOptions{})
	must(t, err)
	s.prepare(t)
}

// judge compares a result with the row.
func (p probe) judge(t *testing.T, r executor.Result, took time.Duration) {
	t.Helper()
	want := p.verdict
	switch {
	case want != "":
	case p.exc != "":
		want = executor.VerdictError
	default:
		want = executor.VerdictOK
	}
	exc := ""
	if r.Exception != nil {
		exc = r.Exception.Name
	}
	if !p.anyVerdict && (r.Verdict != want || p.exc != "" && exc != p.exc || r.Signal != p.signal) {
		t.Errorf("verdict %s %s %s, want %s %s %s\nerror: %s\nstderr: %s", r.Verdict, exc, r.Signal, want, p.exc, p.signal, clip(deref(r.Error)), clip(r.Stderr))
	}
	if r.Session.Lost != p.lost && !p.anyLost {
		t.Errorf("lost is %v", r.Session.Lost)
	}
	got := strings.TrimSpace(r.Output)
	if p.match && !strings.Contains(got, p.want) || !p.match && got != p.want {
		t.Errorf("output %q, want %q\nstderr: %s", clip(got), p.want, clip(r.Stderr))
	}
	limit := p.within
	if limit == 0 {
		limit = 10 * time.Second
	}
	if limit = testkit.Paced(limit); took > limit {
		t.Errorf("took %s, more than %s", took, limit)
	}
}

// answers: the session lives, with its namespace or, after it was lost, a new one.
func (s *stage) answers(t *testing.T, lost, either bool) {
	t.Helper()
	want := "alive\n"
	if lost {
		want = "gone\n"
	}
	r := s.run(t, s.session, executor.Request{Code: "import sys\nsys.stdout.write(globals().get('token', 'gone') + '\\n')", Filename: "<alive>"})
	if either {
		want = "\n"
	}
	if !strings.HasSuffix(r.Output, want) || r.Verdict != executor.VerdictOK {
		t.Errorf("afterwards the session says %q, want %q (%s: %s)", clip(r.Output), want, r.Verdict, clip(deref(r.Error)))
	}
}

// probes are the rows of every table.
func probes() []probe {
	return slices.Concat(networkProbes, execProbes, fileProbes, hostFileProbes, processProbes, memoryProbes, outputProbes, protocolProbes, kernelProbes, templateProbes, classProbes, signalProbes, pipeProbes)
}

func (p probe) path() string { return p.n + "/" + strings.ReplaceAll(p.name, " ", "-") }

// table runs rows one after the other, each as a subtest.
func table(t *testing.T, probes []probe) {
	h := newHost(t)
	for _, p := range probes {
		t.Run(p.path(), func(t *testing.T) {
			if p.slow && testing.Short() {
				t.Log("left out by -short")
				return
			}
			h.play(t, p)
		})
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func clip(s string) string {
	if len(s) > 1500 {
		return s[:700] + " … " + s[len(s)-700:]
	}
	return s
}
