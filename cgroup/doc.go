// Package cgroup gives every cell a control group: limits on memory, processes
// and CPU, the figures of what was used, and the end of everything inside.
//
//	host, err := cgroup.Probe()
//	g, err := host.Create("cellblock-7f3a", "", cgroup.Limits{MemoryBytes: 512 << 20, PIDs: 64, CPUs: 1})
//	in, err := g.Entrance() // by which a program enters, or is born inside
//	before, err := g.Stats()
//	err = g.Destroy(ctx)
//
// Hosts whose controllers are on v1, each in a hierarchy of its own or mounted
// together, and hosts with the one tree of v2 are served alike; a host may even
// mix them, since a group is a set of directories, one per hierarchy in use.
//
// It does not change a group that is not below the one it was given, or judge
// what happened: a Stats is a reading, not a verdict. It speaks to systemd only
// when asked to, by TakeScope.
package cgroup
