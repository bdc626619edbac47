package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/cellblock/cellblock/internal/sys"
)

// On v2 a group hands controllers to its children by cgroup.subtree_control,
// and one that does may hold no process itself, the root excepted
// (Documentation/admin-guide/cgroup-v2.rst, "No Internal Process Constraint").

// selfLeaf is where a process that is alone in its group moves itself to. A
// unit with DelegateSubgroup=cellblock.self starts there.
const selfLeaf = "cellblock.self"

// A delegation is a v2 group with controllers switched on for its children.
type delegation struct {
	from *tree
	dir  string
	on   []string
}

// allows says what keeps a group with these limits from being made there.
func (d delegation) allows(l Limits) error {
	for _, c := range []struct {
		name   string
		needed bool
	}{{memory, slices.Contains(d.from.controllers, memory)}, {pids, l.PIDs > 0}, {cpu, l.needsCPU()}} {
		if c.needed && slices.Contains(d.from.controllers, c.name) && !slices.Contains(d.on, c.name) {
			return &MissingError{c.name, fmt.Sprintf("it is not handed down to the group %q", d.dir), mendHandDown(systemdRuns())}
		}
	}
	return nil
}

// prepare readies a v2 directory for children, once: it switches on those of
// the tree's controllers that it has. own says that it is the caller's own
// group, which may have to be vacated first.
func (h *Host) prepare(t *tree, dir string, own bool) (delegation, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if d, ok := h.prepared[dir]; ok {
		return d, nil
	}
	asked := dir
	if own {
		dir = t.ownBase()
	}
	want, on, err := handedDown(t, dir)
	if err != nil {
		return delegation{}, err
	}
	if len(want) > 0 {
		err := switchOn(dir, want)
		if errors.Is(err, syscall.EBUSY) && own {
			if err := vacate(t, dir); err != nil {
				return delegation{}, err
			}
			err = switchOn(dir, want)
		}
		if err != nil {
			return delegation{}, refused(t, want[0], dir, err)
		}
		on = append(on, want...)
	}
	d := delegation{t, dir, on}
	h.prepared[asked] = d
	return d, nil
}

// ownBase is the group below which groups are made by default: the caller's
// own, or the one above when the caller sits in a leaf made for it.
func (t *tree) ownBase() string {
	if path.Base(t.dir) == selfLeaf && t.dir != t.mount.point {
		return path.Dir(t.dir)
	}
	return t.dir
}

// handedDown says which of the tree's controllers a group gives to its
// children, and which it has but does not give.
func handedDown(t *tree, dir string) (want, on []string, err error) {
	has, err := sys.ReadControl(dir + "/cgroup.controllers")
	if errors.Is(err, syscall.ENOENT) {
		return nil, nil, t.explain(dir, dir, syscall.ENOENT)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("cannot read what the group has: %w", err)
	}
	gives, err := sys.ReadControl(dir + "/cgroup.subtree_control")
	if err != nil {
		return nil, nil, fmt.Errorf("cannot read what the group hands down: %w", err)
	}
	given := strings.Fields(gives)
	for _, c := range strings.Fields(has) {
		switch {
		case !slices.Contains(t.controllers, c):
		case slices.Contains(given, c):
			on = append(on, c)
		default:
			want = append(want, c)
		}
	}
	return want, on, nil
}

func switchOn(dir string, controllers []string) error {
	return sys.WriteControl(dir+"/cgroup.subtree_control", "+"+strings.Join(controllers, " +"))
}

// refused names the reasons for which controllers cannot be switched on.
func refused(t *tree, controller, dir string, err error) error {
	switch {
	case errors.Is(err, syscall.EBUSY):
		return &MissingError{controller, fmt.Sprintf("the group %q has processes in it and so cannot hand controllers down", dir), mendCrowded(dir, systemdRuns())}
	case errors.Is(err, syscall.EROFS):
		return readOnly(controller, t.mount.point)
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return &MissingError{controller, fmt.Sprintf("the group %q may not be changed by this user", dir), mendWritable}
	}
	return fmt.Errorf("cannot hand controllers down from the group %q: %w", dir, err)
}

// vacate moves this process from its own group into a child, when no other
// process is in the group. This is the one move by cgroup.procs, once in the
// life of the process.
func vacate(t *tree, dir string) error {
	others, err := othersIn(dir)
	if err != nil {
		return fmt.Errorf("cannot read who is in the own group: %w", err)
	}
	if others > 0 {
		return crowded(t, dir, others)
	}
	leaf := dir + "/" + selfLeaf
	if err := sys.Mkdir(leaf, 0o755); err != nil && !errors.Is(err, syscall.EEXIST) {
		return t.explain(dir, leaf, err)
	}
	if err := sys.WriteControl(leaf+"/cgroup.procs", "0"); err != nil {
		return fmt.Errorf("cannot move from the own group into a child of it: %w", err)
	}
	return nil
}

// othersIn counts the processes in a group but for this one.
func othersIn(dir string) (int, error) {
	text, err := sys.ReadControl(dir + "/cgroup.procs")
	if err != nil {
		return 0, err
	}
	self, others := strconv.Itoa(os.Getpid()), 0
	for pid := range strings.FieldsSeq(text) {
		if pid != self {
			others++
		}
	}
	return others, nil
}

func crowded(t *tree, dir string, others int) *MissingError {
	return &MissingError{
		t.controllers[0],
		fmt.Sprintf("the group %q holds %d other processes and so cannot hand controllers down", dir, others),
		mendCrowded(dir, systemdRuns()),
	}
}

func readOnly(controller, mounted string) *MissingError {
	return &MissingError{controller, fmt.Sprintf("%q is mounted read-only", mounted), mendReadOnly(mounted)}
}
