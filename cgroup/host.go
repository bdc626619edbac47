package cgroup

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/cellblock/cellblock/internal/sys"
)

// Layout is a generation of the kernel's cgroup interface.
type Layout string

// The layouts.
const (
	V1 Layout = "v1"
	V2 Layout = "v2"
)

// The controllers in use. cpuacct exists on v1 only; v2 counts CPU time anyway.
const (
	memory  = "memory"
	pids    = "pids"
	cpu     = "cpu"
	cpuacct = "cpuacct"
)

// A Host is the machine's cgroup hierarchies as this process sees them. It is
// read once, by Probe, and can then make any number of groups. It is safe for
// concurrent use.
//
// A process that is moved to another group by somebody else needs a new Host.
type Host struct {
	layout Layout
	trees  []*tree          // in the order groups are made in them
	of     map[string]*tree // by controller

	mkdir func(path string, mode uint32) error // the kernel's, but for tests

	mu       sync.Mutex
	prepared map[string]delegation // v2: by the directory asked for
}

// A tree is one hierarchy that groups are made in.
type tree struct {
	layout      Layout
	controllers []string // on v2: those that are not on v1
	mount       mount
	own         string // the caller's own group, as the kernel names it
	dir         string // its directory; "" when no mount shows it
	cannot      *MissingError
}

// Probe finds the hierarchies and the caller's own group in each of them. It
// reads /proc/self/mountinfo and /proc/self/cgroup and nothing else; whether a
// group can be made shows in Create, and in Controllers.
func Probe() (*Host, error) {
	mounts, err := sys.ReadControl("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("cannot find the cgroup hierarchies: %w", err)
	}
	own, err := sys.ReadControl("/proc/self/cgroup")
	if err != nil {
		return nil, fmt.Errorf("cannot find the caller's own groups: %w", err)
	}
	return newHost(mounts, own), nil
}

// newHost is Probe without the reading.
func newHost(mountinfo, selfCgroup string) *Host {
	mounts, own := parseMounts(mountinfo), parseOwn(selfCgroup)
	h := &Host{
		layout:   V2,
		of:       make(map[string]*tree),
		mkdir:    sys.Mkdir,
		prepared: make(map[string]delegation),
	}
	for _, name := range []string{memory, pids, cpu, cpuacct} {
		if group, ok := own[name]; ok {
			h.add(name, V1, group, slices.DeleteFunc(slices.Clone(mounts), func(m mount) bool {
				return m.v2 || !slices.Contains(m.options, name)
			}))
			if name == memory {
				h.layout = V1
			}
		}
	}
	for _, name := range []string{memory, pids, cpu} {
		group, ok := own[""]
		if ok && h.of[name] == nil {
			h.add(name, V2, group, slices.DeleteFunc(slices.Clone(mounts), func(m mount) bool { return !m.v2 }))
		}
	}
	return h
}

// add gives a controller the tree it lives in, which it may share (v2, or
// controllers mounted together).
func (h *Host) add(controller string, layout Layout, group string, mounts []mount) {
	t := &tree{layout: layout, own: group}
	m, dir, ok := choose(mounts, group)
	switch {
	case len(mounts) == 0:
		t.cannot = &MissingError{controller, "its hierarchy is not mounted", mendMount}
	case strings.HasSuffix(group, " (deleted)"):
		t.cannot = &MissingError{controller, fmt.Sprintf("the caller's own group %q was removed", group), "start again in a group that exists"}
	case !ok:
		t.cannot = &MissingError{controller, fmt.Sprintf("no mount of its hierarchy shows the caller's own group %q", group), mendMount}
	default:
		t.mount, t.dir = m, dir
	}
	for _, shared := range h.trees {
		if t.cannot == nil && shared.cannot == nil && shared.mount.point == m.point {
			shared.controllers = append(shared.controllers, controller)
			h.of[controller] = shared
			return
		}
	}
	t.controllers = []string{controller}
	h.of[controller] = t
	h.trees = append(h.trees, t)
}

// Layout is that of the memory controller, the one that no cell goes without.
func (h *Host) Layout() Layout { return h.layout }

// Create makes a group called name, which must start with "cellblock-", and
// sets its limits. It is made below the caller's own group of each controller
// when parent is "", and below parent ("/a/b", counted from the root of the
// hierarchies; it must exist in each of them) otherwise. Memory is needed
// always, pids and cpu when they are to be limited: a *MissingError says which
// of them cannot be used and why. On an error nothing is left behind.
//
// On v2 the first Create may switch controllers on for the children of the
// parent, and may move this process, when it is alone in its group, into the
// child "cellblock.self", since v2 does not let a group with processes in it
// share its controllers out.
func (h *Host) Create(name, parent string, l Limits) (*Group, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	if err := l.check(); err != nil {
		return nil, err
	}
	if err := h.require(l); err != nil {
		return nil, err
	}
	return h.create(name, parent, l)
}

