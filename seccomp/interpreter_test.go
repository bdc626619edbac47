package seccomp_test

import (
	"bufio"
	"fmt"
	"os"
	"testing"

	"github.com/cellblock/cellblock/seccomp"
	"github.com/cellblock/cellblock/seccomp/bpf"
)

// filter is a committed filter with what is needed to ask it.
type filter struct {
	*bpf.Machine
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
	program, err := bpf.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	f := &filter{bpf.NewMachine(program), arch, map[string]uint32{}, map[uint32]seccomp.Row{}}
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
	c := bpf.Call{Arch: bpf.Arch[f.arch]}
	switch what := what.(type) {
	case string:
		number, ok := f.numbers[what]
		if !ok {
			t.Fatalf("%s has no number on %s", what, f.arch)
		}
		c.Number = number
	case uint32:
		c.Number = what
	}
	copy(c.Args[:], args)
	action, err := f.Run(c)
	if err != nil {
		t.Fatalf("%v: %v", what, err)
	}
	return action
}

// wanted is the policy's own answer, without any program.
func (f *filter) wanted(c bpf.Call) seccomp.Action {
	switch {
	case c.Arch != bpf.Arch[f.arch]:
		return seccomp.KillProcess
	case f.arch == "amd64" && c.Number >= 0x40000000 && c.Number != 0xffffffff:
		return seccomp.KillProcess // x32
	}
	row, ok := f.rows[c.Number]
	if !ok {
		return seccomp.Default
	}
	return row.Decide(c.Args)
}
