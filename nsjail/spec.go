// Package nsjail builds one cell: a process tree in namespaces of its own,
// below a group of its own, on a root of its own, with no capability and a
// seccomp filter, in which Python REPLs run.
//
//	cell, err := nsjail.Start(ctx, nsjail.Spec{Root: tree, Python: "/usr/bin/python3.11", …})
//	defer cell.Close()
//	proc, err := cell.StartREPL(ctx)
//	err = cell.CheckPosture(proc)   // before the first byte nobody trusts
//
// It knows nothing of Python code, sessions or results (package executor),
// builds no root (package rootfs) and keeps no policy of system calls
// (package seccomp).
package nsjail

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cellblock/cellblock/cgroup"
	"github.com/cellblock/cellblock/internal/trace"
)

// Layer is a part of a cell that a caller may name as one that may be missing.
type Layer string

// The layers that can be done without, when the caller says so.
const (
	LayerCgroup   Layer = "cgroup"   // limits of memory, processes and CPU
	LayerLandlock Layer = "landlock" // Linux 5.13 and later
)

// Layers are all of them, in the order in which help texts name them.
var Layers = []Layer{LayerCgroup, LayerLandlock}

// ParseLayers reads the names that a caller gave.
func ParseLayers(names []string) ([]Layer, error) {
	var layers []Layer
	for _, n := range names {
		l := Layer(strings.TrimSpace(n))
		if !slices.Contains(Layers, l) {
			return nil, fmt.Errorf("no layer is called %q: those that can be left out are %v", n, Layers)
		}
		layers = append(layers, l)
	}
	return layers, nil
}

// Input is a staged directory or file that the cell sees read-only.
type Input struct {
	Stage string // on the host, below a path that tells nothing
	Name  string // below /workspace
	File  bool   // Stage is a regular file
}

// Spec is what a cell is to be. It is not changed by Start.
type Spec struct {
	Root   string   // the prepared tree
	Python string   // path of the interpreter inside it
	Args   []string // arguments of the interpreter
	Env    []string

	Limits       cgroup.Limits
	CgroupParent string // "" means the caller's own group
	// Scope lets this process move itself into a scope of systemd, for good,
	// where its own group is not one to make cells in (a login shell's). It is
	// for programs that run cells and nothing else.
	Scope bool

	WorkspaceBytes, WorkspaceFiles int64  // of /workspace; 0 means 256 MiB, 16,384
	TmpBytes                       int64  // of /tmp and of /dev/shm each; 0 means 64 MiB
	FileBytes                      int64  // largest file (RLIMIT_FSIZE); 0 means a little above the workspace's size
	OpenFiles                      uint64 // RLIMIT_NOFILE; 0 means 1,024

	Inputs []Input

	// Without names the layers that may be missing. They are left out.
	Without []Layer
	// RuntimeDir holds the records of living cells; "" means the default.
	RuntimeDir string
	Trace      *trace.Trace
}

func (s Spec) without(l Layer) bool { return slices.Contains(s.Without, l) }

func (s Spec) withDefaults() Spec {
	if s.WorkspaceBytes == 0 {
		s.WorkspaceBytes = 256 << 20
	}
	if s.WorkspaceFiles == 0 {
		s.WorkspaceFiles = 16384
	}
	if s.TmpBytes == 0 {
		s.TmpBytes = 64 << 20
	}
	if s.FileBytes == 0 {
		// Above the workspace's size, so that a full one says ENOSPC.
		s.FileBytes = s.WorkspaceBytes + 1<<20
	}
	if s.OpenFiles == 0 {
		s.OpenFiles = 1024
	}
	return s
}
