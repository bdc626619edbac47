package cgroup

import (
	"fmt"
	"slices"
	"strings"
	"syscall"

	"github.com/cellblock/cellblock/internal/sys"
)

// A Controller is what an operator wants to know of one controller.
type Controller struct {
	Name   string
	Layout Layout // "" when it is nowhere
	Mount  string // where its hierarchy is mounted
	Own    string // the caller's own group, as the kernel names it
	Usable bool   // a group can be made below Own
	Why    string // what is in the way when not
	Mend   string // and what to do about it
}

// Controllers looks at memory, pids, cpu and, on v1, cpuacct, and changes
// nothing. It says what Create would meet in the caller's own groups.
func (h *Host) Controllers() []Controller {
	var all []Controller
	for _, name := range []string{memory, pids, cpu, cpuacct} {
		t := h.of[name]
		if t == nil {
			if name != cpuacct {
				e := h.require(Limits{PIDs: 1, CPUs: 1})
				if m, ok := e.(*MissingError); ok && m.Controller == name {
					all = append(all, Controller{Name: name, Why: m.Why, Mend: m.Mend})
				} else {
					all = append(all, Controller{Name: name, Why: "the kernel has it switched off", Mend: mendMount})
				}
			}
			continue
		}
		c := Controller{Name: name, Layout: t.layout, Mount: t.mount.point, Own: t.own, Usable: true}
		if m := t.obstacle(name); m != nil {
			c.Usable, c.Why, c.Mend = false, m.Why, m.Mend
		}
		all = append(all, c)
	}
	return all
}

const writeAndEnter = 2 | 1 // W_OK | X_OK

// obstacle says what keeps a group with the controller from being made below
// the caller's own.
func (t *tree) obstacle(name string) *MissingError {
	if t.cannot != nil {
		return t.cannot
	}
	dir := t.dir
	if t.layout == V2 {
		dir = t.ownBase()
	}
	if err := syscall.Access(dir, writeAndEnter); err != nil {
		if m, ok := t.explain(dir, dir, err).(*MissingError); ok {
			return m
		}
		return &MissingError{name, fmt.Sprintf("%q cannot be used: %v", dir, err), mendMount}
	}
	if t.layout == V1 {
		return nil
	}
	want, on, err := handedDown(t, dir)
	switch {
	case err != nil:
		return &MissingError{name, err.Error(), mendMount}
	case slices.Contains(on, name):
		return nil
	case !slices.Contains(want, name):
		return &MissingError{name, fmt.Sprintf("it is not handed down to the group %q", dir), mendHandDown(systemdRuns())}
	case t.isRoot(dir):
		return nil
	}
	// It would have to be switched on, for which the group may hold no one else.
	if others, err := othersIn(dir); err == nil && others > 0 {
		return crowded(t, dir, others)
	}
	return nil
}

// isRoot says whether dir is the root of the v2 tree, which alone may hold
// processes and hand controllers down; it alone has no type.
func (t *tree) isRoot(dir string) bool {
	text, err := sys.ReadControl(dir + "/cgroup.type")
	return err != nil && strings.TrimSpace(text) == ""
}
