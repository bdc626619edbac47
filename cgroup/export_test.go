package cgroup

import (
	"slices"

	"github.com/cellblock/cellblock/internal/sys"
)

// NewHost is Probe on given texts.
var NewHost = newHost

var (
	CheckName = checkName
	Number    = number
	Keyed     = keyed
)

// Mount is what parseMounts made of one line.
type Mount = struct {
	Root, Point  string
	V2, ReadOnly bool
}

// UnifiedMount finds the v2 tree of this machine; "" without one.
func UnifiedMount() string {
	for _, m := range parseMountsOfSelf() {
		if m.v2 && m.root == "/" {
			return m.point
		}
	}
	return ""
}

func parseMountsOfSelf() []mount {
	text, _ := sys.ReadControl("/proc/self/mountinfo")
	return parseMounts(text)
}

func ParseMounts(text string) (all []Mount) {
	for _, m := range parseMounts(text) {
		all = append(all, Mount{m.root, m.point, m.v2, m.readOnly})
	}
	return all
}

var ParseOwn = parseOwn

// Dirs returns the own directory of each controller.
func (h *Host) Dirs() map[string]string {
	dirs := make(map[string]string)
	for name, t := range h.of {
		dirs[name] = t.dir
	}
	return dirs
}

// Settings returns the table of limits of a layout as "file=value".
func Settings(layout Layout, l Limits) (all []string) {
	t := &tree{layout: layout, controllers: []string{memory, pids, cpu, cpuacct}}
	for _, s := range t.settings(l) {
		all = append(all, s.file+"="+s.value)
	}
	return all
}

// SetMkdir replaces how directories are made.
func (h *Host) SetMkdir(f func(path string, mode uint32) error) { h.mkdir = f }

// OnlyV2 cuts the host down to its v2 tree, from which it takes the given
// controllers, so that what v2 does can be tried on a hybrid machine.
func (h *Host) OnlyV2(dir string, controllers ...string) {
	t := &tree{layout: V2, controllers: controllers, own: "/", dir: dir}
	for _, m := range parseMountsOfSelf() {
		if m.v2 {
			t.mount = m
		}
	}
	h.trees = []*tree{t}
	h.of = make(map[string]*tree)
	for _, c := range controllers {
		h.of[c] = t
	}
}

// CreateBare is Create without the demand for controllers.
func (h *Host) CreateBare(name string) (*Group, error) { return h.create(name, "", Limits{}) }

// HandsDown lists the controllers that a directory gives to its children once
// prepared as the own group, and the directory in use.
func (h *Host) HandsDown() (string, []string, error) {
	t := h.trees[0]
	d, err := h.prepare(t, t.dir, true)
	slices.Sort(d.on)
	return d.dir, d.on, err
}
