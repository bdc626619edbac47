// Command gen compiles the policy for each architecture and writes what is
// committed: the programs, the same in a form that can be read in a diff, and
// the numbers of the calls.
// It runs in the directory of package seccomp, by go generate.
package main

import (
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/cellblock/cellblock/seccomp"
	"github.com/cellblock/cellblock/seccomp/bpf"
	"github.com/cellblock/cellblock/seccomp/compile"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run() error {
	rows, numbers := seccomp.Policy(), seccomp.Numbers()
	for _, arch := range []string{"amd64", "arm64"} {
		program, err := compile.Filter(rows, numbers, arch)
		if err != nil {
			return err
		}
		names, err := compile.Names(rows, numbers, arch)
		if err != nil {
			return err
		}
		for path, content := range map[string][]byte{
			"filter_" + arch + ".bpf":           bpf.Encode(program),
			"testdata/filter_" + arch + ".txt":  []byte(bpf.Disassemble(program, names)),
			"testdata/numbers_" + arch + ".txt": list(names),
		} {
			if err := os.WriteFile(path, content, 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

// list is one line, number and name, for each call the policy speaks of, so
// that the tests know the numbers where there is no libseccomp.
func list(names map[uint32]string) []byte {
	var b []byte
	for _, number := range slices.Sorted(maps.Keys(names)) {
		b = fmt.Appendf(b, "%d %s\n", number, names[number])
	}
	return b
}
