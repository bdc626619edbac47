package cgroup_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cellblock/cellblock/cgroup"
	"github.com/cellblock/cellblock/internal/testkit"
)

// On a hybrid machine the v2 tree has no controllers of use, but birth, kill,
// events, CPU time and the handing down of a controller are the kernel's own.

// lack skips the test, or fails it where everything is to be there.
func lack(t testing.TB, what string) {
	t.Helper()
	testkit.Require(t, testkit.AnyOf(what, 0))
}

// unified is a host cut down to a fresh group of the machine's v2 tree.
func unified(t testing.TB, controllers ...string) (*cgroup.Host, string) {
	t.Helper()
	testkit.Require(t, testkit.Root)
	top := cgroup.UnifiedMount()
	if top == "" {
		lack(t, "a v2 tree")
	}
	testkit.Leaks(t)
	dir := filepath.Join(top, uniqueName())
	if err := os.Mkdir(dir, 0o755); err != nil {
		lack(t, "a v2 tree that can be written to: "+err.Error())
	}
	t.Cleanup(func() {
		if err := removeAll([]string{dir}); err != nil {
			t.Error(err)
		}
	})
	h, err := cgroup.Probe()
	if err != nil {
		t.Fatal(err)
	}
	h.OnlyV2(dir, controllers...)
	return h, dir
}

func TestV2BirthAndKill(t *testing.T) {
	testkit.Require(t, testkit.Python(""))
	h, _ := unified(t)
	g, err := h.CreateBare(uniqueName())
	if err != nil {
		t.Fatal(err)
	}
	cmd := python("import os\nprint('ready', flush=True)\nos.fork()\nwhile True: pass")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	start(t, g, cmd)
	out.Read(make([]byte, 8))
	if s := stats(t, g); s.CPU <= 0 || s.Memory != -1 || s.OOMKills != -1 {
		t.Errorf("without controllers: %+v", s)
	}
	if ok, err := g.ResetPeak(); ok || err != nil {
		t.Errorf("ResetPeak without a peak: %v, %v", ok, err)
	}
	if g.OOM() != nil {
		t.Error("a watch without a memory controller")
	}
	destroy(t, g)
	cmd.Wait()
	if ws := cmd.ProcessState.Sys().(syscall.WaitStatus); ws.Signal() != syscall.SIGKILL {
		t.Errorf("ended with %v", cmd.ProcessState)
	}
}

