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
	"crypto/sha256"
	_ "embed"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/internal/testkit"
	"github.com/cellblock/cellblock/rootfs"
)

// A probe is one attack and what must come of it.
type probe struct {
	n    string // of the catalogue of attacks; several rows may share one
	name string
	code string // Python; @PORT@, @ABSTRACT@ and @CANARY@ name what the host has
	// want is the output, less white space at its ends. In a row with match,
	// it is a part of the output.
	want  string
	match bool
	// verdict is ok unless said otherwise, or error where exc names an exception.
	verdict executor.Verdict
	exc     string
	signal  string
	lost    bool          // the namespace is gone afterwards
	within  time.Duration // how long the execution may take; 10 s
	cfg     func(*executor.Config)
	req     func(*executor.Request)
	folder  bool // the session has a folder on the host
	// then looks at the host, or goes on in the session.
	then      func(t *testing.T, s *stage, r executor.Result)
	lostLater bool // then loses the namespace
	// What becomes of the row's own session, by its own doing, is not fixed.
	anyVerdict, anyLost bool
	slow                bool // left out by -short
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
		Timeout: 20 * time.Second, MaxMemoryMB: 96, PIDs: 32, CPUs: 2,
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

// host is what must not be reached, and what must go on.
type host struct {
	dir      string // of this test on the host
	canary   string
	canaries map[string]string
	listener net.Listener
	abstract string
	reached  atomic.Int32
	ex       *executor.Executor
	sibling  *executor.Session
	root     *executor.Config // of a mutant: another root than the usual one
	shm      string           // number of a shared memory segment
}

// newHost plants canaries, listens on two addresses, and starts a sibling.
func newHost(t *testing.T) *host {
	t.Helper()
	testkit.Require(t, testkit.Root, testkit.MemoryController, testkit.Python("3.9"))
	dir, err := os.MkdirTemp("", "escape-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	h := &host{dir: dir, canary: dir + "/canary", root: otherRoot(t)}
	must(t, os.Chmod(dir, 0o755))
	// Anyone who could name these could read and change them.
	must(t, os.Mkdir(h.canary, 0o777))
	must(t, os.Chmod(h.canary, 0o777))
	must(t, os.Mkdir(h.canary+"/sub", 0o777))
	must(t, os.Chmod(h.canary+"/sub", 0o777))
	for _, name := range []string{"secret", "other", "sub/other"} {
		must(t, os.WriteFile(h.canary+"/"+name, []byte("canary "+name), 0o666))
		must(t, os.Chmod(h.canary+"/"+name, 0o666))
	}
	must(t, os.Mkdir(dir+"/sessions", 0o755))
	h.listen(t)
	h.share(t)
	h.ex, err = executor.New(base(h))
	must(t, err)
	t.Cleanup(func() { must(t, h.ex.Close()) })
	h.sibling, err = h.ex.NewSession(t.Context(), executor.SessionOptions{ID: "sibling"})
	must(t, err)
	// It sleeps so that what the host watches a longer execution with is open,
	// and not taken for a leak later on.
	h.run(t, h.sibling, executor.Request{Code: "import time\ntime.sleep(0.3)\nkept = 1"})
	h.canaries = h.sums(t)
	if h.root == nil {
		t.Cleanup(func() { h.rootIntact(t) })
	}
	return h
}

// rootIntact compares every byte of the prepared root, which all cells share,
// with its manifest.
func (h *host) rootIntact(t *testing.T) {
	t.Helper()
	store, err := rootfs.Open("")
	must(t, err)
	spec, err := h.ex.Config().RootSpec()
	must(t, err)
	root, ok, err := store.Find(spec)
	if err != nil || !ok {
		t.Fatalf("the root is not to be found any more: %v", err)
	}
	report, err := store.Verify(root.Digest, nil)
	must(t, err)
	if !report.OK() {
		t.Errorf("%s", report)
	}
}

func (h *host) listen(t *testing.T) {
	t.Helper()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	h.abstract = fmt.Sprintf("cellblock-escape-%d", os.Getpid())
	unix, err := net.Listen("unix", "@"+h.abstract)
	must(t, err)
	h.listener = tcp
	for _, l := range []net.Listener{tcp, unix} {
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				h.reached.Add(1)
				c.Close()
			}
		}()
	}
}

// share makes a segment of shared memory that everyone on the host may read.
func (h *host) share(t *testing.T) {
	t.Helper()
	h.shm = "0"
	if _, err := exec.LookPath("ipcmk"); err != nil {
		return // the probe then asks for one that is not there
	}
	out, err := exec.Command("ipcmk", "-M", "4096", "-p", "0666").Output()
	must(t, err)
	_, id, ok := strings.Cut(strings.TrimSpace(string(out)), ": ")
	if !ok {
		t.Fatalf("ipcmk says %q", out)
	}
	h.shm = id
	t.Cleanup(func() { must(t, exec.Command("ipcrm", "-m", id).Run()) })
}

