package cgroup

import (
	"fmt"
	"os"
	"sync"
	"syscall"

	"github.com/cellblock/cellblock/internal/sys"
)

// oomEvents watches a group run out of memory, from the first call of OOM on.
type oomEvents struct {
	mu     sync.Mutex
	events chan struct{}
	file   *os.File      // what the watcher waits on
	ended  chan struct{} // closed when the watcher has returned
}

// OOM returns a channel that gets a value when the group runs out of memory;
// values that nobody takes are merged into one. The first call starts the
// watch (a goroutine in the poller and one descriptor), Destroy ends it. The
// channel is never closed, so that an end is not taken for an event. It is nil,
// and so never ready, where the kernel offers no watch.
//
// An event is a hint to read Stats: on v1 it comes before the kill, and also
// when a group above is out of memory; OOMKills says who was killed for it.
func (g *Group) OOM() <-chan struct{} {
	g.life.RLock()
	defer g.life.RUnlock()
	o := &g.events
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.events != nil || g.dying {
		return o.events
	}
	n, ok := g.nodeOf(memory)
	if !ok {
		return nil
	}
	file, wait, err := n.watchOOM()
	if err != nil {
		return nil
	}
	o.file, o.ended = file, make(chan struct{})
	events := make(chan struct{}, 1)
	o.events = events
	go func() {
		defer close(o.ended)
		for wait() == nil {
			select {
			case events <- struct{}{}:
			default:
			}
		}
	}()
	return o.events
}

// stop ends the watch and waits for its end.
func (o *oomEvents) stop() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.file != nil {
		o.file.Close()
		<-o.ended
		o.file = nil
	}
}

// watchOOM returns a file and a function that waits on it for the next event,
// and fails once the file is closed.
func (n node) watchOOM() (*os.File, func() error, error) {
	if n.tree.layout == V2 {
		f, err := openPolled(n.dir + "/memory.events")
		if err != nil {
			return nil, nil, err
		}
		// The file also changes when the group meets memory.max and gets by
		// without a kill: only these two counts mean out of memory.
		var last [2]int64
		changed := func(fd int) bool {
			text := readAll(fd)
			now := [2]int64{keyed(text, "oom"), keyed(text, "oom_kill")}
			if text == nil || now == last {
				return false
			}
			last = now
			return true
		}
		return f, func() error { return await(f, changed) }, nil
	}
	// Documentation/admin-guide/cgroup-v1/memory.rst, section 10: the kernel
	// keeps what it needs of both descriptors.
	control, err := sys.OpenControl(n.dir+"/memory.oom_control", syscall.O_RDONLY)
	if err != nil {
		return nil, nil, err
	}
	defer syscall.Close(control)
	event, err := sys.Eventfd()
	if err != nil {
		return nil, nil, err
	}
	f := os.NewFile(uintptr(event), "eventfd of "+n.dir)
	if err := sys.WriteControl(n.dir+"/cgroup.event_control", fmt.Sprintf("%d %d", event, control)); err != nil {
		f.Close()
		return nil, nil, err
	}
	var count [8]byte
	return f, func() error { _, err := f.Read(count[:]); return err }, nil
}

// nodeOf returns the group's directory that has a controller.
func (g *Group) nodeOf(controller string) (node, bool) {
	for _, n := range g.nodes {
		for _, c := range n.tree.controllers {
			if c == controller {
				return n, true
			}
		}
	}
	return node{}, false
}
