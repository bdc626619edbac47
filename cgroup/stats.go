package cgroup

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/cellblock/cellblock/internal/sys"
)

// Stats is one reading of what a group uses. A figure that this kernel does
// not give is -1.
type Stats struct {
	CPU        time.Duration // since the group was made, all its processes together
	Memory     int64         // bytes now, page cache and kernel objects included
	MemoryPeak int64         // the most since the group was made or ResetPeak; v2: Linux 5.19
	PIDs       int64         // processes and threads now
	PIDsPeak   int64         // the most since the group was made; not on old kernels
	OOMKills   int64         // processes killed because the group was out of memory
	UnderOOM   bool          // v1: a process waits for memory right now
}

// The figures, in the order their files are kept open.
const (
	cpuTime = iota
	memoryNow
	memoryPeak
	pidsNow
	pidsPeak
	oom
	figureCount
)

// A source is where a figure comes from.
type source struct {
	controller string
	file       string
	flags      int
	optional   bool // kernels that are supported lack it
}

var sources = map[Layout][figureCount]source{
	V1: {
		cpuTime:    {cpuacct, "cpuacct.usage", syscall.O_RDONLY, false},
		memoryNow:  {memory, "memory.usage_in_bytes", syscall.O_RDONLY, false},
		memoryPeak: {memory, "memory.max_usage_in_bytes", syscall.O_RDWR, false},
		pidsNow:    {pids, "pids.current", syscall.O_RDONLY, false},
		pidsPeak:   {pids, "pids.peak", syscall.O_RDONLY, true},
		oom:        {memory, "memory.oom_control", syscall.O_RDONLY, false},
	},
	V2: {
		cpuTime:    {"", "cpu.stat", syscall.O_RDONLY, false}, // there without the cpu controller
		memoryNow:  {memory, "memory.current", syscall.O_RDONLY, false},
		memoryPeak: {memory, "memory.peak", syscall.O_RDWR, true},
		pidsNow:    {pids, "pids.current", syscall.O_RDONLY, true},
		pidsPeak:   {pids, "pids.peak", syscall.O_RDONLY, true},
		oom:        {memory, "memory.events", syscall.O_RDONLY, false},
	},
}

// figures are the files of a group's figures, open from the first reading on:
// a reading is then one pread each, about a microsecond.
type figures struct {
	mu     sync.Mutex
	opened bool
	fd     [figureCount]int // -1: this kernel does not give it
	v1     [figureCount]bool
	buf    [512]byte // enough: of cpu.stat only the first line counts
}

// Stats reads the figures. The first call opens their files.
func (g *Group) Stats() (Stats, error) {
	g.life.RLock()
	defer g.life.RUnlock()
	if g.dying {
		return Stats{}, ErrDestroyed
	}
	f := &g.figures
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.open(g.nodes); err != nil {
		return Stats{}, err
	}
	s := Stats{CPU: -1, Memory: -1, MemoryPeak: -1, PIDs: -1, PIDsPeak: -1, OOMKills: -1}
	for i, fd := range f.fd {
		if fd < 0 {
			continue
		}
		n, err := sys.ReadControlFD(fd, f.buf[:])
		if err != nil {
			return s, fmt.Errorf("cannot read what the group uses: %w", err)
		}
		s.take(i, f.v1[i], f.buf[:n])
	}
	return s, nil
}

// CPU reads the CPU time alone: a sixth of what Stats costs.
func (g *Group) CPU() (time.Duration, error) {
	g.life.RLock()
	defer g.life.RUnlock()
	if g.dying {
		return 0, ErrDestroyed
	}
	f := &g.figures
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.open(g.nodes); err != nil {
		return 0, err
	}
	n, err := sys.ReadControlFD(f.fd[cpuTime], f.buf[:])
	if err != nil {
		return 0, fmt.Errorf("cannot read what the group uses: %w", err)
	}
	var s Stats
	s.take(cpuTime, f.v1[cpuTime], f.buf[:n])
	return s.CPU, nil
}

