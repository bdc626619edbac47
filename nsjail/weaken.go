//go:build cellblock_weaken

package nsjail

import (
	"slices"
	"strings"

	"github.com/cellblock/cellblock/internal/sys"
	"github.com/cellblock/cellblock/internal/weaken"
)

// What a weakened program leaves out of a cell (see package weaken). Names are
// those of tests/escape/mutants_test.go; a step of the plan goes by its own.

func weakenSpec(s *Spec, l *layout) {
	if weaken.Layer("memory") {
		s.Limits.MemoryBytes = 0
	}
	if weaken.Layer("pids") {
		s.Limits.PIDs *= 2 // the machine is to live
	}
	if weaken.Layer("cpu") {
		s.Limits.CPUs = 0
	}
	if weaken.Layer("two-ids") {
		l.code = initID
	}
	if weaken.Layer("landlock") {
		s.Without = append(slices.Clone(s.Without), LayerLandlock)
	}
	if weaken.Layer("pid-namespace") {
		l.procMasked = true // or the kernel would not make a /proc
	}
}

// weakenMount takes flags away from a file system.
func weakenMount(path string, attr uint64) uint64 {
	if path == "root" && weaken.Layer("read-only-root") {
		attr &^= sys.MountAttrReadOnly
	}
	if path != "root" && weaken.Layer("noexec") {
		attr &^= sys.MountAttrNoExec
	}
	if weaken.Layer("nosuid") {
		attr &^= sys.MountAttrNoSuid
	}
	if weaken.Layer("nodev") {
		attr &^= sys.MountAttrNoDev
	}
	return attr
}

// weakenTmpfs takes limits away from a scratch file system.
func weakenTmpfs(options [][2]string) [][2]string {
	return slices.DeleteFunc(options, func(o [2]string) bool {
		return o[0] == "size" && weaken.Layer("tmpfs-size") || o[0] == "nr_inodes" && weaken.Layer("tmpfs-inodes")
	})
}

func weakenSteps(list []step) []step {
	return slices.DeleteFunc(list, func(s step) bool {
		name, _, _ := strings.Cut(s.name, " ")
		return name != "landlock" && (weaken.Layer(name) || weaken.Layer(s.name))
	})
}

func weakenFork(list []forkStep) []forkStep {
	for i := range list {
		if list[i].name == "enter-group" && weaken.Layer("fork-late-group") {
			list[i].part = inREPL
		}
	}
	slices.SortStableFunc(list, func(a, b forkStep) int { return a.part - b.part })
	return slices.DeleteFunc(list, func(s forkStep) bool { return weaken.Layer("fork-" + s.name) })
}

// weakenCalls takes single calls out of the plan.
func weakenCalls(p *program) {
	p.insns = slices.DeleteFunc(p.insns, func(in insn) bool {
		return in.what == doCall && in.nr == sysUmount && weaken.Layer("detach-old-root")
	})
}

// weakenProc gives the options and flags of a cell's /proc.
func weakenProc(options [][2]string, attr uint64) ([][2]string, uint64) {
	if weaken.Layer("proc-subset") {
		options = nil
	}
	if weaken.Layer("proc-read-only") {
		attr &^= sys.MountAttrReadOnly
	}
	return options, attr
}

// weakenCode is the id that the init is told to give to code.
func (c *Cell) weakenCode() int {
	if weaken.Layer("user-namespace") {
		return c.hostID(c.host.code)
	}
	return c.host.code
}

// weakenPosture hides what the posture check found.
func weakenPosture(findings []string) []string {
	if weaken.Layer("posture") {
		return nil
	}
	return findings
}
