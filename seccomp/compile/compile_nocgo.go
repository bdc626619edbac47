//go:build !cgo

package compile

import (
	"errors"

	"github.com/cellblock/cellblock/seccomp"
	"github.com/cellblock/cellblock/seccomp/bpf"
)

var errNoCgo = errors.New("compiling the filter needs libseccomp, and this was built without cgo")

// Available says why Filter cannot compile.
func Available() error { return errNoCgo }

// Filter fails: it was built without cgo.
func Filter([]seccomp.Row, map[string]uint32, string) ([]bpf.Instruction, error) {
	return nil, errNoCgo
}

// Names fails: it was built without cgo.
func Names([]seccomp.Row, map[string]uint32, string) (map[uint32]string, error) {
	return nil, errNoCgo
}
