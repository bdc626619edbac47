package cgroup

import (
	"fmt"
	"os"
	"syscall"

	"github.com/cellblock/cellblock/internal/sys"
)

// Entrance is a way into a group that costs nothing: a number written to
// cgroup.procs waits for a grace period of the kernel, on a quiet machine 8 to
// 16 ms; a process that enters by itself, or is born inside, does not.
type Entrance struct {
	// Files are v1's `tasks`, one a hierarchy: a program of one thread that
	// writes a literal 0 to each has entered.
	Files []*os.File
	// BirthFD, where it is not -1, is v2's directory for SysProcAttr.CgroupFD.
	BirthFD int
}

// Entrance opens the group's. BirthFD stays the group's, Files are the
// caller's to close.
func (g *Group) Entrance() (_ *Entrance, err error) {
	g.life.RLock()
	defer g.life.RUnlock()
	if g.dying {
		return nil, ErrDestroyed
	}
	e := &Entrance{BirthFD: g.dirFD}
	defer func() {
		if err != nil {
			e.Close()
		}
	}()
	for _, n := range g.nodes {
		if n.tree.layout != V1 {
			continue
		}
		fd, err := sys.OpenControl(n.dir+"/tasks", syscall.O_WRONLY)
		if err != nil {
			return nil, fmt.Errorf("cannot enter the group: %w", err)
		}
		e.Files = append(e.Files, os.NewFile(uintptr(fd), n.dir+"/tasks"))
	}
	return e, nil
}

// Doors are files by which a process of one thread enters the group by itself:
// it writes a literal 0 to each. They serve where a process is neither started
// by Start nor born inside, from within user namespaces too, as the kernel asks
// who opened them. On v1 that is free; on v2 it can wait like a number does.
func (g *Group) Doors() (_ []*os.File, err error) {
	g.life.RLock()
	defer g.life.RUnlock()
	if g.dying {
		return nil, ErrDestroyed
	}
	var doors []*os.File
	defer func() {
		if err != nil {
			for _, f := range doors {
				f.Close()
			}
		}
	}()
	for _, n := range g.nodes {
		path := n.dir + "/tasks"
		if n.tree.layout == V2 {
			path = n.dir + "/cgroup.procs"
		}
		fd, err := sys.OpenControl(path, syscall.O_WRONLY)
		if err != nil {
			return doors, fmt.Errorf("cannot enter the group: %w", err)
		}
		doors = append(doors, os.NewFile(uintptr(fd), path))
	}
	return doors, nil
}

// Close closes Files.
func (e *Entrance) Close() {
	for _, f := range e.Files {
		f.Close()
	}
}
