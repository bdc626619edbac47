package cgroup_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/cellblock/cellblock/cgroup"
	"github.com/cellblock/cellblock/internal/testkit"
)

func TestLiftCPU(t *testing.T) {
	h := probe(t)
	g := create(t, h, cgroup.Limits{MemoryBytes: 64 << 20, CPUs: 0.25})
	name, held, lifted := "cpu.cfs_quota_us", "25000", "-1"
	if h.Layout() == cgroup.V2 {
		name, held, lifted = "cpu.max", "25000 100000", "max 100000"
	}
	liftsAndHolds(t, g, func() string { return file(t, g, name) }, held, lifted)
}

func TestV2LiftCPUInAFakeTree(t *testing.T) {
	h, own := fakeV2(t, map[string]string{
		"cgroup.controllers": "cpu memory\n", "cgroup.subtree_control": "cpu memory\n", "cgroup.procs": "", "cgroup.type": "domain\n",
	})
	g, err := h.Create("cellblock-a", "", cgroup.Limits{MemoryBytes: 4096, CPUs: 0.25})
	if err != nil {
		t.Fatal(err)
	}
	liftsAndHolds(t, g, func() string {
		// A plain file keeps what is behind a shorter text.
		text, err := os.ReadFile(own + "/cellblock-a/cpu.max")
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(string(text), "max") {
			return "max"
		}
		return string(text)
	}, "25000 100000", "max")
}

// liftsAndHolds: the limit is away as long as anybody wants it away.
func liftsAndHolds(t *testing.T, g *cgroup.Group, limit func() string, held, lifted string) {
	t.Helper()
	want := func(when, want string) {
		t.Helper()
		if got := limit(); got != want {
			t.Errorf("%s the limit is %q, want %q", when, got, want)
		}
	}
	hold := func(f func() error) {
		t.Helper()
		if err := f(); err != nil {
			t.Error(err)
		}
	}
	want("at first", held)
	g.LiftCPU()
	want("lifted", lifted)
	quick := g.Hurry()
	hold(quick)
	want("after a wait that was over at once", lifted)
	g.LiftCPU()
	hold(g.HoldCPU)
	want("held once of twice", lifted)
	hold(g.HoldCPU)
	want("held", held)
	slow := g.Hurry()
	for deadline := time.Now().Add(10 * time.Second); limit() != lifted && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	want("in a long wait", lifted)
	hold(slow)
	want("after it", held)
}

// TestLiftCPUWithoutLimit: a group without a limit gets none by being held.
func TestLiftCPUWithoutLimit(t *testing.T) {
	h := probe(t)
	g := create(t, h, cgroup.Limits{MemoryBytes: 64 << 20})
	g.LiftCPU()
	if err := g.HoldCPU(); err != nil {
		t.Error(err)
	}
	name, want := "cpu.cfs_quota_us", "-1"
	if h.Layout() == cgroup.V2 {
		name, want = "cpu.max", "max 100000"
	}
	if got := file(t, g, name); got != want {
		t.Errorf("the limit is %q", got)
	}
}

// TestDestroyPaysNoDebt: what owes minutes of CPU dies at once, by the group that
// had it or by what a dead owner had recorded.
func TestDestroyPaysNoDebt(t *testing.T) {
	for name, end := range map[string]func(*testing.T, *cgroup.Group){
		"destroy": func(t *testing.T, g *cgroup.Group) { destroy(t, g) },
		"recorded": func(t *testing.T, g *cgroup.Group) {
			ids, err := cgroup.Identities(g.Paths())
			if err != nil {
				t.Fatal(err)
			}
			if err := cgroup.RemoveRecorded(g.Paths(), ids); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := probe(t)
			g := create(t, h, cgroup.Limits{MemoryBytes: 64 << 20, CPUs: 0.01})
			// One read is a tenth of a second of CPU or more, and many of this share.
			cmd := exec.Command("dd", "if=/dev/urandom", "of=/dev/null", "bs=32M", "count=1000000", "iflag=fullblock")
			g.LiftCPU()
			start(t, g, cmd)
			ended := make(chan struct{})
			go func() { cmd.Wait(); close(ended) }()
			reading := testkit.Paced(50 * time.Millisecond)
			use := func() {
				t.Helper()
				want := stats(t, g).CPU + reading
				for deadline := time.Now().Add(time.Minute); stats(t, g).CPU < want; time.Sleep(time.Millisecond) {
					if time.Now().After(deadline) {
						t.Error("it uses no CPU, so that nothing is shown")
						return
					}
				}
			}
			use() // to start, which with the limit is slow
			if err := g.HoldCPU(); err != nil {
				t.Fatal(err)
			}
			use()
			began := time.Now()
			end(t, g)
			<-ended
			if took := time.Since(began); took > testkit.Paced(2*time.Second) {
				t.Errorf("took %s", took)
			}
		})
	}
}
