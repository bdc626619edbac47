package cgroup

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
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

	visitors visitors
	figures  figures
	events   oomEvents
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
// process that is written to cgroup.procs by its number waits for a grace period
// of the kernel, on a quiet machine 8 to 16 ms; being born there does not.
//
// On v2 fork gets a copy of attr with the group's descriptor in it
// (CLONE_INTO_CGROUP). On v1 a thread visits the group: it enters, forks, and
// returns to the own group that Probe found. fork must therefore start the
// process from the goroutine it is called on, which is not that of Start's
// caller, and whatever else it makes the kernel allocate is charged to the
// group.
//
// When the thread cannot return, it ends with its goroutine and never runs
// anything else. The error says so, while what fork made is in the group as
// asked. For the cpu hierarchy that error comes from Destroy instead, because
// Start does not wait for the return there.
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
	visits := false
	for _, n := range g.nodes {
		switch n.tree.layout {
		case V1:
			visits = true
		case V2:
			born.UseCgroupFD, born.CgroupFD = true, g.dirFD
		}
	}
	if !visits {
		return fork(&born)
	}
	return g.visit(func() error { return fork(&born) })
}

// visitors are the threads of this process that are in the group.
type visitors struct {
	sync.WaitGroup
	mu      sync.Mutex
	strayed error // why threads could not return, for Destroy to tell
}

// visit runs f on a thread that is in the v1 directories of the group meanwhile.
//
// The thread is never the leader of this process: where the leader is, the
// kernel charges the memory of the whole process, and looks for processes to
// kill when memory runs out.
func (g *Group) visit(f func() error) error {
	g.host.ways.RLock() // until the thread is home
	if g.host.closed {
		g.host.ways.RUnlock()
		return errors.New("cannot enter the group: its host was closed")
	}
	g.visitors.Add(1)
	done := make(chan error, 1)
	thread := func() {
		defer g.visitors.Done()
		defer g.host.ways.RUnlock()
		if g.enterAndReturn(f, done) {
			runtime.UnlockOSThread()
		}
	}
	go func() {
		// Threads that the runtime starts meanwhile are not children of a
		// locked one, so no other thread of this process gets into the group.
		runtime.LockOSThread()
		if syscall.Gettid() != syscall.Getpid() {
			thread()
			return
		}
		defer runtime.UnlockOSThread()
		gone := make(chan struct{})
		go func() { // not on the leader, which is locked and waits
			runtime.LockOSThread()
			close(gone)
			thread()
		}()
		<-gone
	}()
	return <-done
}

// enterAndReturn moves the calling thread into the groups, runs f, moves the
// thread back to where it was and reports the outcome; home says whether the
// return succeeded in full.
func (g *Group) enterAndReturn(f func() error, report chan<- error) (home bool) {
	inside := make([]int, 0, len(g.nodes))
	defer func() {
		for _, fd := range inside {
			syscall.Close(fd)
		}
	}()
	entered := make([]node, 0, len(g.nodes))
	enter := func(n node) error {
		if err := n.tree.openBack(); err != nil {
			return err
		}
		fd, err := sys.OpenControl(n.dir+"/tasks", syscall.O_WRONLY)
		if err != nil {
			return err
		}
		inside = append(inside, fd)
		// A literal 0 means the writer itself, for which the kernel needs no
		// lock on all thread groups; a number would cost the 8 to 16 ms.
		if err := sys.WriteControlFD(fd, "0"); err != nil {
			return &os.PathError{Op: "write", Path: n.dir + "/tasks", Err: err}
		}
		entered = append(entered, n)
		return nil
	}
	var err error
	for _, n := range g.nodes {
		if n.tree.layout == V1 && err == nil {
			err = enter(n)
		}
	}
	if err != nil {
		err = fmt.Errorf("cannot enter the group: %w", err)
	} else {
		err = f()
	}

	var strayed error
	goBack := func(cpuToo bool) {
		for _, n := range entered {
			if slices.Contains(n.tree.controllers, cpu) != cpuToo {
				continue
			}
			if werr := sys.WriteControlFD(n.tree.back, "0"); werr != nil {
				strayed = errors.Join(strayed, fmt.Errorf("cannot return a thread to the group %q: %w", n.tree.dir, werr))
			}
		}
	}
	goBack(false)
	report <- errors.Join(err, strayed)
	// After the report, because a move between cpu groups makes the scheduler
	// choose anew: the new process, on the same CPU, runs first, for 1 to 4 ms.
	synchronous := strayed
	strayed = nil
	goBack(true)
	if strayed != nil {
		g.visitors.mu.Lock()
		g.visitors.strayed = errors.Join(g.visitors.strayed, strayed)
		g.visitors.mu.Unlock()
	}
	return synchronous == nil && strayed == nil
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
