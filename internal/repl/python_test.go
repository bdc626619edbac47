package repl

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cellblock/cellblock/internal/sys"
	"github.com/cellblock/cellblock/internal/testkit"
)

// python is an interpreter of this host, with the program compiled for it.
type python struct {
	path, version, program string
}

var (
	findOnce sync.Once
	found    []python
	findErr  error
)

func TestMain(m *testing.M) {
	code := m.Run()
	if len(found) > 0 {
		os.RemoveAll(filepath.Dir(filepath.Dir(found[0].program)))
	}
	os.Exit(code)
}

// pythons returns every supported CPython here: the system's and pyenv's.
func pythons(t testing.TB) []python {
	t.Helper()
	findOnce.Do(func() { found, findErr = findPythons() })
	if findErr != nil {
		t.Fatal(findErr)
	}
	testkit.Require(t, testkit.AnyOf("a CPython 3.9 to 3.13", len(found)))
	return found
}

func findPythons() ([]python, error) {
	dir, err := os.MkdirTemp("", "cellrepl")
	if err != nil {
		return nil, err
	}
	source := filepath.Join(dir, "cellrepl.py")
	if err := os.WriteFile(source, Source, 0o644); err != nil {
		return nil, err
	}
	show := filepath.Join(dir, "cellshow.py")
	if err := os.WriteFile(show, ShowSource, 0o644); err != nil {
		return nil, err
	}
	paths := []string{"/usr/bin/python3"}
	if home, err := os.UserHomeDir(); err == nil {
		more, _ := filepath.Glob(filepath.Join(home, ".pyenv/versions/3.*/bin/python3"))
		paths = append(paths, more...)
	}
	supported := regexp.MustCompile(`^3\.(9|1[0-3])\.\d+$`)
	var list []python
	have := map[string]bool{} // one of each minor version is enough
	for _, path := range paths {
		out, err := exec.Command(path, "-I", "-S", "-c", "import sys; print('%d.%d.%d' % sys.version_info[:3])").Output()
		version := strings.TrimSpace(string(out))
		if err != nil || !supported.MatchString(version) || have[minor(version)] {
			continue
		}
		have[minor(version)] = true
		p := python{path: path, version: version, program: filepath.Join(dir, version, "repl.pyc")}
		compile := "import py_compile, sys; a = sys.argv\nfor i in 1, 3: py_compile.compile(a[i], a[i + 1], dfile='/cellblock/repl.py', doraise=True)"
		if out, err := exec.Command(path, "-I", "-S", "-c", compile, source, p.program, show, filepath.Join(dir, version, "show.pyc")).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("cannot compile the program for %s: %w\n%s", version, err, out)
		}
		list = append(list, p)
	}
	return list, nil
}

// minor returns the 11 of 3.11.2.
func minor(version string) string { return strings.Split(version, ".")[1] }

// eachPython runs a test on every interpreter.
func eachPython(t *testing.T, test func(t *testing.T, p python)) {
	for _, p := range pythons(t) {
		t.Run(p.version, func(t *testing.T) {
			t.Parallel()
			test(t, p)
		})
	}
}

// process is a REPL outside of a cell.
type process struct {
	*Conn
	t      testing.TB
	dir    string
	cmd    *exec.Cmd
	stdout output
	stderr output
	exited chan struct{}
}

// output collects a stream that a test reads while it grows.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) take() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.buf.String()
	o.buf.Reset()
	return s
}

// start starts a REPL in a directory of its own and waits until it is ready.
func start(t testing.TB, p python) *process {
	t.Helper()
	r := &process{t: t, dir: t.TempDir(), exited: make(chan struct{})}
	host, cell := socketpair(t)
	r.Conn = host
	r.cmd = exec.Command(p.path, bootstrap(p.program, nil)...)
	r.cmd.Dir = r.dir
	r.cmd.Stdout, r.cmd.Stderr = &r.stdout, &r.stderr
	r.cmd.ExtraFiles = []*os.File{cell}
	r.cmd.WaitDelay = 2 * time.Second
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	cell.Close()
	go func() {
		r.cmd.Wait()
		close(r.exited)
	}()
	t.Cleanup(func() {
		r.Close()
		r.cmd.Process.Kill()
		<-r.exited
	})
	hello, err := r.Ready(limited(t))
	if err != nil {
		t.Fatalf("not ready: %v\n%s", err, r.stderr.take())
	}
	if hello.Version != p.version || hello.PID != r.cmd.Process.Pid {
		t.Errorf("greeting %+v from %s, process %d", hello, p.version, r.cmd.Process.Pid)
	}
	return r
}

func socketpair(t testing.TB) (*Conn, *os.File) {
	t.Helper()
	host, cell, err := sys.Pair(syscall.SOCK_STREAM)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := FromFile(host)
	if err != nil {
		t.Fatal(err)
	}
	return conn, cell
}

func limited(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// run executes a request that must get a reply.
func (r *process) run(req Request) Reply {
	r.t.Helper()
	reply, err := r.Exec(limited(r.t), req)
	if err != nil {
		r.t.Fatalf("%.80q: %v\n%s", req.Code, err, r.stderr.take())
	}
	return reply
}

func (r *process) code(code string) Reply {
	r.t.Helper()
	return r.run(Request{Code: code})
}

// must executes code that must not fail.
func (r *process) must(code string) Reply {
	r.t.Helper()
	reply := r.code(code)
	if reply.Status != StatusOK {
		r.t.Fatalf("%.80q: %s %+v", code, reply.Status, reply.Exception)
	}
	return reply
}

// wantAlive checks that the namespace still holds what "keep = 41" put there.
func (r *process) wantAlive() {
	r.t.Helper()
	if v := value(r.must("keep + 1")); v != "42" {
		r.t.Errorf("after: keep + 1 is %s", v)
	}
}

func (r *process) interrupt() error {
	return r.cmd.Process.Signal(syscall.SIGINT)
}

// out waits until stdout holds want.
func (r *process) wantOut(want string) {
	r.t.Helper()
	r.waitFor(&r.stdout, want)
}

func (r *process) waitFor(o *output, want string) {
	r.t.Helper()
	got := ""
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if got += o.take(); len(got) >= len(want) {
			break
		}
	}
	if got != want {
		r.t.Errorf("output %q, want %q", got, want)
	}
}

func value(r Reply) string {
	if r.Value == nil {
		return "(no value)"
	}
	return *r.Value
}

// plain runs a file as `python FILE` does, and returns what came of it.
func plain(t *testing.T, p python, dir, file, stdin string) (stdout, stderr string, status int) {
	t.Helper()
	cmd := exec.CommandContext(limited(t), p.path, "-E", "-s", "-B", "-X", "utf8", file)
	cmd.Dir = dir
	cmd.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}
