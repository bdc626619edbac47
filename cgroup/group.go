package cgroup

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"syscall"

	"github.com/cellblock/cellblock/internal/sys"
)

// A Group is one cell's group: a directory in every hierarchy in use. It is
// safe for concurrent use and cannot be used again after Destroy.
type Group struct {
	host  *Host
	nodes []node // memory's first; fixed until Destroy
	dirFD int    // v2: the directory that children are born into; -1 without

	// life is held shared while the group is used and whole while it ends.
	life  sync.RWMutex
	dying bool // below life

	figures figures
	events  oomEvents
}

// A node is the group's directory in one hierarchy.
type node struct {
	tree *tree
	dir  string
}

// Paths returns the directories of the group, for a record from which
// RemovePaths can remove them when this process has died.
func (g *Group) Paths() []string {
	paths := make([]string, len(g.nodes))
	for i, n := range g.nodes {
		paths[i] = n.dir
	}
	return paths
}

// Start runs fork such that the process it makes is born in the group. A
// process that is written to cgroup.procs by its number waits for every CPU of
// the machine to pass a quiet state, 8 to 16 ms; being born there costs nothing.
//
// On v2 fork gets a copy of attr with the group's descriptor in it
// (CLONE_INTO_CGROUP). On v1 the calling thread visits the group: it enters,
// forks, and returns to the own group that Probe found. fork must therefore
// start the process from the goroutine it is called on, and anything else it
// makes the kernel allocate is charged to the group. Another goroutine than
// Start's caller may run it.
//
// When the thread cannot return, it ends with its goroutine and never runs
// anything else; the error says so, and what fork made is in the group as asked.
func (g *Group) Start(attr *syscall.SysProcAttr, fork func(*syscall.SysProcAttr) error) error {
	g.life.RLock()
	defer g.life.RUnlock()
	if g.dying {
		return ErrDestroyed
	}
	var born syscall.SysProcAttr
	if attr != nil {
		born = *attr
	}
	var visited []node
	for _, n := range g.nodes {
		if n.tree.layout == V1 {
			visited = append(visited, n)
			continue
		}
		born.UseCgroupFD, born.CgroupFD = true, g.dirFD
	}
	if len(visited) == 0 {
		return fork(&born)
	}
	g.host.ways.RLock()
	defer g.host.ways.RUnlock()
	if g.host.closed {
		return errors.New("cannot enter the group: its host was closed")
	}
	return visit(visited, func() error { return fork(&born) })
}

// visit runs f on a thread that is in the given v1 groups meanwhile.
//
// The thread is never the leader of this process: where the leader is, the
// kernel charges the memory of the whole process, and looks for processes to
// kill when memory runs out.
func visit(nodes []node, f func() error) error {
	done := make(chan error, 1)
	go func() {
		// Threads that the runtime starts meanwhile are not children of a
		// locked one, so no other thread of this process gets into the group.
		runtime.LockOSThread()
		if syscall.Gettid() == syscall.Getpid() {
			done <- visit(nodes, f) // this thread waits, locked, so that another one goes
			runtime.UnlockOSThread()
			return
		}
		err, home := enterAndReturn(nodes, f)
		if home {
			runtime.UnlockOSThread()
		}
		done <- err
	}()
	return <-done
}

// enterAndReturn moves the calling thread into the groups, runs f and moves the
// thread back to where it was; home says whether that succeeded in full.
func enterAndReturn(nodes []node, f func() error) (err error, home bool) {
	var inside [8]int
	entered := 0
	for i, n := range nodes {
		if err = n.tree.openBack(); err != nil {
			break
		}
		// A literal 0 means the writer itself, for which the kernel needs no
		// lock on all thread groups; a number would cost the 8 to 16 ms.
		if inside[i], err = sys.OpenControl(n.dir+"/tasks", syscall.O_WRONLY); err != nil {
			break
		}
		defer syscall.Close(inside[i])
		if werr := sys.WriteControlFD(inside[i], "0"); werr != nil {
			err = &os.PathError{Op: "write", Path: n.dir + "/tasks", Err: werr}
			break
		}
		entered++
	}
	if err != nil {
		err = fmt.Errorf("cannot enter the group: %w", err)
	} else {
		err = f()
	}
	home = true
	for _, n := range nodes[:entered] {
		if berr := sys.WriteControlFD(n.tree.back, "0"); berr != nil {
			home = false
			err = errors.Join(err, fmt.Errorf("cannot return a thread to the group %q: %w", n.tree.dir, berr))
		}
	}
	return err, home
}

// openBack opens the way back to the caller's own group, once.
func (t *tree) openBack() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.back > 0 {
		return nil
	}
	fd, err := sys.OpenControl(t.dir+"/tasks", syscall.O_WRONLY)
	if err == nil {
		t.back = fd
	}
	return err
}
