package cgroup_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cellblock/cellblock/cgroup"
	"github.com/cellblock/cellblock/internal/testkit"
)

var serial atomic.Int64

func uniqueName() string { return fmt.Sprintf("cellblock-%d-%d", os.Getpid(), serial.Add(1)) }

func probe(t testing.TB) *cgroup.Host {
	t.Helper()
	testkit.Require(t, testkit.Root, testkit.MemoryController)
	testkit.Leaks(t)
	h, err := cgroup.Probe()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func create(t testing.TB, h *cgroup.Host, l cgroup.Limits) *cgroup.Group {
	t.Helper()
	g, err := h.Create(uniqueName(), "", l)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { destroy(t, g) })
	return g
}

func destroy(t testing.TB, g *cgroup.Group) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	paths := g.Paths()
	if err := g.Destroy(ctx); err != nil {
		t.Error(err)
	}
	for _, p := range paths {
		if _, err := os.Stat(p); !os.IsNotExist(err) {
			t.Errorf("%s is there still (%v)", p, err)
		}
	}
}

// start runs a program in the group, by the group's Entrance: a shell enters
// v1's hierarchies by itself, on v2 the program is born inside.
func start(t testing.TB, g *cgroup.Group, cmd *exec.Cmd) {
	t.Helper()
	e, err := g.Entrance()
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	if e.BirthFD >= 0 {
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, e.BirthFD
	}
	if len(e.Files) > 0 {
		enter := ""
		for i := range e.Files {
			enter += fmt.Sprintf("echo 0 >&%d; exec %d>&-; ", 3+i, 3+i)
		}
		cmd.Args = append([]string{"sh", "-ec", enter + `exec "$@"`, "sh", cmd.Path}, cmd.Args[1:]...)
		cmd.Path, cmd.ExtraFiles = "/bin/sh", e.Files
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	awaitInside(t, g, cmd.Process.Pid)
}

// awaitInside waits until the program has entered: a shell takes a moment.
func awaitInside(t testing.TB, g *cgroup.Group, pid int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
		if err != nil || filepath.Base(exe) != "dash" && filepath.Base(exe) != "sh" {
			return // it runs, or has ended already
		}
		if time.Now().After(deadline) {
			t.Fatalf("the shell does not enter %q", g.Paths())
		}
	}
}