// sums describes the canaries and the host's files that attacks like best.
func (h *host) sums(t *testing.T) map[string]string {
	t.Helper()
	sums := map[string]string{}
	add := func(path string, info fs.FileInfo) {
		what := fmt.Sprintf("%s %d", info.Mode(), info.ModTime().UnixNano())
		if info.Mode().IsRegular() {
			f, err := os.Open(path)
			must(t, err)
			defer f.Close()
			hash := sha256.New()
			_, err = io.Copy(hash, f)
			must(t, err)
			what += fmt.Sprintf(" %x", hash.Sum(nil))
		}
		sums[path] = what
	}
	must(t, filepath.Walk(h.canary, func(path string, info fs.FileInfo, err error) error {
		if err == nil {
			add(path, info)
		}
		return err
	}))
	for _, path := range []string{"/etc/passwd", "/etc/shadow", "/etc", "/usr/bin/python3", "/tmp/pwned"} {
		if info, err := os.Stat(path); err == nil {
			add(path, info)
		}
	}
	return sums
}

// holds checks what must be so after every probe.
func (h *host) holds(t *testing.T) {
	t.Helper()
	for path, now := range h.sums(t) {
		if was := h.canaries[path]; was != now {
			t.Errorf("canary %s: %s, was %s", path, now, was)
		}
	}
	if n := h.reached.Load(); n != 0 {
		t.Errorf("a listener of the host was reached %d times", n)
		h.reached.Store(0)
	}
	began := time.Now()
	r := h.run(t, h.sibling, executor.Request{Code: "print(kept)"})
	if took := time.Since(began); r.Output != "1\n" || took > time.Second {
		t.Errorf("the sibling said %q (%s, %s) after %s", r.Output, r.Verdict, deref(r.Error), took)
	}
}

// run executes in a session that must answer.
func (h *host) run(t *testing.T, s *executor.Session, r executor.Request) executor.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	result, err := s.Execute(ctx, r)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return result
}

func (h *host) fill(code string) string {
	return strings.NewReplacer("@PORT@", fmt.Sprint(h.listener.Addr().(*net.TCPAddr).Port),
		"@ABSTRACT@", h.abstract, "@CANARY@", h.canary, "@SHM@", h.shm, "@SHORT@", map[bool]string{true: "True", false: "False"}[testing.Short()]).Replace(code)
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
	s := &stage{host: h, ex: ex, outside: t.TempDir()}
	var o executor.SessionOptions
	if p.folder {
		s.folder = s.outside + "/folder"
		o.Folder = s.folder
	}
	var err error
	s.session, err = ex.NewSession(t.Context(), o)
	must(t, err)
	closed := false
	defer func() {
		if !closed {
			s.session.Close()
		}
	}()
	h.prepare(t, s)
	r := executor.Request{Code: h.fill(p.code)}
	if p.req != nil {
		p.req(&r)
	}
	began := time.Now()
	result := h.run(t, s.session, r)
	took := time.Since(began)
	p.judge(t, result, took)
	if p.then != nil {
		p.then(t, s, result)
	}
	s.answers(t, p.lost || p.lostLater, p.anyLost)
	began = time.Now()
	if err := s.session.Close(); err != nil {
		t.Errorf("cannot close the session: %v", err)
	}
	closed = true
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("closing took %s", took)
	}
	h.nothingLeft(t, ex)
	h.holds(t)
}

func (h *host) prepare(t *testing.T, s *stage) {
	t.Helper()
	code, err := prelude()
	must(t, err)
	if r := h.run(t, s.session, executor.Request{Code: code, Filename: "<prelude>"}); r.Verdict != executor.VerdictOK {
		t.Fatalf("the prelude: %s: %s", r.Verdict, deref(r.Error))
	}
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
	if took > limit {
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

// nothingLeft: the records of living cells are those of the sibling, of the
// template that it was forked from, and of that of the row's own executor.
func (h *host) nothingLeft(t *testing.T, ex *executor.Executor) {
	t.Helper()
	records, err := os.ReadDir(h.dir + "/run/cells")
	must(t, err)
	want := 1
	if h.ex.Config().Template {
		want++
	}
	if ex != h.ex && ex.Config().Template {
		want++
	}
	if len(records) != want {
		t.Errorf("%d records of cells, want %d", len(records), want)
	}
}

// table runs rows one after the other, each as a subtest.
func table(t *testing.T, probes []probe) {
	h := newHost(t)
	for _, p := range probes {
		t.Run(p.n+"/"+strings.ReplaceAll(p.name, " ", "-"), func(t *testing.T) {
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
