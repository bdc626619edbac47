package cgroup

import (
	"fmt"
	"slices"
	"strings"
	"syscall"

	"github.com/cellblock/cellblock/internal/sys"
)

// Adopt is the group that another process of this host's had made with these limits,
// by its directories and their identities, and which that one uses no more. A limit of
// CPU is set again: it may have been lifted.
func (h *Host) Adopt(paths []string, ids []uint64, l Limits) (_ *Group, err error) {
	if err := l.check(); err != nil {
		return nil, err
	}
	if err := h.require(l); err != nil {
		return nil, err
	}
	now, err := Identities(paths)
	if err != nil {
		return nil, fmt.Errorf("cannot take over a group: %w", err)
	}
	if len(paths) == 0 || !slices.Equal(now, ids) {
		return nil, fmt.Errorf("cannot take over the groups %q: they are others", paths)
	}
	g := &Group{dirFD: -1, cpus: l.CPUs}
	defer func() {
		if err != nil && g.dirFD >= 0 {
			syscall.Close(g.dirFD)
		}
	}()
	rest := slices.Clone(paths)
	for _, t := range h.trees {
		if t.cannot != nil {
			continue
		}
		i := slices.IndexFunc(rest, func(p string) bool { return strings.HasPrefix(p, t.mount.point+"/") })
		if i < 0 {
			return nil, fmt.Errorf("cannot take over the groups %q: none is in the hierarchy at %q", paths, t.mount.point)
		}
		dir := rest[i]
		rest = slices.Delete(rest, i, i+1)
		if err := checkRemovable(dir); err != nil {
			return nil, err
		}
		g.nodes = append(g.nodes, node{t, dir})
		if t.layout == V2 {
			if g.dirFD, err = sys.OpenControl(dir, syscall.O_RDONLY|syscall.O_DIRECTORY); err != nil {
				return nil, fmt.Errorf("cannot open the group %q: %w", dir, err)
			}
		}
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("cannot take over the groups %q: no hierarchy has %q", paths, rest)
	}
	for _, n := range g.nodes {
		if err := n.limit(Limits{CPUs: l.CPUs}); err != nil {
			return nil, err
		}
	}
	return g, nil
}
