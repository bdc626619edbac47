package seccomp_test

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/cellblock/cellblock/seccomp"
	"github.com/cellblock/cellblock/seccomp/compile"
)

// AUDIT_ARCH_* of linux/audit.h.
const (
	archAMD64 = 0xc000003e
	archI386  = 0x40000003
	archARM64 = 0xc00000b7
	archARM   = 0x40000028
)

var auditArch = map[string]uint32{"amd64": archAMD64, "arm64": archARM64}

// call is struct seccomp_data.
type call struct {
	number uint32
	arch   uint32
	args   [6]uint64
}

// word reads 4 bytes of struct seccomp_data on a little-endian machine.
func (c call) word(offset uint32) (uint32, error) {
	switch {
	case offset == 0:
		return c.number, nil
	case offset == 4:
		return c.arch, nil
	case offset == 8 || offset == 12:
		return 0, nil
	case offset < 64 && offset%4 == 0:
		return uint32(c.args[(offset-16)/8] >> ((offset % 8) * 8)), nil
	}
	return 0, fmt.Errorf("a load from offset %d", offset)
}

// machine runs a filter as the kernel does, and notes what it ran.
type machine struct {
	program []compile.Instruction
	reached []bool
}

func (m *machine) run(c call) (seccomp.Action, error) {
	var a uint32
	for at := 0; at < len(m.program); at++ {
		m.reached[at] = true
		in := m.program[at]
		var holds bool
		switch in.Code {
		case compile.LoadWord:
			w, err := c.word(in.K)
			if err != nil {
				return 0, fmt.Errorf("instruction %d: %w", at, err)
			}
			a = w
			continue
		case compile.And:
			a &= in.K
			continue
		case compile.Jump:
			at += int(in.K)
			continue
		case compile.Return:
			return seccomp.Action(in.K), nil
		case compile.JumpEqual:
			holds = a == in.K
		case compile.JumpGreater:
			holds = a > in.K
		case compile.JumpAtLeast:
			holds = a >= in.K
		case compile.JumpBits:
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

// filter is a committed filter with what is needed to ask it.
type filter struct {
	*machine
	arch    string
	numbers map[string]uint32
	rows    map[uint32]seccomp.Row
}

func load(t *testing.T, arch string) *filter {
	t.Helper()
	b, err := os.ReadFile("filter_" + arch + ".bpf")
	if err != nil {
		t.Fatal(err)
	}
	program, err := compile.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	f := &filter{&machine{program, make([]bool, len(program))}, arch, map[string]uint32{}, map[uint32]seccomp.Row{}}
	list, err := os.Open("testdata/numbers_" + arch + ".txt")
	if err != nil {
		t.Fatal(err)
	}
	defer list.Close()
	for s := bufio.NewScanner(list); s.Scan(); {
		var number uint32
		var name string
		if _, err := fmt.Sscan(s.Text(), &number, &name); err != nil {
			t.Fatalf("line %q: %v", s.Text(), err)
		}
		f.numbers[name] = number
	}
	for _, row := range seccomp.Policy() {
		for _, name := range row.Names() {
			if number, ok := f.numbers[name]; ok {
				f.rows[number] = row
			} else if row.Missing != arch && row.Do != seccomp.Default {
				t.Errorf("%s has no number on %s: run go generate", name, arch)
			}
		}
	}
	return f
}

// ask runs a call of this architecture, by name or by number.
func (f *filter) ask(t *testing.T, what any, args ...uint64) seccomp.Action {
	t.Helper()
	c := call{arch: auditArch[f.arch]}
	switch what := what.(type) {
	case string:
		number, ok := f.numbers[what]
		if !ok {
			t.Fatalf("%s has no number on %s", what, f.arch)
		}
		c.number = number
	case uint32:
		c.number = what
	}
	copy(c.args[:], args)
	action, err := f.run(c)
	if err != nil {
		t.Fatalf("%v: %v", what, err)
	}
	return action
}

// wanted is the policy's own answer, without any program.
func (f *filter) wanted(c call) seccomp.Action {
	switch {
	case c.arch != auditArch[f.arch]:
		return seccomp.KillProcess
	case f.arch == "amd64" && c.number >= 0x40000000 && c.number != 0xffffffff:
		return seccomp.KillProcess // x32
	}
	row, ok := f.rows[c.number]
	if !ok {
		return seccomp.Default
	}
	return row.Decide(c.args)
}

func (f *filter) unreached() string {
	var s strings.Builder
	for i, line := range strings.Split(strings.TrimSpace(compile.Disassemble(f.program, nil)), "\n") {
		if !f.reached[i] {
			fmt.Fprintln(&s, line)
		}
	}
	return s.String()
}
