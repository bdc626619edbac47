package executor_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/internal/testkit"
)

// looks is what a session sees of itself and of its cell; its two host ids are
// its own in any case.
const looks = `
import os, re, resource, signal, sys, time
def read(path): return open(path).read()
status = dict(line.split(':\t', 1) for line in read('/proc/self/status').splitlines())
for name, thing in {
    'parent': os.getppid(), 'leader': os.getsid(0) == os.getpid(), 'ids': (os.getresuid(), os.getresgid(), os.getgroups()),
    'directory': os.getcwd(), 'descriptors': os.listdir('/proc/self/fd'), 'limits': [resource.getrlimit(r) for r in range(16) if r != resource.RLIMIT_DATA],
    'status': [(k, status[k]) for k in status if re.match('Cap|NoNew|Seccomp|Groups|Sig|Shd|Threads|Umask|Name', k)],
    'program': (read('/proc/self/cmdline'), os.readlink('/proc/self/exe')), 'environment': dict(os.environ),
    'mounts': re.sub('(?m)^[0-9 :]+|.id=[0-9]+', '', read('/proc/self/mountinfo')), 'groups': read('/proc/self/cgroup'), 'host': os.uname().nodename,
    'python': (sys.path, sys.argv, sys.flags), 'handlers': [signal.getsignal(s) for s in range(1, 65)], 'when memory ends': read('/proc/self/oom_score_adj'),
    'files': [os.listdir(d) for d in ('/', '/workspace', '/tmp', '/dev', '/dev/shm')], 'proc': [n for n in os.listdir('/proc') if not n.isdigit()],
    'mapped': sorted({m.split()[-1] for m in read('/proc/self/maps').splitlines() if '/' in m} - {'/cellblock/fork.so'}), 'names': dir(),
}.items():
    print(name, thing)
`

func TestForkedLooksLikeFresh(t *testing.T) {
	fresh := run(t, newExecutor(t, executor.Config{}), executor.Request{Code: looks, SessionID: "s"})
	ex := newExecutor(t, executor.Config{Template: true})
	forked := run(t, ex, executor.Request{Code: looks, SessionID: "s"})
	if fresh.Verdict != executor.VerdictOK || forked.Verdict != fresh.Verdict {
		t.Fatalf("%s, %s", errorText(fresh), errorText(forked))
	}
	was, is := strings.Split(fresh.Output, "\n"), strings.Split(forked.Output, "\n")
	if len(was) != len(is) {
		t.Fatalf("fresh:\n%s\nforked:\n%s", fresh.Output, forked.Output)
	}
	for i := range was {
		if was[i] != is[i] {
			t.Errorf("fresh:  %s\nforked: %s", was[i], is[i])
		}
	}
	// What the template took to start is not the session's.
	r := run(t, ex, executor.Request{Code: fmt.Sprintf("time.process_time() < %g", testkit.Pace()), SessionID: "s"})
	if r.Value == nil || *r.Value != "True" {
		t.Errorf("a forked session begins with more than a second of CPU time (%s)", errorText(r))
	}
}

func TestPreload(t *testing.T) {
	for _, kept := range []bool{true, false} {
		ex := newExecutor(t, executor.Config{Template: kept, Preload: []string{"json", "os.path as p"}})
		s := session(t, ex)
		for _, fresh := range []bool{false, true} {
			r := perform(t, s, executor.Request{Code: "p.join('a', json.loads('\"b\"'))", FreshNamespace: fresh})
			if r.Value == nil || *r.Value != "'a/b'" || len(r.Namespace) != 0 {
				t.Errorf("template %v: value %v, namespace %v, %s", kept, r.Value, r.Namespace, errorText(r))
			}
		}
		if r := perform(t, s, executor.Request{Code: "json = 1"}); len(r.Namespace) != 1 {
			t.Errorf("a name that the code gave anew is in no summary: %v", r.Namespace)
		}
	}
}

