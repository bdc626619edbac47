package seccomp_test

import (
	"bytes"
	"os"
	"slices"
	"testing"

	"github.com/cellblock/cellblock/internal/testkit"
	"github.com/cellblock/cellblock/seccomp"
	"github.com/cellblock/cellblock/seccomp/bpf"
	"github.com/cellblock/cellblock/seccomp/compile"
)

// What is committed is what the policy compiles to, here and now.
func TestCommittedFiltersAreCompiledFromThePolicy(t *testing.T) {
	needCompiler(t)
	for arch := range bpf.Arch {
		program, err := compile.Filter(seccomp.Policy(), seccomp.Numbers(), arch)
		if err != nil {
			t.Fatal(err)
		}
		committed, err := os.ReadFile("filter_" + arch + ".bpf")
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(committed, bpf.Encode(program)) {
			t.Errorf("filter_%s.bpf is not what the policy compiles to: run go generate ./seccomp", arch)
		}
		names, err := compile.Names(seccomp.Policy(), seccomp.Numbers(), arch)
		if err != nil {
			t.Fatal(err)
		}
		golden, err := os.ReadFile("testdata/filter_" + arch + ".txt")
		if err != nil {
			t.Fatal(err)
		}
		if text := bpf.Disassemble(program, names); text != string(golden) {
			t.Errorf("testdata/filter_%s.txt differs: run go generate ./seccomp", arch)
		}
	}
}

// Every system call of the kernel up to the newest we know stands in a row,
// so that each has been thought about. 335 and 336 are the trampolines of
// user probes, 337–423 were never given out.
func TestEveryCallHasARow(t *testing.T) {
	f := load(t, "amd64")
	newest := slices.Max(slices.Collect(func(yield func(uint32) bool) {
		for _, n := range seccomp.Numbers() {
			if !yield(n) {
				return
			}
		}
	}))
	for number := range newest + 1 {
		if number >= 335 && number <= 423 {
			continue
		}
		if _, ok := f.rows[number]; !ok {
			t.Errorf("number %d has no row", number)
		}
	}
}

func TestCompilerRefuses(t *testing.T) {
	needCompiler(t)
	for name, rows := range map[string][]seccomp.Row{
		"a name that is none":         {{Calls: "frobnicate", Do: seccomp.Allow, Why: "x"}},
		"a call twice":                {{Calls: "read", Do: seccomp.Allow, Why: "x"}, {Calls: "read", Do: seccomp.NotPermitted, Why: "x"}},
		"a call that arm64 lacks":     {{Calls: "open", Do: seccomp.Allow, Why: "x"}},
		"a call that arm64 has":       {{Calls: "openat", Do: seccomp.Allow, Why: "x", Missing: "arm64"}},
		"an action that is none":      {{Calls: "read", Do: 0x7fc00000, Why: "x"}},
		"conditions on a new call":    {{Calls: "mseal", Do: seccomp.Allow, Else: seccomp.NotPermitted, Why: "x", When: []seccomp.Match{{{Arg: 0, Mask: 1}}}}},
		"an argument that there isnt": {{Calls: "read", Do: seccomp.Allow, Else: seccomp.NotPermitted, Why: "x", When: []seccomp.Match{{{Arg: 6, Mask: 1}}}}},
	} {
		if _, err := compile.Filter(rows, seccomp.Numbers(), "arm64"); err == nil {
			t.Errorf("%s compiles", name)
		}
	}
	if _, err := compile.Filter(seccomp.Policy(), seccomp.Numbers(), "riscv64"); err == nil {
		t.Error("an architecture without a filter compiles")
	}
}

func needCompiler(t *testing.T) {
	t.Helper()
	testkit.Require(t, testkit.Working("libseccomp", compile.Available()))
}