// take puts one file's text where it belongs.
func (s *Stats) take(figure int, v1 bool, text []byte) {
	switch figure {
	case cpuTime:
		if v1 {
			s.CPU = time.Duration(number(text)) // ns
		} else if us := keyed(text, "usage_usec"); us >= 0 {
			s.CPU = time.Duration(us) * time.Microsecond
		}
	case memoryNow:
		s.Memory = number(text)
	case memoryPeak:
		s.MemoryPeak = number(text)
	case pidsNow:
		s.PIDs = number(text)
	case pidsPeak:
		s.PIDsPeak = number(text)
	case oom:
		s.OOMKills = keyed(text, "oom_kill")
		s.UnderOOM = v1 && keyed(text, "under_oom") > 0
	}
}

// ResetPeak starts MemoryPeak anew from what is used now. It reports false
// where the kernel cannot (v2 before Linux 6.12). The peak of processes cannot
// be reset anywhere.
func (g *Group) ResetPeak() (ok bool, err error) {
	g.life.RLock()
	defer g.life.RUnlock()
	if g.dying {
		return false, ErrDestroyed
	}
	f := &g.figures
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.open(g.nodes); err != nil {
		return false, err
	}
	if f.fd[memoryPeak] < 0 {
		return false, nil
	}
	// On v2 the reset holds for readings through this descriptor only, which
	// is the one that Stats reads.
	switch err := sys.WriteControlFD(f.fd[memoryPeak], "0"); err {
	case nil:
		return true, nil
	case syscall.EINVAL, syscall.EBADF: // the file cannot be written, or was opened for reading
		return false, nil
	default:
		return false, fmt.Errorf("cannot reset the peak of memory: %w", err)
	}
}

// open opens the files once. With an error nothing stays open.
func (f *figures) open(nodes []node) (err error) {
	if f.opened {
		return nil
	}
	for i := range f.fd {
		f.fd[i] = -1
	}
	f.opened = true
	defer func() {
		if err != nil {
			f.close()
		}
	}()
	for _, n := range nodes {
		for i, s := range sources[n.tree.layout] {
			if s.controller != "" && !slices.Contains(n.tree.controllers, s.controller) || s.controller == "" && f.fd[i] >= 0 {
				continue
			}
			fd, err := sys.OpenControl(n.dir+"/"+s.file, s.flags)
			if errors.Is(err, syscall.EACCES) && s.flags == syscall.O_RDWR {
				fd, err = sys.OpenControl(n.dir+"/"+s.file, syscall.O_RDONLY) // v2 before 6.12
			}
			if s.optional && errors.Is(err, syscall.ENOENT) {
				continue
			}
			if err != nil {
				return fmt.Errorf("cannot read what the group uses: %w", err)
			}
			f.fd[i], f.v1[i] = fd, n.tree.layout == V1
		}
	}
	return nil
}

func (f *figures) close() {
	if !f.opened {
		return
	}
	f.opened = false
	for _, fd := range f.fd {
		if fd >= 0 {
			syscall.Close(fd)
		}
	}
}

// number reads a decimal number at the start of text; -1 when there is none.
func number(text []byte) int64 {
	v, any := int64(0), false
	for _, c := range text {
		if c < '0' || c > '9' {
			break
		}
		if v > (1<<63-1-9)/10 {
			return 1<<63 - 1
		}
		v, any = v*10+int64(c-'0'), true
	}
	if !any {
		return -1
	}
	return v
}

// keyed reads the number of the line "key number"; -1 when there is none.
func keyed(text []byte, key string) int64 {
	for len(text) > 0 {
		line, rest, _ := bytes.Cut(text, []byte{'\n'})
		if len(line) > len(key) && line[len(key)] == ' ' && string(line[:len(key)]) == key {
			return number(line[len(key)+1:])
		}
		text = rest
	}
	return -1
}
