package executor_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/internal/testkit"
	"github.com/cellblock/cellblock/nsjail"
)

func newExecutor(t testing.TB, cfg executor.Config) *executor.Executor {
	t.Helper()
	testkit.Require(t, testkit.Root, testkit.MemoryController)
	if cfg.ExecutionBaseDir == "" {
		cfg.ExecutionBaseDir = t.TempDir()
	}
	ex, err := executor.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ex.Close(); err != nil {
			t.Error(err)
		}
	})
	return ex
}

func run(t testing.TB, ex *executor.Executor, r executor.Request) executor.Result {
	t.Helper()
	result, err := ex.Execute(context.Background(), r)
	if err != nil {
		t.Fatalf("%.80q: %v", r.Code, err)
	}
	return result
}

func errorText(r executor.Result) string {
	if r.Error == nil {
		return ""
	}
	return *r.Error
}

// One session lives through a table of endings; what is lost, and when, shows.
func TestEndings(t *testing.T) {
	ex := newExecutor(t, executor.Config{MaxMemoryMB: 128, Timeout: testkit.Paced(20 * time.Second)})
	soon := testkit.Paced(500 * time.Millisecond)
	for _, c := range []struct {
		name    string
		code    string
		timeout time.Duration
		verdict executor.Verdict
		status  int
		error   string // a part of it
		lost    bool
		signal  string
	}{
		{name: "ok", code: "print(1)", verdict: "ok"},
		{name: "exception", code: "1/0", verdict: "error", status: 1, error: "ZeroDivisionError: division by zero\n"},
		{name: "syntax error", code: "print(", verdict: "syntax-error", status: 1, error: "SyntaxError: '(' was never closed"},
		{name: "sys.exit", code: "import sys; sys.exit(7)", verdict: "exit", status: 7},
		{name: "sys.exit of 0", code: "import sys; sys.exit()", verdict: "exit"},
		{name: "time-out", code: "while True: pass", timeout: soon, verdict: "timeout", status: -1, error: fmt.Sprintf("Execution timeout after %g seconds", soon.Seconds())},
		{name: "time-out asleep", code: "import time; time.sleep(99)", timeout: soon, verdict: "timeout", status: -1},
		{name: "a huge allocation", code: "bytearray(1 << 34)", verdict: "error", status: 1, error: "MemoryError"},
		{name: "growth", code: "l = []\nwhile True: l.append(bytearray(1 << 20))", verdict: "error", status: 1, error: "MemoryError"},
		{name: "growth is freed", code: "del l; b = bytearray(64 << 20); len(b)", verdict: "ok"},
		{name: "shared pages", code: "del b\nimport mmap; m = mmap.mmap(-1, 1 << 29)\nfor i in range(0, 1 << 29, 4096): m[i] = 1", verdict: "out-of-memory", status: -1, error: "limit of 128 MB", lost: true},
		{name: "os._exit", code: "import os; os._exit(3)", verdict: "exit", status: 3, lost: true},
		{name: "os._exit of 0", code: "import os; os._exit(0)", verdict: "exit", lost: true},
		{name: "crash", code: "import ctypes; ctypes.string_at(0)", verdict: "crashed", status: -1, lost: true, signal: "SIGSEGV"},
		{name: "kill of itself", code: "import os; os.kill(os.getpid(), 9)", verdict: "killed", status: -1, lost: true, signal: "SIGKILL"},
		{
			name: "a time-out that ignores the interrupt", timeout: soon, verdict: "timeout", status: -1, lost: true,
			code: "import signal; signal.signal(2, signal.SIG_IGN)\nwhile True: pass",
		},
		{name: "stopped", code: "import os; os.kill(os.getpid(), 19)", timeout: soon, verdict: "timeout", status: -1, lost: true},
		{name: "a channel that is closed", code: "import os, time; os.closerange(3, 9); time.sleep(60)", verdict: "crashed", status: -1, lost: true},
		{name: "a child holds the channel", code: "import os, time\nif os.fork() == 0: time.sleep(60)\nos._exit(5)", verdict: "exit", status: 5, lost: true},
		{
			name: "out of memory in a child", verdict: "out-of-memory", status: -1, lost: true,
			code: "import os, mmap\nif os.fork() == 0:\n m = mmap.mmap(-1, 1 << 29)\n for i in range(0, 1 << 29, 4096): m[i] = 1\nos.wait()",
		},
	} {
		before := run(t, ex, executor.Request{Code: "kept = 1", SessionID: "table"})
		if !before.Success {
			t.Fatalf("%s: the session is not alive before: %s", c.name, errorText(before))
		}
		r := run(t, ex, executor.Request{Code: c.code, SessionID: "table", Timeout: c.timeout})
		if r.Verdict != c.verdict || r.ReturnCode != c.status || !strings.Contains(errorText(r), c.error) || r.Session.Lost != c.lost || r.Signal != c.signal {
			t.Errorf("%s: verdict %s, status %d, error %q, lost %t, signal %q", c.name, r.Verdict, r.ReturnCode, errorText(r), r.Session.Lost, r.Signal)
		}
		if r.Success != (c.status == 0) {
			t.Errorf("%s: success is %t", c.name, r.Success)
		}
		after := run(t, ex, executor.Request{Code: "kept", SessionID: "table"})
		if after.Success == c.lost {
			t.Errorf("%s: the namespace afterwards: %s", c.name, errorText(after))
		}
	}
	// The workspace outlived every one of them.
	run(t, ex, executor.Request{Code: "open('w.txt', 'w').write('here')", SessionID: "table"})
	run(t, ex, executor.Request{Code: "import os; os._exit(1)", SessionID: "table"})
	if r := run(t, ex, executor.Request{Code: "open('w.txt').read()", SessionID: "table"}); r.Value == nil || *r.Value != "'here'" {
		t.Errorf("the workspace is lost: %s", errorText(r))
	}
}