func run(t testing.TB, g *cgroup.Group, cmd *exec.Cmd) {
	t.Helper()
	start(t, g, cmd)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

func python(code string) *exec.Cmd {
	return exec.Command(testkit.PythonPath, "-I", "-S", "-c", code)
}

func stats(t testing.TB, g *cgroup.Group) cgroup.Stats {
	t.Helper()
	s, err := g.Stats()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// file reads a control file of the group, from whichever directory has it.
func file(t testing.TB, g *cgroup.Group, name string) string {
	t.Helper()
	for _, p := range g.Paths() {
		if text, err := os.ReadFile(filepath.Join(p, name)); err == nil {
			return strings.TrimSpace(string(text))
		}
	}
	t.Fatalf("no %s in %q", name, g.Paths())
	return ""
}

func TestLimitsAreSet(t *testing.T) {
	h := probe(t)
	g := create(t, h, cgroup.Limits{MemoryBytes: 64 << 20, PIDs: 7, CPUs: 0.25, CPUWeight: 10})
	want := map[string]string{"memory.limit_in_bytes": "67108864", "memory.swappiness": "0", "pids.max": "7", "cpu.cfs_quota_us": "25000", "cpu.cfs_period_us": "100000", "cpu.shares": "102"}
	if h.Layout() == cgroup.V2 {
		want = map[string]string{"memory.max": "67108864", "pids.max": "7", "cpu.max": "25000 100000", "cpu.weight": "10"}
	}
	for name, value := range want {
		if got := file(t, g, name); got != value {
			t.Errorf("%s is %q, want %q", name, got, value)
		}
	}
}

func TestEntranceJoinsEveryHierarchy(t *testing.T) {
	h := probe(t)
	g := create(t, h, cgroup.Limits{MemoryBytes: 64 << 20})
	cmd := exec.Command("cat")
	hold, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	start(t, g, cmd)
	for _, p := range g.Paths() {
		procs, err := os.ReadFile(p + "/cgroup.procs")
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimSpace(string(procs)); got != fmt.Sprint(cmd.Process.Pid) {
			t.Errorf("%s holds %q, want %d alone", p, got, cmd.Process.Pid)
		}
	}
	if s := stats(t, g); s.PIDs != 1 || s.Memory <= 0 {
		t.Errorf("with one process inside: %+v", s)
	}
	hold.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

func TestOutOfMemory(t *testing.T) {
	testkit.Require(t, testkit.Python(""))
	h := probe(t)
	g := create(t, h, cgroup.Limits{MemoryBytes: 48 << 20, PIDs: 16})
	oom := g.OOM()
	if oom == nil {
		t.Fatal("no watch")
	}
	select {
	case <-oom:
		t.Fatal("an event before anything happened")
	default:
	}
	for round := range 2 {
		before := stats(t, g)
		cmd := python("x = [bytearray(1 << 20) for _ in range(200)]")
		start(t, g, cmd)
		select {
		case <-oom:
		case <-time.After(20 * time.Second):
			t.Fatal("no event")
		}
		cmd.Wait()
		if ws := cmd.ProcessState.Sys().(syscall.WaitStatus); !ws.Signaled() || ws.Signal() != syscall.SIGKILL {
			t.Errorf("the hog ended with %v", cmd.ProcessState)
		}
		after := stats(t, g)
		if after.OOMKills != before.OOMKills+1 {
			t.Errorf("round %d: %d kills, then %d", round, before.OOMKills, after.OOMKills)
		}
		if after.MemoryPeak < 40<<20 || after.MemoryPeak > 48<<20 {
			t.Errorf("peak %d", after.MemoryPeak)
		}
		if after.CPU <= before.CPU {
			t.Errorf("CPU time %v, then %v", before.CPU, after.CPU)
		}
		if after.UnderOOM {
			t.Error("under_oom after the kill")
		}
	}
	// The kernel may tell of one shortage more than once.
	for settled := false; !settled; {
		select {
		case <-oom:
		case <-time.After(200 * time.Millisecond):
			settled = true
		}
	}
	ok, err := g.ResetPeak()
	if err != nil {
		t.Fatal(err)
	}
	if s := stats(t, g); ok && s.MemoryPeak > 40<<20 {
		t.Errorf("peak %d after its reset", s.MemoryPeak)
	}
	destroy(t, g)
	select {
	case <-oom:
		t.Error("the end was taken for an event")
	default:
	}
}

func TestPIDsLimit(t *testing.T) {
	testkit.Require(t, testkit.Python(""))
	h := probe(t)
	g := create(t, h, cgroup.Limits{PIDs: 4})
	cmd := python(`
import os, time
made = 0
try:
    for i in range(20):
        if os.fork() == 0:
            time.sleep(60)
        made += 1
except BlockingIOError:
    pass
print(made, flush=True)
os.kill(0, 9)
`)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out := new(strings.Builder)
	cmd.Stdout = out
	start(t, g, cmd)
	cmd.Wait()
	if got := strings.TrimSpace(out.String()); got != "3" {
		t.Errorf("%s forks went through, want 3", got)
	}
	if s := stats(t, g); s.PIDsPeak != 4 && s.PIDsPeak != -1 {
		t.Errorf("peak of processes %d", s.PIDsPeak)
	}
}

func TestDestroyKillsWhatIsInside(t *testing.T) {
	testkit.Require(t, testkit.Python(""))
	h := probe(t)
	g, err := h.Create(uniqueName(), "", cgroup.Limits{MemoryBytes: 128 << 20, PIDs: 40})
	if err != nil {
		t.Fatal(err)
	}
	// Spinning, deaf, in sessions of their own, and forking without end.
	cmd := python(`
import os, signal
for s in (1, 2, 15): signal.signal(s, signal.SIG_IGN)
print("ready", flush=True)
while True:
    try:
        if os.fork() == 0:
            os.setsid()
    except OSError: pass
`)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	start(t, g, cmd)
	out.Read(make([]byte, 8))
	for deadline := time.Now().Add(10 * time.Second); stats(t, g).PIDs < 20 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	began := time.Now()
	destroy(t, g)
	t.Logf("took %v", time.Since(began))
	cmd.Wait()
	if ws := cmd.ProcessState.Sys().(syscall.WaitStatus); ws.Signal() != syscall.SIGKILL {
		t.Errorf("the bomb ended with %v", cmd.ProcessState)
	}
	// All is over, and says so.
	if err := g.Destroy(context.Background()); err != nil {
		t.Errorf("once more: %v", err)
	}
	if _, err := g.Stats(); !errors.Is(err, cgroup.ErrDestroyed) {
		t.Errorf("Stats afterwards: %v", err)
	}
	if _, err := g.Entrance(); !errors.Is(err, cgroup.ErrDestroyed) {
		t.Errorf("Entrance afterwards: %v", err)
	}
	if _, err := g.ResetPeak(); !errors.Is(err, cgroup.ErrDestroyed) {
		t.Errorf("ResetPeak afterwards: %v", err)
	}
	if g.OOM() != nil {
		t.Error("a watch afterwards")
	}
}

func TestManyLeaveNothing(t *testing.T) {
	h := probe(t)
	for range 200 {
		g, err := h.Create(uniqueName(), "", cgroup.Limits{MemoryBytes: 64 << 20, PIDs: 8, CPUs: 1})
		if err != nil {
			t.Fatal(err)
		}
		g.OOM()
		stats(t, g)
		destroy(t, g)
	}
}

func TestFailedCreateLeavesNothing(t *testing.T) {
	h := probe(t)
	for _, l := range []cgroup.Limits{{MemoryBytes: -1}, {PIDs: -1}, {CPUs: -0.5}, {PIDs: 1 << 62}, {CPUWeight: -1}, {CPUWeight: 10001}} {
		if g, err := h.Create(uniqueName(), "", l); err == nil {
			destroy(t, g)
			t.Errorf("%+v was accepted", l)
		}
	}
	g := create(t, h, cgroup.Limits{})
	if _, err := h.Create(filepath.Base(g.Paths()[0]), "", cgroup.Limits{}); !errors.Is(err, syscall.EEXIST) {
		t.Errorf("the same name twice: %v", err)
	}
	for _, p := range g.Paths() {
		if _, err := os.Stat(p); err != nil {
			t.Errorf("the failure took the other group with it: %v", err)
		}
	}
}

func TestParent(t *testing.T) {
	h := probe(t)
	for _, parent := range []string{"a", "/a/", "/../x", "/a/../b", "//"} {
		if _, err := h.Create(uniqueName(), parent, cgroup.Limits{}); err == nil {
			t.Errorf("%q was accepted", parent)
		}
	}
	var missing *cgroup.MissingError
	_, err := h.Create(uniqueName(), "/cellblock-no-such-parent", cgroup.Limits{})
	if !errors.As(err, &missing) || missing.Mend == "" {
		t.Errorf("a parent that is not there: %v", err)
	}
	g, err := h.Create(uniqueName(), "/", cgroup.Limits{MemoryBytes: 32 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer destroy(t, g)
	run(t, g, exec.Command("true"))
}

// removeAll removes groups as if their owner had died.
func removeAll(paths []string) error {
	ids, err := cgroup.Identities(paths)
	if err != nil {
		return err
	}
	return cgroup.RemoveRecorded(paths, ids)
}

func TestRemoveRecorded(t *testing.T) {
	h := probe(t)
	g, err := h.Create(uniqueName(), "", cgroup.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sleep", "60")
	start(t, g, cmd)
	plain := filepath.Join(t.TempDir(), "cellblock-plain")
	if err := os.Mkdir(plain, 0o755); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "cellblock-link")
	if err := os.Symlink(g.Paths()[0], link); err != nil {
		t.Fatal(err)
	}
	// A unit of systemd may be called so, with the owner of the groups in it.
	unit := filepath.Join(filepath.Dir(g.Paths()[0]), uniqueName()+".service")
	if err := os.Mkdir(unit, 0o755); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(unit)
	for _, p := range []string{plain, link, unit, filepath.Dir(g.Paths()[0]), "/", "cellblock-x", g.Paths()[0] + "/", g.Paths()[0] + "/../cellblock-x"} {
		for _, ids := range [][]uint64{nil, {0, 0}, {0}} {
			if err := cgroup.RemoveRecorded([]string{g.Paths()[0], p}, ids); err == nil {
				t.Errorf("%q was accepted", p)
			}
		}
	}
	if s := stats(t, g); s.PIDs != 1 {
		t.Errorf("a refusal did something: %+v", s)
	}
	ids, err := cgroup.Identities(g.Paths())
	if err != nil {
		t.Fatal(err)
	}
	// Groups of the same name that others have made since.
	others := slices.Clone(ids)
	for i := range others {
		others[i]++
	}
	for _, ids := range [][]uint64{nil, others} {
		if err := cgroup.RemoveRecorded(g.Paths(), ids); err != nil {
			t.Error(err)
		}
		if s := stats(t, g); s.PIDs != 1 {
			t.Errorf("with the identities %v, which are not its own, the group was emptied: %+v", ids, s)
		}
	}
	if err := cgroup.RemoveRecorded(append(g.Paths(), g.Paths()[0]+"-gone"), append(ids, 1)); err != nil {
		t.Error(err)
	}
	cmd.Wait()
	if err := cgroup.RemoveRecorded(g.Paths(), ids); err != nil {
		t.Errorf("once more: %v", err)
	}
	destroy(t, g)
}

// A process that died before it recorded what it made can have left empty groups.
func TestRemoveRecordedWithoutIdentities(t *testing.T) {
	h := probe(t)
	g, err := h.Create(uniqueName(), "", cgroup.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if err := cgroup.RemoveRecorded(g.Paths(), nil); err != nil {
		t.Error(err)
	}
	for _, p := range g.Paths() {
		if _, err := os.Stat(p); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left: %v", p, err)
		}
	}
	destroy(t, g)
}

// Groups that somebody made below a group go with it.
func TestNestedGroupsGo(t *testing.T) {
	h := probe(t)
	g := create(t, h, cgroup.Limits{})
	for _, p := range g.Paths() {
		if err := os.MkdirAll(p+"/inner/most", 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

func TestControllersHere(t *testing.T) {
	h := probe(t)
	for _, c := range h.Controllers() {
		t.Logf("%+v", c)
		if !c.Usable {
			t.Errorf("%s is not usable: %s (%s)", c.Name, c.Why, c.Mend)
		}
	}
}
