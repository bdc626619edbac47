//go:build vm

package inside

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/internal/testkit"
)

// templated is an executor whose sessions are forked, below this test's own unit.
func templated(t *testing.T, cfg executor.Config) *executor.Executor {
	t.Helper()
	testkit.Require(t, testkit.Root, testkit.MemoryController)
	cfg.Template, cfg.ExecutionBaseDir, cfg.RuntimeDir = true, t.TempDir(), t.TempDir()
	cfg.Timeout = testkit.Paced(30 * time.Second)
	ex, err := executor.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ex.Close(); err != nil {
			t.Error(err)
		}
		gone(t)
	})
	return ex
}

func execute(t *testing.T, s *executor.Session, code string) executor.Result {
	t.Helper()
	r, err := s.Execute(t.Context(), executor.Request{Code: code})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// groupOf is the group of the one process that gave itself a name.
func groupOf(t *testing.T, name string) string {
	t.Helper()
	comms, _ := filepath.Glob("/proc/[0-9]*/comm")
	var dirs []string
	for _, comm := range comms {
		if b, err := os.ReadFile(comm); err == nil && strings.TrimSpace(string(b)) == name {
			dirs = append(dirs, tree+strings.TrimPrefix(read(t, filepath.Dir(comm)+"/cgroup"), "0::"))
		}
	}
	if len(dirs) != 1 {
		t.Fatalf("processes called %q are in %q, want one", name, dirs)
	}
	return dirs[0]
}

const forkedLimited = `
import ctypes, mmap, os, time
ctypes.CDLL(None).prctl(15, b'forked-one', 0, 0, 0)
m = mmap.mmap(-1, 48 << 20)
for i in range(0, 48 << 20, 4096): m[i] = 1
m.close()
if os.fork() == 0: os._exit(0)
os.wait()
end = time.process_time() + 1
while time.process_time() < end: pass
`

// The group of a session that was forked from a template has its limits and
// gives its figures as any other's does.
func TestForkedLimitsAndFigures(t *testing.T) {
	ex := templated(t, executor.Config{MaxMemoryMB: 128, PIDs: 20, CPUs: 0.5})
	s, err := ex.NewSession(t.Context(), executor.SessionOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	execute(t, s, "1")
	r := execute(t, s, forkedLimited)
	if !r.Success {
		t.Fatal(*r.Error)
	}
	group := groupOf(t, "forked-one")
	for file, want := range map[string]string{
		"memory.max": "134217728", "memory.swap.max": "0", "pids.max": "20", "cpu.max": "50000 100000", "cgroup.type": "domain",
	} {
		if got := read(t, group+"/"+file); got != want {
			t.Errorf("%s is %q, want %q", file, got, want)
		}
	}
	if got, file := r.Usage.MemoryPeakBytes, number(t, group+"/memory.peak"); got < 48<<20 || got > file {
		t.Errorf("the result's peak is %d, memory.peak %d", got, file)
	}
	if got, file := r.Usage.CPUSeconds, float64(field(t, group+"/cpu.stat", "usage_usec"))/1e6; got < 0.9 || got > file {
		t.Errorf("the result says %.3f s of CPU time, the file %.3f in all", got, file)
	}
	if got, file := r.Usage.ProcessesPeak, number(t, group+"/pids.peak"); got < 2 || got > file || file > 20 {
		t.Errorf("the result says %d processes, pids.peak %d", got, file)
	}
	u, err := s.Usage()
	if err != nil {
		t.Fatal(err)
	}
	if file := number(t, group+"/memory.current"); u.MemoryBytes < file/2 || u.MemoryBytes > 2*file {
		t.Errorf("the session uses %d bytes, memory.current is %d", u.MemoryBytes, file)
	}
	if n := len(strings.Fields(read(t, group+"/cgroup.procs"))); int64(n) != u.Processes {
		t.Errorf("the session has %d processes, the group %d", u.Processes, n)
	}

	r = execute(t, s, "m = mmap.mmap(-1, 1 << 30)\nfor i in range(0, 1 << 30, 4096): m[i] = 1")
	if r.Verdict != executor.VerdictOutOfMemory || !r.Session.Lost {
		t.Errorf("verdict %s, lost %v", r.Verdict, r.Session.Lost)
	}
	if kills := field(t, group+"/memory.events", "oom_kill"); kills == 0 {
		t.Error("the kernel counts no kill")
	}
}

const hog = `
import mmap, os, random, tempfile
f = tempfile.TemporaryFile(dir='/var/tmp')
for _ in range(128): f.write(os.urandom(1 << 20))
f.flush()
m = mmap.mmap(f.fileno(), 128 << 20, prot=mmap.PROT_READ)
m.madvise(mmap.MADV_RANDOM)
while True: m[random.randrange(128 << 20)]
`

// When tasks of the machine wait for memory, the cells that stand ahead are
// given up; sessions go on.
func TestPoolShrinksUnderPressure(t *testing.T) {
	before := cellGroups()
	ex := templated(t, executor.Config{Pool: executor.PoolOptions{Size: 3, Idle: time.Hour}})
	s, err := ex.NewSession(t.Context(), executor.SessionOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	execute(t, s, "x = 7")
	more := func() int {
		return len(slices.DeleteFunc(cellGroups(), func(dir string) bool { return slices.Contains(before, dir) }))
	}
	const template, session, pool = 1, 1, 3
	await := func(what string, cells int) {
		t.Helper()
		for deadline := time.Now().Add(testkit.Paced(20 * time.Second)); more() != cells; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				status, _ := command(t, "systemctl", "status", "--no-pager", "pressure.service")
				t.Fatalf("%s there are %d groups of cells, want %d\n%s\n%s", what, more(), cells, read(t, "/proc/pressure/memory"), status)
			}
		}
	}
	await("when the pool is full", template+session+pool)
	// A program that reads all over a file of eight times its memory.high waits
	// for memory most of its time; nobody else does.
	defer command(t, "systemctl", "kill", "--signal=KILL", "pressure.service")
	done(t, "systemd-run", "--quiet", "--collect", "--unit=pressure.service", "-p", "MemoryHigh=16M", "-p", "MemorySwapMax=0",
		"/usr/bin/python3", "-c", hog)
	await("under pressure", template+session)
	if r := execute(t, s, "print(x)"); r.Output != "7\n" {
		t.Errorf("the session says %q", r.Output)
	}
}