func TestCPUTime(t *testing.T) {
	ex := newExecutor(t, executor.Config{})
	limit := testkit.Paced(300 * time.Millisecond)
	r := run(t, ex, executor.Request{Code: "x = 1\nwhile True: pass", SessionID: "c", CPUTime: limit})
	if r.Verdict != executor.VerdictCPUTime || r.Usage.CPUSeconds < limit.Seconds() || r.Usage.CPUSeconds > 7*limit.Seconds() {
		t.Errorf("verdict %s after %.3f s of CPU", r.Verdict, r.Usage.CPUSeconds)
	}
	r = run(t, ex, executor.Request{Code: fmt.Sprintf("import time; time.sleep(%g); x", 2*limit.Seconds()), SessionID: "c", CPUTime: limit})
	if !r.Success {
		t.Errorf("sleep was counted as CPU time: %s", errorText(r))
	}
}

func TestNamespace(t *testing.T) {
	ex := newExecutor(t, executor.Config{})
	r := run(t, ex, executor.Request{SessionID: "n", Code: `
import os, collections
i, f, s, b, n = 1, 2.5, "x" * 200, True, None
l, d, o = [1, 2], {k: k for k in range(20)}, collections.OrderedDict(a=1)
_hidden = 1
def func(): pass
`})
	got, _ := json.Marshal(r.Namespace)
	want := `{"b":{"type":"bool","value":"True"},"d":{"type":"dict","keys":["0","1","2","3","4","5","6","7","8","9"]},` +
		`"f":{"type":"float","value":"2.5"},"i":{"type":"int","value":"1"},"l":{"type":"list","length":2},"n":{"type":"NoneType"},` +
		`"o":{"type":"collections.OrderedDict","keys":["a"]},"s":{"type":"str","value":"` + strings.Repeat("x", 100) + `"}}`
	if string(got) != want {
		t.Errorf("namespace\n%s\nwant\n%s", got, want)
	}
	if r := run(t, ex, executor.Request{SessionID: "n", Code: "i", FreshNamespace: true}); r.Verdict != executor.VerdictError {
		t.Error("a fresh namespace has the old variables")
	}
}

