// Package bpf reads, prints and runs the programs of system call filters.
//
//	program, err := bpf.Decode(filter)
//	m := bpf.NewMachine(program)
//	action, err := m.Run(bpf.Call{Number: 41, Arch: bpf.ArchAMD64})
//
// The generator and the tests use it. It runs them as the kernel does, one at a
// time; what several filters on one process come to is for the caller.
package bpf

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/cellblock/cellblock/seccomp"
)

// Instruction is one struct sock_filter.
type Instruction struct {
	Code   uint16
	JT, JF uint8
	K      uint32
}

// The codes that occur in a seccomp filter, from linux/filter.h.
const (
	LoadWord    = 0x20 // BPF_LD | BPF_W | BPF_ABS
	And         = 0x54 // BPF_ALU | BPF_AND | BPF_K
	Jump        = 0x05 // BPF_JMP | BPF_JA
	JumpEqual   = 0x15 // BPF_JMP | BPF_JEQ | BPF_K
	JumpGreater = 0x25 // BPF_JMP | BPF_JGT | BPF_K
	JumpAtLeast = 0x35 // BPF_JMP | BPF_JGE | BPF_K
	JumpBits    = 0x45 // BPF_JMP | BPF_JSET | BPF_K
	Return      = 0x06 // BPF_RET | BPF_K
)

const (
	size = 8
	// Most is how many instructions the kernel takes (BPF_MAXINSNS).
	Most = 4096
)

// Decode reads a program as it is stored.
func Decode(b []byte) ([]Instruction, error) {
	if len(b) == 0 || len(b)%size != 0 || len(b)/size > Most {
		return nil, fmt.Errorf("a filter of %d bytes is none", len(b))
	}
	program := make([]Instruction, 0, len(b)/size)
	for ; len(b) > 0; b = b[size:] {
		program = append(program, Instruction{
			Code: binary.LittleEndian.Uint16(b), JT: b[2], JF: b[3], K: binary.LittleEndian.Uint32(b[4:]),
		})
	}
	return program, nil
}

// Encode writes a program as the kernel reads it on a little-endian machine.
func Encode(program []Instruction) []byte {
	b := make([]byte, 0, len(program)*size)
	for _, in := range program {
		b = binary.LittleEndian.AppendUint16(b, in.Code)
		b = append(b, in.JT, in.JF)
		b = binary.LittleEndian.AppendUint32(b, in.K)
	}
	return b
}

// Disassemble prints one line for each instruction, with the lines that
// jumps go to and the names of the numbers that are compared.
func Disassemble(program []Instruction, names map[uint32]string) string {
	holdsNumber := numberHolders(program)
	var s strings.Builder
	for i, in := range program {
		fmt.Fprintf(&s, "%4d  %s", i, disassemble(i, in))
		if name := names[in.K]; in.Code == JumpEqual && holdsNumber[i] && name != "" {
			fmt.Fprintf(&s, "  ; %s", name)
		}
		s.WriteByte('\n')
	}
	return s.String()
}

// numberHolders says before which instructions the accumulator holds the
// number of the call. Jumps only go forward, so one pass is enough.
func numberHolders(program []Instruction) []bool {
	holds := make([]bool, len(program)+256)
	for i, in := range program {
		switch in.Code {
		case Return, And:
		case Jump:
			if to := i + 1 + int(in.K); to < len(holds) {
				holds[to] = holds[to] || holds[i]
			}
		case LoadWord:
			holds[i+1] = in.K == 0
		default:
			for _, to := range []int{i + 1 + int(in.JT), i + 1 + int(in.JF)} {
				holds[to] = holds[to] || holds[i]
			}
		}
	}
	return holds
}

func disassemble(at int, in Instruction) string {
	branch := func(op string) string {
		return fmt.Sprintf("if A %s %#x goto %d else %d", op, in.K, at+1+int(in.JT), at+1+int(in.JF))
	}
	switch in.Code {
	case LoadWord:
		return "A = " + word(in.K)
	case And:
		return fmt.Sprintf("A &= %#x", in.K)
	case Jump:
		return fmt.Sprintf("goto %d", at+1+int(in.K))
	case JumpEqual:
		return branch("==")
	case JumpGreater:
		return branch(">")
	case JumpAtLeast:
		return branch(">=")
	case JumpBits:
		return branch("&")
	case Return:
		return "return " + seccomp.Action(in.K).String()
	}
	return fmt.Sprintf("unknown code %#x", in.Code)
}

// word names a place in struct seccomp_data.
func word(offset uint32) string {
	switch offset {
	case 0:
		return "number"
	case 4:
		return "arch"
	case 8, 12:
		return fmt.Sprintf("instruction pointer [%d]", offset-8)
	}
	half := [2]string{"low", "high"}[(offset-16)/4%2]
	return fmt.Sprintf("arg%d %s", (offset-16)/8, half)
}