// TestTablesOfForkedSessions: a template with pandas has shown a table before. A
// session sees nothing of that, and shows what a fresh one does.
func TestTablesOfForkedSessions(t *testing.T) {
	testkit.Require(t, testkit.File("/usr/lib/python3/dist-packages/pandas"))
	const code = `
import os, threading
frame = pd.DataFrame({'a': [1, 2], 'b': ['x', 'y']})
print(frame.a.sum(), sorted(globals()), threading.active_count(), os.listdir('/proc/self/fd'), pd.get_option('display.max_columns'), pd.get_option('display.html.table_schema'))
frame`
	var both [2]executor.Result
	for i, kept := range []bool{false, true} {
		ex := newExecutor(t, executor.Config{Template: kept, Preload: []string{"pandas as pd"}, Packages: []string{"pandas"}, MaxMemoryMB: 768, Timeout: testkit.Paced(time.Minute)})
		r := perform(t, session(t, ex), executor.Request{Code: code})
		if len(r.Results) != 1 || r.Results[0].Data["text/html"] == "" {
			t.Fatalf("template %v: %d results (%s)", kept, len(r.Results), errorText(r))
		}
		both[i] = r
	}
	if fresh, forked := both[0], both[1]; forked.Output != fresh.Output || !reflect.DeepEqual(forked.Results, fresh.Results) || !reflect.DeepEqual(forked.Namespace, fresh.Namespace) {
		t.Errorf("fresh:  %s %v\nforked: %s %v", fresh.Output, fresh.Results, forked.Output, forked.Results)
	}
}

func TestPreloadThatFails(t *testing.T) {
	if _, err := executor.New(executor.Config{Preload: []string{"json; import os"}}); !errors.As(err, new(*executor.InvalidError)) {
		t.Errorf("a statement in the list: %v", err)
	}
	for _, kept := range []bool{true, false} {
		ex := newExecutor(t, executor.Config{Template: kept, Preload: []string{"json", "nosuch.thing as x"}})
		_, err := ex.Execute(t.Context(), executor.Request{Code: "1"})
		var failed *executor.PreloadError
		if !errors.As(err, &failed) || failed.Module.Name != "nosuch.thing" || failed.Exception != "ModuleNotFoundError" {
			t.Errorf("template %v: %v", kept, err)
		}
		if err := ex.Warm(t.Context()); (err != nil) != kept {
			t.Errorf("template %v: Warm says %v", kept, err)
		}
	}
}