// Paths returns the directories that Create would make, so that they can be
// recorded before they are there: an owner that is killed in Create leaves none
// that nobody knows of.
func (h *Host) Paths(name, parent string, l Limits) ([]string, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	if err := h.require(l); err != nil {
		return nil, err
	}
	var paths []string
	for _, t := range h.trees {
		if t.cannot != nil {
			continue
		}
		below, err := h.parentIn(t, parent, l)
		if err != nil {
			return nil, err
		}
		paths = append(paths, below+"/"+name)
	}
	return paths, nil
}

func (h *Host) create(name, parent string, l Limits) (_ *Group, err error) {
	g := &Group{dirFD: -1, cpus: l.CPUs}
	defer func() {
		if err != nil {
			g.undo()
		}
	}()
	for _, t := range h.trees {
		if t.cannot != nil {
			continue // not needed, or require had said so
		}
		below, err := h.parentIn(t, parent, l)
		if err != nil {
			return nil, err
		}
		dir := below + "/" + name
		if err := h.mkdir(dir, 0o755); err != nil {
			return nil, t.explain(below, dir, err)
		}
		g.nodes = append(g.nodes, node{t, dir})
		if t.layout == V2 {
			if g.dirFD, err = sys.OpenControl(dir, syscall.O_RDONLY|syscall.O_DIRECTORY); err != nil {
				return nil, fmt.Errorf("cannot open the group %q: %w", dir, err)
			}
		}
	}
	for _, n := range g.nodes {
		if err := n.limit(l); err != nil {
			return nil, err
		}
	}
	return g, nil
}

// require refuses what cannot be done before anything is done.
func (h *Host) require(l Limits) error {
	for _, c := range []struct {
		name   string
		needed bool
	}{{memory, true}, {pids, l.PIDs > 0}, {cpu, l.needsCPU()}} {
		t := h.of[c.name]
		switch {
		case !c.needed:
		case t == nil:
			return &MissingError{c.name, "the kernel has it switched off, or no cgroup file system is mounted", mendMount}
		case t.cannot != nil:
			e := *t.cannot
			e.Controller = c.name
			return &e
		}
	}
	return nil
}

// parentIn returns the directory below which a group is made.
func (h *Host) parentIn(t *tree, parent string, l Limits) (string, error) {
	dir := t.dir
	if parent != "" {
		if parent[0] != '/' || path.Clean(parent) != parent {
			return "", fmt.Errorf("cannot make a group below %q: not a clean absolute path", parent)
		}
		var ok bool
		if dir, ok = t.mount.below(parent); !ok {
			return "", &MissingError{
				t.controllers[0],
				fmt.Sprintf("the group %q is not below %q, which is all that %q shows", parent, t.mount.root, t.mount.point),
				"name a group that can be seen with --cgroup-parent",
			}
		}
	}
	if t.layout == V1 {
		return dir, nil
	}
	d, err := h.prepare(t, dir, parent == "")
	if err != nil {
		return "", err
	}
	return d.dir, d.allows(l)
}

// explain turns the failure of a mkdir into what the operator can do about it.
func (t *tree) explain(parent, dir string, err error) error {
	var errno syscall.Errno
	errors.As(err, &errno)
	switch errno {
	case syscall.EACCES, syscall.EPERM:
		return &MissingError{t.controllers[0], fmt.Sprintf("%q may not be written to by this user", parent), mendWritable}
	case syscall.EROFS:
		return readOnly(t.controllers[0], t.mount.point)
	case syscall.ENOENT:
		return &MissingError{t.controllers[0], fmt.Sprintf("the group %q does not exist", parent), "mkdir " + parent}
	}
	return fmt.Errorf("cannot make the group %q: %w", dir, err)
}

const namePrefix = "cellblock-"

// checkName holds names to what the sweep will later agree to remove.
func checkName(name string) error {
	rest, ok := strings.CutPrefix(name, namePrefix)
	if !ok || rest == "" || len(name) > 128 {
		return fmt.Errorf("cannot make a group called %q: the name must start with %q and be at most 128 bytes long", name, namePrefix)
	}
	if isUnit(name) {
		return fmt.Errorf("cannot make a group called %q: that is the name of a unit of systemd", name)
	}
	for _, c := range []byte(rest) {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.') {
			return fmt.Errorf("cannot make a group called %q: %q is not a letter, digit, dash, dot or underscore", name, c)
		}
	}
	return nil
}