func TestDestroyEndsWithItsContext(t *testing.T) {
	h, dir := unified(t)
	g, err := h.CreateBare(uniqueName())
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sleep", "60")
	start(t, g, cmd)
	over, cancel := context.WithCancel(context.Background())
	cancel()
	if err := g.Destroy(over); !errors.Is(err, context.Canceled) || !errors.Is(err, syscall.EBUSY) {
		t.Errorf("with a context that is over: %v", err)
	}
	destroy(t, g)
	cmd.Wait()
	if left, _ := filepath.Glob(dir + "/cellblock-*"); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

// handed is a controller that the machine's v2 tree can hand down.
func handed(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(cgroup.UnifiedMount() + "/cgroup.controllers")
	if err != nil {
		lack(t, "a v2 tree that hands controllers down: "+err.Error())
	}
	for _, c := range strings.Fields(string(text)) {
		if c == "hugetlb" || c == "misc" || c == "rdma" || c == "pids" {
			on, err := os.ReadFile(cgroup.UnifiedMount() + "/cgroup.subtree_control")
			if err != nil {
				lack(t, "a v2 tree that hands controllers down: "+err.Error())
			}
			if !strings.Contains(string(on), c) {
				if err := os.WriteFile(cgroup.UnifiedMount()+"/cgroup.subtree_control", []byte("+"+c), 0); err != nil {
					lack(t, "a v2 tree that hands controllers down: "+err.Error())
				}
				t.Cleanup(func() {
					os.WriteFile(cgroup.UnifiedMount()+"/cgroup.subtree_control", []byte("-"+c), 0)
				})
			}
			return c
		}
	}
	lack(t, "a controller to try among the v2 tree's "+string(text))
	return ""
}

// A process alone in its group moves aside; one that is not is refused. Both
// happen in a process of their own, which is moved there by this test.
func TestV2Vacate(t *testing.T) {
	if dir := os.Getenv("CGROUP_VACATE"); dir != "" {
		vacateChild(dir, os.Getenv("CGROUP_CONTROLLER"))
	}
	testkit.Require(t, testkit.Root)
	if cgroup.UnifiedMount() == "" {
		lack(t, "a v2 tree")
	}
	for _, alone := range []bool{true, false} {
		t.Run(fmt.Sprintf("alone=%v", alone), func(t *testing.T) {
			controller := handed(t)
			h, dir := unified(t)
			// The helpers are born in the group that stands for their own.
			top, err := h.CreateBare(uniqueName())
			if err != nil {
				t.Fatal(err)
			}
			own := top.Paths()[0]
			if !strings.HasPrefix(own, dir) {
				t.Fatal(own)
			}
			if err := os.WriteFile(dir+"/cgroup.subtree_control", []byte("+"+controller), 0); err != nil {
				t.Fatal(err)
			}
			defer destroy(t, top)
			if !alone {
				other := exec.Command("sleep", "60")
				start(t, top, other)
				defer other.Wait()
				defer other.Process.Kill()
			}
			cmd := exec.Command("/proc/self/exe", "-test.run=^TestV2Vacate$")
			cmd.Env = append(os.Environ(), "CGROUP_VACATE="+own, "CGROUP_CONTROLLER="+controller)
			out := new(strings.Builder)
			cmd.Stdout, cmd.Stderr = out, out
			start(t, top, cmd)
			cmd.Wait()
			want := fmt.Sprintf("%s [%s] cellblock.self", own, controller)
			if !alone {
				want = "missing " + controller
			}
			if got := strings.TrimSpace(out.String()); !strings.HasPrefix(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

func vacateChild(dir, controller string) {
	h, err := cgroup.Probe()
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	h.OnlyV2(dir, controller)
	base, on, err := h.HandsDown()
	var missing *cgroup.MissingError
	switch {
	case errors.As(err, &missing):
		fmt.Println("missing", missing.Controller, missing)
	case err != nil:
		fmt.Println(err)
	default:
		self, _ := os.ReadFile("/proc/self/cgroup")
		_, leaf, _ := strings.Cut(string(self), "0::")
		fmt.Println(base, on, filepath.Base(strings.TrimSpace(leaf)))
	}
	os.Exit(0)
}

// fakeV2 is a directory that looks like a v2 tree with the own group in it.
func fakeV2(t *testing.T, files map[string]string) (*cgroup.Host, string) {
	t.Helper()
	top := t.TempDir()
	own := top + "/own"
	if err := os.Mkdir(own, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(own, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	h := cgroup.NewHost("28 23 0:26 / "+top+" rw - cgroup2 cgroup2 rw\n", "0::/own\n")
	h.SetMkdir(func(dir string, mode uint32) error {
		if err := syscall.Mkdir(dir, mode); err != nil {
			return err
		}
		for _, name := range []string{"memory.max", "memory.swap.max", "pids.max", "cpu.max", "cpu.weight", "memory.current", "memory.events", "cpu.stat"} {
			if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
				return err
			}
		}
		return nil
	})
	return h, own
}

func TestV2LimitsInAFakeTree(t *testing.T) {
	h, own := fakeV2(t, map[string]string{
		"cgroup.controllers": "cpuset cpu io memory pids\n", "cgroup.subtree_control": "memory\n", "cgroup.procs": "", "cgroup.type": "domain\n",
	})
	g, err := h.Create("cellblock-a", "", cgroup.Limits{MemoryBytes: 4096, PIDs: 3, CPUs: 1.5, CPUWeight: 10})
	if err != nil {
		t.Fatal(err)
	}
	dir := own + "/cellblock-a"
	if got := g.Paths(); !reflect.DeepEqual(got, []string{dir}) {
		t.Errorf("paths %q", got)
	}
	for name, want := range map[string]string{
		"cellblock-a/memory.max": "4096", "cellblock-a/memory.swap.max": "0", "cellblock-a/pids.max": "3",
		"cellblock-a/cpu.max": "150000 100000", "cellblock-a/cpu.weight": "10", "cgroup.subtree_control": "+cpu +pids",
	} {
		if got, _ := os.ReadFile(filepath.Join(own, name)); string(got) != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	for name, text := range map[string]string{
		"memory.current": "1234\n", "memory.events": "low 0\nhigh 0\nmax 5\noom 2\noom_kill 1\noom_group_kill 0\n",
		"cpu.stat": "usage_usec 77\nuser_usec 70\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want := cgroup.Stats{CPU: 77 * time.Microsecond, Memory: 1234, MemoryPeak: -1, PIDs: -1, PIDsPeak: -1, OOMKills: 1}
	if got := stats(t, g); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	e, err := g.Entrance()
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if at, _ := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", e.BirthFD)); at != dir || len(e.Files) > 0 {
		t.Errorf("the way in is %q and %d files", at, len(e.Files))
	}
}

func TestV2RefusalsInAFakeTree(t *testing.T) {
	for _, c := range []struct {
		name, controllers string
		limits            cgroup.Limits
		missing           string
	}{
		{"no memory", "cpu pids", cgroup.Limits{MemoryBytes: 1}, "memory"},
		{"no pids", "cpu memory", cgroup.Limits{MemoryBytes: 1, PIDs: 1}, "pids"},
		{"no cpu", "memory pids", cgroup.Limits{MemoryBytes: 1, CPUs: 1}, "cpu"},
		{"no cpu for a weight", "memory pids", cgroup.Limits{MemoryBytes: 1, CPUWeight: 10}, "cpu"},
		{"cpu not asked for", "memory pids", cgroup.Limits{MemoryBytes: 1, PIDs: 1}, ""},
		{"no memory, no limit: its figures are needed still", "cpu pids", cgroup.Limits{}, "memory"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, own := fakeV2(t, map[string]string{"cgroup.controllers": c.controllers, "cgroup.subtree_control": "", "cgroup.procs": "", "cgroup.type": "domain\n"})
			_, err := h.Create("cellblock-a", "", c.limits)
			var missing *cgroup.MissingError
			if c.missing == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if !errors.As(err, &missing) || missing.Controller != c.missing || missing.Why == "" || missing.Mend == "" {
				t.Errorf("got %v", err)
			}
			if left, _ := filepath.Glob(own + "/cellblock-*"); len(left) > 0 {
				t.Errorf("left: %q", left)
			}
		})
	}
}

// A process that was started in the leaf, or whose parent had moved there,
// makes groups beside the leaf.
func TestV2InTheLeafInAFakeTree(t *testing.T) {
	top := t.TempDir()
	if err := os.MkdirAll(top+"/svc/cellblock.self", 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"cgroup.controllers": "memory", "cgroup.subtree_control": "memory"} {
		if err := os.WriteFile(top+"/svc/"+name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	h := cgroup.NewHost("28 23 0:26 / "+top+" rw - cgroup2 cgroup2 rw\n", "0::/svc/cellblock.self\n")
	g, err := h.Create("cellblock-a", "", cgroup.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if got := g.Paths()[0]; got != top+"/svc/cellblock-a" {
		t.Errorf("made %q", got)
	}
	if err := g.Destroy(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestV2DoctorInAFakeTree(t *testing.T) {
	h, _ := fakeV2(t, map[string]string{
		"cgroup.controllers": "memory pids", "cgroup.subtree_control": "pids",
		"cgroup.procs": fmt.Sprintf("1\n%d\n", os.Getpid()), "cgroup.type": "domain\n",
	})
	got := make(map[string]bool)
	for _, c := range h.Controllers() {
		got[c.Name] = c.Usable
		if !c.Usable && (c.Why == "" || c.Mend == "") {
			t.Errorf("%+v says not why, or not what to do", c)
		}
	}
	if want := map[string]bool{"memory": false, "pids": true, "cpu": false}; !reflect.DeepEqual(got, want) {
		t.Errorf("usable: %v, want %v", got, want)
	}
}