func session(t testing.TB, ex *executor.Executor) *executor.Session {
	t.Helper()
	s, err := ex.NewSession(t.Context(), executor.SessionOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func perform(t testing.TB, s *executor.Session, r executor.Request) executor.Result {
	t.Helper()
	result, err := s.Execute(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// TestTemplateDies: sessions live on and end as they should, new ones are forked
// from a new template, and the pool's cells serve it.
func TestTemplateDies(t *testing.T) {
	testkit.Require(t, testkit.Root, testkit.MemoryController)
	testkit.Leaks(t)
	ex := newExecutor(t, executor.Config{Template: true, Pool: executor.PoolOptions{Size: 2}})
	old := session(t, ex)
	perform(t, old, executor.Request{Code: "x = 1"})
	was := ex.TemplatePID()
	if err := syscall.Kill(was, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if r := perform(t, old, executor.Request{Code: "print(x)"}); r.Output != "1\n" || r.Session.Lost {
		t.Errorf("the old session says %q, %s", r.Output, errorText(r))
	}
	for range 3 {
		if r := perform(t, session(t, ex), executor.Request{Code: "print(2)"}); r.Output != "2\n" {
			t.Errorf("a new session says %q, %s", r.Output, errorText(r))
		}
	}
	if is := ex.TemplatePID(); is == 0 || is == was {
		t.Errorf("the template is process %d, was %d", is, was)
	}
	began := time.Now()
	if r := perform(t, old, executor.Request{Code: "import os; os._exit(7)"}); r.Verdict != executor.VerdictExit || r.ReturnCode != 7 || !r.Session.Lost {
		t.Errorf("exit gave %s %d", r.Verdict, r.ReturnCode)
	}
	if r := perform(t, old, executor.Request{Code: "'x' in globals()"}); r.Value == nil || *r.Value != "False" {
		t.Errorf("after the exit the namespace is the old one (%s)", errorText(r))
	}
	if err := old.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > testkit.Paced(10*time.Second) {
		t.Errorf("ending took %s", took)
	}
}

// A cell that dies while a REPL is forked into it is replaced as one that has died
// before: at each moment of that, the execution is answered.
func TestCellDiesUnderAFork(t *testing.T) {
	testkit.Require(t, testkit.Root, testkit.MemoryController)
	testkit.Leaks(t)
	ex := newExecutor(t, executor.Config{Template: true, Pool: executor.PoolOptions{Size: 2}})
	s := session(t, ex)
	for i := range 60 {
		perform(t, s, executor.Request{Code: "x = 1"})
		first := firstOf(t, s.REPLPID())
		perform(t, s, executor.Request{Code: "import os; os._exit(7)"})
		killed := make(chan error)
		time.AfterFunc(time.Duration(i)*50*time.Microsecond, func() { killed <- syscall.Kill(first, syscall.SIGKILL) })
		r, err := s.Execute(t.Context(), executor.Request{Code: "print('x' in globals())"})
		if err != nil || r.Output != "False\n" && !r.Session.Lost {
			t.Errorf("killed after %d µs: %v, %q, %s", 50*i, err, r.Output, errorText(r))
		}
		if err := <-killed; err != nil {
			t.Fatal(err)
		}
		for is := true; is; time.Sleep(time.Millisecond) { // until it is reaped, which the session is not told
			_, err := os.Stat(fmt.Sprintf("/proc/%d", first))
			is = err == nil
		}
	}
}

// A session that is closed while a REPL is forked into its cell says that it was.
func TestCloseUnderAFork(t *testing.T) {
	testkit.Require(t, testkit.Root, testkit.MemoryController)
	testkit.Leaks(t)
	ex := newExecutor(t, executor.Config{Template: true, Pool: executor.PoolOptions{Size: 2}})
	for i := range 60 {
		s := session(t, ex)
		perform(t, s, executor.Request{Code: "import os; os._exit(7)"})
		closed := make(chan error)
		time.AfterFunc(time.Duration(i)*50*time.Microsecond, func() { closed <- s.Close() })
		if _, err := s.Execute(t.Context(), executor.Request{Code: "1"}); err != nil && !errors.Is(err, executor.ErrClosed) {
			t.Errorf("closed after %d µs: %v", 50*i, err)
		}
		if err := <-closed; err != nil {
			t.Error(err)
		}
	}
}

// firstOf is PID 1, on the host, of the cell that a process is in.
func firstOf(t *testing.T, pid int) int {
	t.Helper()
	ns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", pid))
	if err != nil {
		t.Fatal(err)
	}
	all, err := filepath.Glob("/proc/[0-9]*/status")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range all {
		dir := filepath.Dir(file)
		status, err := os.ReadFile(file)
		if err != nil || !regexp.MustCompile(`\nNSpid:.*\t1\n`).Match(status) {
			continue
		}
		if of, err := os.Readlink(dir + "/ns/pid"); err != nil || of != ns {
			continue
		}
		n, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	t.Fatalf("no process is the first of the cell of %d", pid)
	return 0
}

func TestForkedWithLimitsOfItsOwn(t *testing.T) {
	ex := newExecutor(t, executor.Config{Template: true, Pool: executor.PoolOptions{Size: 1}})
	for _, bytes := range []int64{1 << 20, 1 << 30} {
		s, err := ex.NewSession(t.Context(), executor.SessionOptions{Limits: executor.Limits{WorkspaceBytes: bytes, MaxMemoryMB: 64}})
		if err != nil {
			t.Fatal(err)
		}
		r := perform(t, s, executor.Request{Code: "import os, resource\nst = os.statvfs('.')\nprint(st.f_blocks * st.f_frsize, resource.getrlimit(resource.RLIMIT_FSIZE)[0])"})
		if want := fmt.Sprintf("%d %d\n", bytes, bytes+1<<20); r.Output != want {
			t.Errorf("workspace and largest file: %q, want %q (%s)", r.Output, want, errorText(r))
		}
	}
}

// TestTemplateGrowth: a fork costs its template less than 50 KB, and the session
// has its page tables and what it touched.
func TestTemplateGrowth(t *testing.T) {
	ex := newExecutor(t, executor.Config{Template: true})
	perform(t, session(t, ex), executor.Request{Code: "1"})
	before, err := ex.TemplateUsage()
	if err != nil {
		t.Fatal(err)
	}
	const n = 20
	var charged int64
	for range n {
		s := session(t, ex)
		perform(t, s, executor.Request{Code: "1"})
		u, err := s.Usage()
		if err != nil {
			t.Fatal(err)
		}
		charged += u.MemoryBytes / n
	}
	after, err := ex.TemplateUsage()
	if err != nil {
		t.Fatal(err)
	}
	grown := (after.MemoryBytes - before.MemoryBytes) / n
	t.Logf("a fork adds %d KB to the template's group and %d KB to the session's", grown>>10, charged>>10)
	if grown >= 50<<10 {
		t.Errorf("a fork adds %d KB to the template's group", grown>>10)
	}
	if charged < 400<<10 {
		t.Errorf("a session is charged with %d KB only", charged>>10)
	}
}

// TestSiblingsDiffer (62): what is random in two forks of one template differs.
func TestSiblingsDiffer(t *testing.T) {
	ex := newExecutor(t, executor.Config{Template: true, Preload: []string{"random", "uuid", "tempfile", "secrets", "multiprocessing"}})
	const code = `
import os
print(random.random(), uuid.uuid1(), uuid.uuid4(), uuid.getnode(), os.path.basename(tempfile.mktemp()), secrets.token_hex(), os.urandom(8).hex(), bytes(multiprocessing.current_process().authkey).hex())`
	a := strings.Fields(perform(t, session(t, ex), executor.Request{Code: code}).Output)
	b := strings.Fields(perform(t, session(t, ex), executor.Request{Code: code}).Output)
	if len(a) != 8 || len(a) != len(b) {
		t.Fatalf("%q, %q", a, b)
	}
	for i := range a {
		if a[i] == b[i] {
			t.Errorf("two siblings both have %s", a[i])
		}
	}
}

// TestThreadsAfterFork: a forked REPL was spared what threading, logging and random do
// after a fork; threads, their locks, and forks of the code's own are as ever.
func TestThreadsAfterFork(t *testing.T) {
	ex := newExecutor(t, executor.Config{Template: true, Preload: []string{"threading", "os", "logging", "random"}})
	const code = `
import threading, os, logging, random
other = threading.Thread(target=logging.getLogger, args=('waits for the lock of logging',), daemon=True)
other.start(); other.join(10)
assert not other.is_alive()
os.register_at_fork(after_in_child=lambda: seen.append('hook'))
seen = []
t = threading.Thread(target=lambda: seen.append(threading.current_thread() is t))
t.start(); t.join()
assert threading.main_thread() is threading.current_thread() and threading.active_count() == 1
lock = threading.Lock()
holder = threading.Thread(target=lambda: (lock.acquire(), lock.acquire()), daemon=True)  # never ends
holder.start()
state = random.getstate()
for _ in range(2):
    pid = os.fork()
    if pid == 0:
        os._exit(len(threading.enumerate()) + 10 * (random.getstate() != state) + 100 * seen.count('hook'))
    print(seen, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))`
	if got := perform(t, session(t, ex), executor.Request{Code: code}).Output; got != "[True] 111\n[True] 111\n" {
		t.Errorf("%q", got)
	}
}

// cpuWeight reads what the kernel has for the group of a process, in v2's units.
func cpuWeight(t *testing.T, pid int) float64 {
	t.Helper()
	groups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		t.Fatal(err)
	}
	number := func(dir, name string) float64 {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(string(text)), 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if v1 := regexp.MustCompile(`(?m)^[0-9]+:(cpu|cpu,cpuacct):(.*)$`).FindSubmatch(groups); v1 != nil {
		return number("/sys/fs/cgroup/"+string(v1[1])+string(v1[2]), "cpu.shares") * 100 / 1024
	}
	v2 := regexp.MustCompile(`(?m)^0::(.*)$`).FindSubmatch(groups)
	return number("/sys/fs/cgroup"+string(v2[1]), "cpu.weight")
}

// Cells, forked or not, get less of a CPU that the template and this process want too.
func TestCellsWeighLess(t *testing.T) {
	for _, template := range []bool{false, true} {
		ex := newExecutor(t, executor.Config{Template: template, CPUWeight: 10})
		s, err := ex.NewSession(t.Context(), executor.SessionOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if err := s.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := cpuWeight(t, s.REPLPID()); got < 9.9 || got > 10 {
			t.Errorf("with a template: %v: the cell weighs %g, not 10", template, got)
		}
		if template {
			if got := cpuWeight(t, ex.TemplatePID()); got != 100 {
				t.Errorf("the template weighs %g, not 100", got)
			}
		}
	}
}
