package bpf

import (
	"fmt"
	"strings"

	"github.com/cellblock/cellblock/seccomp"
)

// AUDIT_ARCH_* of linux/audit.h.
const (
	ArchAMD64 = 0xc000003e
	ArchI386  = 0x40000003
	ArchARM64 = 0xc00000b7
	ArchARM   = 0x40000028
)

// Arch is the number of a GOARCH.
var Arch = map[string]uint32{"amd64": ArchAMD64, "arm64": ArchARM64}

// Call is struct seccomp_data: what a filter is told of a system call.
type Call struct {
	Number uint32
	Arch   uint32
	Args   [6]uint64
}

// word reads 4 bytes of struct seccomp_data on a little-endian machine.
func (c Call) word(offset uint32) (uint32, error) {
	switch {
	case offset == 0:
		return c.Number, nil
	case offset == 4:
		return c.Arch, nil
	case offset == 8 || offset == 12:
		return 0, nil
	case offset < 64 && offset%4 == 0:
		return uint32(c.Args[(offset-16)/8] >> ((offset % 8) * 8)), nil
	}
	return 0, fmt.Errorf("a load from offset %d", offset)
}

// Machine runs a program as the kernel does, and notes what it ran. It is not
// safe for concurrent use.
type Machine struct {
	program []Instruction
	reached []bool
}

// NewMachine is a machine that has not run anything yet.
func NewMachine(program []Instruction) *Machine {
	return &Machine{program, make([]bool, len(program))}
}

// Run gives the program's answer to a call. An error tells what the kernel would
// not have loaded.
func (m *Machine) Run(c Call) (seccomp.Action, error) {
	var a uint32
	for at := 0; at < len(m.program); at++ {
		m.reached[at] = true
		in := m.program[at]
		var holds bool
		switch in.Code {
		case LoadWord:
			w, err := c.word(in.K)
			if err != nil {
				return 0, fmt.Errorf("instruction %d: %w", at, err)
			}
			a = w
			continue
		case And:
			a &= in.K
			continue
		case Jump:
			at += int(in.K)
			continue
		case Return:
			return seccomp.Action(in.K), nil
		case JumpEqual:
			holds = a == in.K
		case JumpGreater:
			holds = a > in.K
		case JumpAtLeast:
			holds = a >= in.K
		case JumpBits:
			holds = a&in.K != 0
		default:
			return 0, fmt.Errorf("instruction %d has unknown code %#x", at, in.Code)
		}
		if holds {
			at += int(in.JT)
		} else {
			at += int(in.JF)
		}
	}
	return 0, fmt.Errorf("the program runs off its end")
}

// Size is how many instructions the program has.
func (m *Machine) Size() int { return len(m.program) }

// Unreached prints the instructions that no call has reached so far.
func (m *Machine) Unreached() string {
	var s strings.Builder
	for i, line := range strings.Split(strings.TrimSpace(Disassemble(m.program, nil)), "\n") {
		if !m.reached[i] {
			fmt.Fprintln(&s, line)
		}
	}
	return s.String()
}

// Strictest is the kernel's choice among the answers of several filters, the
// one that was loaded last first: a kill before an error, an error before a
// pass, and of two errors the first.
func Strictest(answers ...seccomp.Action) seccomp.Action {
	const full = 0xffff0000 // SECCOMP_RET_ACTION_FULL, compared as a signed number
	best := answers[0]
	for _, a := range answers[1:] {
		if int32(a&full) < int32(best&full) {
			best = a
		}
	}
	return best
}
