package cgroup

import "sync"

// A Group is one cell's group: a directory in every hierarchy in use. It is
// safe for concurrent use and cannot be used again after Destroy.
type Group struct {
	nodes []node // memory's first; fixed until Destroy
	dirFD int    // v2: the directory that children are born into; -1 without

	// life is held shared while the group is used and whole while it ends.
	life  sync.RWMutex
	dying bool // below life

	cpus  float64 // the limit of CPU; 0 without; fixed
	quota sync.Mutex
	lifts int // how many hold the limit of CPU lifted; below quota

	figures figures
	events  oomEvents
}

// A node is the group's directory in one hierarchy.
type node struct {
	tree *tree
	dir  string
}

// Paths returns the directories of the group, for a record from which
// RemoveRecorded can remove them when this process has died; none of a group that was
// destroyed.
func (g *Group) Paths() []string {
	g.life.RLock()
	defer g.life.RUnlock()
	return g.paths()
}

// paths is Paths for a caller that holds life.
func (g *Group) paths() []string {
	paths := make([]string, len(g.nodes))
	for i, n := range g.nodes {
		paths[i] = n.dir
	}
	return paths
}
