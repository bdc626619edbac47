package cgroup

import (
	"slices"
	"time"

	"github.com/cellblock/cellblock/internal/sys"
)

// soon is how long what is to end in a group may take before it gets CPU without
// limit. What is not throttled takes less, and costs no call.
const soon = 5 * time.Millisecond

// LiftCPU takes the limit of CPU from the group, and what it owes with it, until
// as many calls of HoldCPU. The kernel throttles a task only where it returns to
// user mode: threads in long calls run the group into a debt of minutes, in which
// nothing of it gets CPU, neither to carry out an order nor to die.
func (g *Group) LiftCPU() {
	g.life.RLock()
	defer g.life.RUnlock()
	if g.dying || g.cpus == 0 {
		return
	}
	g.quota.Lock()
	defer g.quota.Unlock()
	if g.lifts++; g.lifts == 1 {
		for _, n := range g.nodes {
			if slices.Contains(n.tree.controllers, cpu) {
				lift(n.dir)
			}
		}
	}
}

// HoldCPU sets the limit of CPU again. On an error the group may be without.
func (g *Group) HoldCPU() error {
	g.life.RLock()
	defer g.life.RUnlock()
	if g.dying || g.cpus == 0 {
		return nil
	}
	g.quota.Lock()
	defer g.quota.Unlock()
	if g.lifts--; g.lifts > 0 {
		return nil
	}
	for _, n := range g.nodes {
		if err := n.limit(Limits{CPUs: g.cpus}); err != nil {
			return err
		}
	}
	return nil
}

// ForgiveCPU takes what the group owes of CPU from it; the limit stays. On an error
// the group may be without.
func (g *Group) ForgiveCPU() error {
	g.LiftCPU()
	return g.HoldCPU()
}

// Hurry is called before a wait for processes of the group. When the wait takes
// long, it lifts the limit of CPU; done ends that, and must be called once.
func (g *Group) Hurry() (done func() error) {
	lifted := make(chan struct{})
	timer := time.AfterFunc(soon, func() {
		g.LiftCPU()
		close(lifted)
	})
	return func() error {
		if timer.Stop() {
			return nil
		}
		<-lifted
		return g.HoldCPU()
	}
}

// lift takes the limit of CPU from one directory of a group; one that has none, or
// belongs to another hierarchy, stays as it is.
func lift(dir string) {
	_ = sys.WriteControl(dir+"/cpu.cfs_quota_us", "-1") // v1
	_ = sys.WriteControl(dir+"/cpu.max", "max")         // v2
}