func TestPandas(t *testing.T) {
	ex := newExecutor(t, executor.Config{Packages: []string{"pandas", "matplotlib"}, MaxMemoryMB: 1024, Timeout: testkit.Paced(120 * time.Second)})
	folder := t.TempDir()
	csv := filepath.Join(folder, "in.csv")
	if err := os.WriteFile(csv, []byte("a,b\n1,2\n3,4\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(folder, "out")
	r := run(t, ex, executor.Request{SessionID: "p", InputFiles: map[string]string{csv: "in.csv"}, Collect: out, Code: `
import pandas as pd, numpy as np, matplotlib.pyplot as plt
df = pd.read_csv("in.csv"); arr = np.ones((2, 3))
df.plot(); plt.savefig("plot.png")
print(df.a.sum())`})
	if !r.Success || r.Output != "4\n" {
		t.Fatalf("output %q, error %s", r.Output, errorText(r))
	}
	df := r.Namespace["df"]
	if df.Type != "pandas.core.frame.DataFrame" || !slices.Equal(df.Shape, []int64{2, 2}) || !slices.Equal(df.Columns, []string{"a", "b"}) {
		t.Errorf("df is described as %+v", df)
	}
	if a := r.Namespace["arr"]; a.DType != "float64" || !slices.Equal(a.Shape, []int64{2, 3}) {
		t.Errorf("arr is described as %+v", a)
	}
	if !slices.Equal(r.CreatedFiles, []string{"plot.png"}) {
		t.Errorf("created files %v", r.CreatedFiles)
	}
	png, err := os.ReadFile(filepath.Join(out, "plot.png"))
	if err != nil || !strings.HasPrefix(string(png), "\x89PNG") {
		t.Errorf("the PNG did not arrive: %v", err)
	}
}

func TestFilesMirror(t *testing.T) {
	base := t.TempDir()
	ex := newExecutor(t, executor.Config{ExecutionBaseDir: base})
	host := func(name string) string { return filepath.Join(base, "m", name) }
	run(t, ex, executor.Request{SessionID: "m", StageName: "load", Code: "open('made.txt','w').write('1')"})
	if b, _ := os.ReadFile(host("made.txt")); string(b) != "1" {
		t.Errorf("made.txt on the host holds %q", b)
	}
	if b, _ := os.ReadFile(host("script_load.py")); string(b) != "open('made.txt','w').write('1')" {
		t.Errorf("the script on the host holds %q", b)
	}
	if err := os.WriteFile(host("given.txt"), []byte("2"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := run(t, ex, executor.Request{SessionID: "m", Code: "import os\nprint(open('given.txt').read()); os.remove('made.txt')"})
	if r.Output != "2\n" {
		t.Errorf("the cell read %q: %s", r.Output, errorText(r))
	}
	if want := (executor.FileChange{Path: "made.txt", Change: "deleted"}); !slices.Contains(r.Files, want) {
		t.Errorf("files %v", r.Files)
	}
	if _, err := os.Lstat(host("made.txt")); !errors.Is(err, os.ErrNotExist) {
		t.Error("made.txt is still on the host")
	}
	if err := ex.CleanupSession("m"); err != nil {
		t.Fatal(err)
	}
	if r = run(t, ex, executor.Request{SessionID: "m", Code: "open('given.txt').read()"}); r.Value == nil || *r.Value != "'2'" {
		t.Errorf("after clean-up the folder is not seen: %s", errorText(r))
	}
}

func TestWithoutIDNothingIsLeft(t *testing.T) {
	base := t.TempDir()
	ex := newExecutor(t, executor.Config{ExecutionBaseDir: base})
	run(t, ex, executor.Request{Code: "print(1)"}) // the root is built and held
	testkit.Leaks(t)
	run(t, ex, executor.Request{Code: "x = 1; open('f','w').write('x')"})
	if r := run(t, ex, executor.Request{Code: "import os; print(os.listdir('.'), 'x' in globals())"}); r.Output != "[] False\n" {
		t.Errorf("output %q", r.Output)
	}
	if left, _ := os.ReadDir(base); len(left) > 0 {
		t.Errorf("%v is left", left)
	}
}

func TestDirs(t *testing.T) {
	ex := newExecutor(t, executor.Config{StateDir: ""})
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "pkg"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "pkg", "m.py"), []byte("v = 5"), 0o644); err != nil {
		t.Fatal(err)
	}
	r := run(t, ex, executor.Request{
		Dirs: []executor.Dir{{Host: dir, Name: "rw"}, {Host: dir, Name: "ro", ReadOnly: true}, {Host: filepath.Join(dir, "pkg", "m.py"), Name: "big.bin", ReadOnly: true}},
		Code: `
import sys
sys.path.insert(0, 'rw/pkg'); import m; print(m.v)
open('rw/new', 'w').close()
print(open('ro/pkg/m.py').read())
print(open('big.bin').read())
try: open('ro/new', 'w')
except OSError as e: print(e.errno)
print([l for l in open('/proc/self/mountinfo') if '` + dir + `' in l])`,
	})
	if r.Output != "5\nv = 5\nv = 5\n30\n[]\n" {
		t.Errorf("output %q, error %s", r.Output, errorText(r))
	}
}

func TestOutput(t *testing.T) {
	ex := newExecutor(t, executor.Config{MaxOutput: 1000})
	r := run(t, ex, executor.Request{SessionID: "o", Code: "import sys\nprint('é' * 2000); sys.stderr.write('e')\nsys.stdout.buffer.write(b'\\xff')"})
	if !r.Truncated.Output || r.Truncated.Stderr || len(r.Output) > 1003 || r.Stderr != "e" {
		t.Errorf("%d bytes of output, stderr %q, truncated %+v", len(r.Output), r.Stderr, r.Truncated)
	}
	var all int
	r = run(t, ex, executor.Request{SessionID: "o", Code: "for i in range(3000): print('x' * 99)", Stdout: func(b []byte) { all += len(b) }})
	if all != 300000 || r.Truncated.Output {
		t.Errorf("%d bytes were streamed", all)
	}
	r = run(t, ex, executor.Request{SessionID: "o", Code: "while True: print('x' * 9999)"})
	if r.Verdict != executor.VerdictOutputLimit {
		t.Errorf("a flood ends with %s", r.Verdict)
	}
}

func TestStdinAndValidate(t *testing.T) {
	ex := newExecutor(t, executor.Config{})
	if r := run(t, ex, executor.Request{Code: "print(input())", Stdin: []byte("hello\n")}); r.Output != "hello\n" {
		t.Errorf("output %q: %s", r.Output, errorText(r))
	}
	if r := run(t, ex, executor.Request{Code: "input()"}); r.Exception == nil || r.Exception.Name != "EOFError" {
		t.Errorf("input() without stdin: %s", errorText(r))
	}
	if r := run(t, ex, executor.Request{Code: "print(input())", StdinReader: strings.NewReader("live\n")}); r.Output != "live\n" {
		t.Errorf("output %q: %s", r.Output, errorText(r))
	}
	r := run(t, ex, executor.Request{Code: "import socket", Validate: true})
	if r.Verdict != executor.VerdictRefused || len(r.Issues) != 1 || r.Issues[0].Message != "Blocked import detected: socket" {
		t.Errorf("verdict %s, issues %v", r.Verdict, r.Issues)
	}
	began := time.Now()
	valid, _, err := ex.ValidateImports(context.Background(), strings.Repeat("(", 100_000)+strings.Repeat(")", 100_000))
	if err != nil || valid || time.Since(began) > testkit.Paced(time.Second) {
		t.Errorf("nested parentheses: valid %t, %v, after %s", valid, err, time.Since(began))
	}
}

func TestSessionsSideBySide(t *testing.T) {
	ex := newExecutor(t, executor.Config{})
	ctx := context.Background()
	s, err := ex.NewSession(ctx, executor.SessionOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Execute(ctx, executor.Request{Code: "n = 0"}); err != nil {
		t.Fatal(err)
	}
	const calls = 8
	done := make(chan error, calls+1)
	for range calls {
		go func() {
			_, err := s.Execute(ctx, executor.Request{Code: "m = n\nimport time; time.sleep(0.01)\nn = m + 1"})
			done <- err
		}()
	}
	go func() {
		r, err := ex.Execute(ctx, executor.Request{Code: "1"})
		if err == nil && !r.Success {
			err = errors.New(errorText(r))
		}
		done <- err
	}()
	for range calls + 1 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if r, err := s.Execute(ctx, executor.Request{Code: "n"}); err != nil || r.Value == nil || *r.Value != fmt.Sprint(calls) {
		t.Errorf("executions of one session overlapped: %v, %v", r.Value, err)
	}
	// A call that waits for its turn honours its context; closing ends the one that runs.
	started := make(chan struct{}, 1)
	go func() {
		_, err := s.Execute(ctx, executor.Request{Code: "print(1)\nwhile True: pass", Stdout: func([]byte) {
			select {
			case started <- struct{}{}:
			default:
			}
		}})
		done <- err
	}()
	<-started
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if _, err := s.Execute(short, executor.Request{Code: "1"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a waiting call: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	<-done
	if _, err := s.Execute(ctx, executor.Request{Code: "1"}); !errors.Is(err, executor.ErrClosed) {
		t.Errorf("a closed session: %v", err)
	}
}

// Code whose session is closed has no result but what it printed, and no figures
// that nobody read.
func TestCloseUnderCode(t *testing.T) {
	ex := newExecutor(t, executor.Config{})
	s, err := ex.NewSession(t.Context(), executor.SessionOptions{})
	if err != nil {
		t.Fatal(err)
	}
	closed := make(chan error, 1)
	r, err := s.Execute(t.Context(), executor.Request{Code: "print('here', flush=True)\nimport time; time.sleep(99)", Stdout: func([]byte) {
		go func() { closed <- s.Close() }()
	}})
	if !errors.Is(err, executor.ErrClosed) || r.Output != "here\n" {
		t.Errorf("%q, %v", r.Output, err)
	}
	u := r.Usage
	for name, n := range map[string]float64{"cpu_s": u.CPUSeconds, "memory_peak_bytes": float64(u.MemoryPeakBytes), "processes_peak": float64(u.ProcessesPeak)} {
		if n < 0 || (n == 0) != slices.Contains(u.Unmeasured, name) {
			t.Errorf("%s is %g, unmeasured are %v", name, n, u.Unmeasured)
		}
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

func TestInterruptAndCancel(t *testing.T) {
	ex := newExecutor(t, executor.Config{})
	ctx := context.Background()
	s, err := ex.NewSession(ctx, executor.SessionOptions{})
	if err != nil {
		t.Fatal(err)
	}
	looping := executor.Request{Code: "x = 5\nprint(1, flush=True)\nwhile True: pass"}
	looping.Stdout = func([]byte) { s.Interrupt() }
	r, err := s.Execute(ctx, looping)
	if err != nil || r.Exception == nil || r.Exception.Name != "KeyboardInterrupt" || r.Session.Lost {
		t.Errorf("interrupted: %+v, %v", r, err)
	}
	cctx, cancel := context.WithCancel(ctx)
	looping.Stdout = func([]byte) { cancel() }
	if r, err := s.Execute(cctx, looping); !errors.Is(err, context.Canceled) || r.Verdict != executor.VerdictKilled {
		t.Errorf("cancelled: %s, %v", r.Verdict, err)
	}
	if r, err := s.Execute(ctx, executor.Request{Code: "x"}); err != nil || r.Value == nil || *r.Value != "5" {
		t.Errorf("the namespace is gone: %v", err)
	}
}

func TestBadRequests(t *testing.T) {
	ex := newExecutor(t, executor.Config{})
	for name, r := range map[string]executor.Request{
		"id with a slash":     {SessionID: "../x"},
		"id that is too long": {SessionID: strings.Repeat("a", 65)},
		"stage with a dot":    {StageName: "a.b"},
		"no such input":       {InputFiles: map[string]string{"/nonexistent": "a"}},
		"input outside":       {InputFiles: map[string]string{"/etc/hostname": "../a"}},
		"no such directory":   {Dirs: []executor.Dir{{Host: "/nonexistent"}}},
		"negative timeout":    {Timeout: -1},
		"validated module":    {Module: "this", Validate: true},
	} {
		r.Code = "1"
		var invalid *executor.InvalidError
		if _, err := ex.Execute(context.Background(), r); !errors.As(err, &invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, cfg := range map[string]executor.Config{
		"little memory": {MaxMemoryMB: executor.MinMemoryMB - 1}, "few processes": {PIDs: executor.MinPIDs - 1}, "no such layer": {Without: []string{"walls"}}, "bad variable": {Env: map[string]string{"A=B": "c"}},
		"preload": {Env: map[string]string{"LD_PRELOAD": "x"}}, "negative timeout": {Timeout: -1},
	} {
		var invalid *executor.InvalidError
		if _, err := executor.New(cfg); !errors.As(err, &invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDoctor(t *testing.T) {
	ex := newExecutor(t, executor.Config{})
	r := ex.Doctor(context.Background())
	if !r.OK {
		t.Errorf("%+v", r)
	}
	for _, l := range r.Layers {
		if l.Status != nsjail.Available {
			t.Errorf("layer %s is %s: %s", l.Name, l.Status, l.Why)
		}
	}
}

func TestOneShotKeepsFiles(t *testing.T) {
	ex := newExecutor(t, executor.Config{OneShot: true})
	run(t, ex, executor.Request{SessionID: "1", Code: "x = 1; open('f','w').write('kept')"})
	r := run(t, ex, executor.Request{SessionID: "1", Code: "print(open('f').read(), 'x' in globals())"})
	if r.Output != "kept False\n" {
		t.Errorf("output %q: %s", r.Output, errorText(r))
	}
}

// What is shared read-only is bound when the cell is built, and never later.
func TestLateReadOnlyDir(t *testing.T) {
	ex := newExecutor(t, executor.Config{})
	run(t, ex, executor.Request{SessionID: "d", Code: "1"})
	var invalid *executor.InvalidError
	_, err := ex.Execute(context.Background(), executor.Request{SessionID: "d", Code: "1", Dirs: []executor.Dir{{Host: t.TempDir(), Name: "x", ReadOnly: true}}})
	if !errors.As(err, &invalid) {
		t.Errorf("a late read-only directory: %v", err)
	}
}

// A peak that the kernel cannot reset is named as one of the cell's life; one
// that it can is that of the execution alone.
func TestPeaks(t *testing.T) {
	ex := newExecutor(t, executor.Config{})
	big := run(t, ex, executor.Request{SessionID: "u", Code: "b = bytearray(100 << 20); del b"})
	small := run(t, ex, executor.Request{SessionID: "u", Code: "1"})
	if !slices.Contains(small.Usage.LifetimePeaks, "processes_peak") {
		t.Errorf("peaks of the whole life: %v", small.Usage.LifetimePeaks)
	}
	if big.Usage.MemoryPeakBytes < 100<<20 {
		t.Errorf("100 MiB peaked at %d", big.Usage.MemoryPeakBytes)
	}
	if reset := !slices.Contains(small.Usage.LifetimePeaks, "memory_peak_bytes"); reset == (small.Usage.MemoryPeakBytes >= 100<<20) {
		t.Errorf("the peak afterwards is %d, with %v of the whole life", small.Usage.MemoryPeakBytes, small.Usage.LifetimePeaks)
	}
}

// Code that stops or kills the process which writes files into its workspace
// loses its namespace, and the files arrive.
func TestWriterUnderAttack(t *testing.T) {
	base := t.TempDir()
	ex := newExecutor(t, executor.Config{ExecutionBaseDir: base})
	run(t, ex, executor.Request{SessionID: "w", Code: `
import os, signal
if os.fork() == 0:
    me = os.getpid()
    while True:
        for p in range(me + 1, me + 60):
            try: os.kill(p, signal.SIGKILL)
            except OSError: pass`})
	for i := range 20 {
		if err := os.WriteFile(filepath.Join(base, "w", fmt.Sprint("f", i)), make([]byte, 1<<20), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := run(t, ex, executor.Request{SessionID: "w", Code: "import os; print(len([n for n in os.listdir('.') if n[0] == 'f']))"})
	if r.Output != "20\n" || !r.Session.Lost {
		t.Errorf("output %q, lost %t, %s", r.Output, r.Session.Lost, errorText(r))
	}
}
