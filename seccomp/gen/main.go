// Command gen compiles the policy for each architecture and writes what is
// committed: the programs, and amd64's in a form that can be read in a diff.
// It runs in the directory of package seccomp, by go generate.
package main

import (
	"fmt"
	"os"

	"github.com/cellblock/cellblock/seccomp"
	"github.com/cellblock/cellblock/seccomp/compile"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run() error {
	for _, arch := range []string{"amd64", "arm64"} {
		program, err := compile.Filter(seccomp.Policy(), seccomp.Numbers(), arch)
		if err != nil {
			return err
		}
		if err := os.WriteFile("filter_"+arch+".bpf", compile.Encode(program), 0o644); err != nil {
			return err
		}
		if arch == "amd64" {
			names, err := compile.Names(seccomp.Policy(), seccomp.Numbers(), arch)
			if err != nil {
				return err
			}
			if err := os.WriteFile("testdata/filter_amd64.txt", []byte(compile.Disassemble(program, names)), 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}
