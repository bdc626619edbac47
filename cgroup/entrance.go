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

// Close closes Files.
func (e *Entrance) Close() {
	for _, f := range e.Files {
		f.Close()
	}
}
