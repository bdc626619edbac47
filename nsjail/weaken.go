//go:build cellblock_weaken

package nsjail

import (
	"bytes"
	"encoding/binary"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/cellblock/cellblock/internal/sys"
	"github.com/cellblock/cellblock/seccomp"
)

// This file is in one test binary only (tests/escape, TestLayers). It leaves
// out the layers that CELLBLOCK_WEAKEN names, separated by commas, to show that
// the attacks notice it. A cell of such a binary is no cell.

func weakened(layer string) bool {
	return slices.Contains(strings.Split(os.Getenv("CELLBLOCK_WEAKEN"), ","), layer)
}

func weakenSpec(s *Spec, l *layout) {
	if weakened("memory") {
		s.Limits.MemoryBytes = 0
	}
	if weakened("pids") {
		s.Limits.PIDs = 500 // the machine is to live
	}
	if weakened("two-ids") {
		l.code = initID
	}
	if weakened("landlock") {
		s.Without = append(slices.Clone(s.Without), LayerLandlock)
	}
}

// weakenProgram changes what a cell starts from: the flags of the init's clone,
// which stand in its program as one number, and the filter.
func weakenProgram(name string, b []byte) []byte {
	switch {
	case name == "cellblock-init" && weakened("network-namespace"):
		const flags = syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS |
			0x8000 /* CLONE_PARENT */ | 0x1000 /* CLONE_PIDFD */ | uint32(syscall.SIGCHLD)
		return replace(b, flags, flags&^syscall.CLONE_NEWNET)
	case name == "cellblock-filter" && weakened("seccomp"):
		allow := binary.NativeEndian.AppendUint16(nil, 0x06) // BPF_RET
		allow = append(allow, 0, 0)
		return binary.NativeEndian.AppendUint32(allow, uint32(seccomp.Allow))
	}
	return b
}

func replace(b []byte, old, with uint32) []byte {
	was, now := binary.NativeEndian.AppendUint32(nil, old), binary.NativeEndian.AppendUint32(nil, with)
	if bytes.Count(b, was) != 1 {
		panic("BUG(nsjail): the init's clone flags are not where they were")
	}
	return bytes.Replace(b, was, now, 1)
}

func weakenMount(path string, attr uint64) uint64 {
	if path == "root" && weakened("read-only-root") {
		attr &^= sys.MountAttrReadOnly
	}
	if path != "root" && weakened("noexec") {
		attr &^= sys.MountAttrNoExec
	}
	return attr
}

func weakenSteps(list []step) []step {
	return slices.DeleteFunc(list, func(s step) bool {
		name, _, _ := strings.Cut(s.name, " ")
		return weakened(name) && name != "landlock"
	})
}

func weakenFork(list []forkStep) []forkStep {
	return slices.DeleteFunc(list, func(s forkStep) bool { return weakened("fork-" + s.name) })
}

func weakenProc(options [][2]string) [][2]string {
	if weakened("proc-subset") {
		return nil
	}
	return options
}

// weakenPosture hides what the posture check found.
func weakenPosture(findings []string) []string {
	if weakened("posture") {
		return nil
	}
	return findings
}
