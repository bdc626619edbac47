package cgroup

import (
	"errors"
	"fmt"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/cellblock/cellblock/internal/sys"
)

// Limits are what a group may use. Zero means no limit.
type Limits struct {
	MemoryBytes int64   // pages, tmpfs contents and kernel objects together; no swap beside them
	PIDs        int64   // processes and threads
	CPUs        float64 // cores, e.g. 0.5: that share of every 100 ms; not less than 0.01
	// CPUWeight is what the group gets, beside others below the same parent, of a CPU
	// that all of them want: 1 to 10000. Where nobody sets one it is 100; on v1 a
	// process that is in the parent itself counts as such a group.
	CPUWeight int
}

func (l Limits) check() error {
	if l.MemoryBytes < 0 || l.PIDs < 0 || !(l.CPUs >= 0) || l.CPUs > 1<<20 || l.CPUWeight < 0 || l.CPUWeight > 10000 {
		return fmt.Errorf("cannot limit a group to %+v: negative or out of range", l)
	}
	return nil
}

func (l Limits) needsCPU() bool { return l.CPUs > 0 || l.CPUWeight > 0 }

// usualShares is what v1 has for the weight 100.
const usualShares = 1024

// cpuPeriod is the kernel's default, so that v1 need not be told.
const cpuPeriod = 100_000 // µs

func (l Limits) cpuQuota() string {
	const least = 1000 // µs, the kernel's minimum
	return strconv.FormatInt(max(least, int64(math.Round(l.CPUs*cpuPeriod))), 10)
}

// A setting is one value written to one control file.
type setting struct {
	file, value string
	// unless the write fails with one of these, in which case the group does
	// without it
	unless []error
}

// settings is the table of what limits are in each layout.
func (t *tree) settings(l Limits) []setting {
	var s []setting
	v1, has := t.layout == V1, func(c string) bool { return slices.Contains(t.controllers, c) }
	if l.MemoryBytes > 0 && has(memory) {
		bytes := strconv.FormatInt(l.MemoryBytes, 10)
		if v1 {
			s = append(s,
				// before memsw, because memsw may not be less than it
				setting{"memory.limit_in_bytes", bytes, nil},
				// absent: the kernel does not count swap
				setting{"memory.memsw.limit_in_bytes", bytes, []error{syscall.ENOENT, syscall.EOPNOTSUPP}},
				// memsw limits the sum; this keeps the cell's pages off the disk
				setting{"memory.swappiness", "0", []error{syscall.ENOENT, syscall.EACCES, syscall.EPERM, syscall.EINVAL}},
			)
		} else {
			s = append(s,
				setting{"memory.max", bytes, nil},
				setting{"memory.swap.max", "0", []error{syscall.ENOENT}},
				// memory.oom.group stays 0: the code in the cell is to die, its
				// init (whose oom_score_adj is lower) and the workspace are to live
			)
		}
	}
	if l.PIDs > 0 && has(pids) {
		s = append(s, setting{"pids.max", strconv.FormatInt(l.PIDs, 10), nil})
	}
	if l.CPUs > 0 && has(cpu) {
		if v1 {
			s = append(s, setting{"cpu.cfs_quota_us", l.cpuQuota(), nil})
		} else {
			s = append(s, setting{"cpu.max", l.cpuQuota() + " " + strconv.Itoa(cpuPeriod), nil})
		}
	}
	if l.CPUWeight > 0 && has(cpu) {
		if v1 {
			s = append(s, setting{"cpu.shares", strconv.Itoa(max(2, (l.CPUWeight*usualShares+50)/100)), nil})
		} else {
			s = append(s, setting{"cpu.weight", strconv.Itoa(l.CPUWeight), nil})
		}
	}
	return s
}

// limit writes the settings of one directory of the group.
func (n node) limit(l Limits) error {
	for _, s := range n.tree.settings(l) {
		err := sys.WriteControl(n.dir+"/"+s.file, s.value)
		switch {
		case err == nil || slices.ContainsFunc(s.unless, func(e error) bool { return errors.Is(err, e) }):
		case s.file == "cpu.cfs_quota_us" && errors.Is(err, syscall.EINVAL) && n.aboveHasQuota():
			// v1 refuses more than the parent has, where v2 lets the parent's
			// limit hold: so it does here.
		case errors.Is(err, syscall.ENOENT):
			controller, _, _ := strings.Cut(s.file, ".")
			return &MissingError{controller, fmt.Sprintf("%q has no %s", n.dir, s.file), mendHandDown(systemdRuns())}
		default:
			return fmt.Errorf("cannot limit the group to %s: %w", s.value, err)
		}
	}
	return nil
}

// aboveHasQuota says whether a group above has a CPU quota of its own.
func (n node) aboveHasQuota() bool {
	for dir := path.Dir(n.dir); strings.HasPrefix(dir, n.tree.mount.point); dir = path.Dir(dir) {
		text, err := sys.ReadControl(dir + "/cpu.cfs_quota_us")
		if err != nil {
			return false
		}
		if v, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64); err == nil && v > 0 {
			return true
		}
	}
	return false
}

// Limits reads back what the kernel holds the group to; CPUs is not read. A
// field is 0 where there is no limit, or no weight.
func (g *Group) Limits() (Limits, error) {
	var l Limits
	g.life.RLock()
	defer g.life.RUnlock()
	if g.dying {
		return l, ErrDestroyed
	}
	var weight int64
	for _, n := range g.nodes {
		for _, f := range []struct {
			controller string
			v1, v2     string
			to         *int64
		}{
			{memory, "memory.limit_in_bytes", "memory.max", &l.MemoryBytes},
			{pids, "pids.max", "pids.max", &l.PIDs},
			{cpu, "cpu.shares", "cpu.weight", &weight},
		} {
			if !slices.Contains(n.tree.controllers, f.controller) {
				continue
			}
			file := f.v2
			if n.tree.layout == V1 {
				file = f.v1
			}
			text, err := sys.ReadControl(n.dir + "/" + file)
			if f.to == &weight && errors.Is(err, syscall.ENOENT) {
				continue // v2: the controller is not handed down, and nobody asked for it
			}
			if err != nil {
				return l, fmt.Errorf("cannot read the limits of the group: %w", err)
			}
			if *f.to = number([]byte(text)); *f.to < 0 || *f.to >= math.MaxInt64>>1 {
				*f.to = 0 // "max", or v1's largest number
			}
			if f.to == &weight && n.tree.layout == V1 {
				weight = (weight*100 + usualShares/2) / usualShares
			}
		}
	}
	l.CPUWeight = int(weight)
	return l, nil
}
