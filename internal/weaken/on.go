//go:build cellblock_weaken

package weaken

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The environment of a weakened program.
const (
	LayersEnv   = "CELLBLOCK_WEAKEN"          // names of layers, separated by commas
	ProgramsEnv = "CELLBLOCK_WEAKEN_PROGRAMS" // a directory with other programs, by name
)

// Layer says whether a layer is to be left out.
func Layer(name string) bool {
	return slices.Contains(strings.Split(os.Getenv(LayersEnv), ","), name)
}

// Program is the program that a cell starts from: another one, if there is one.
func Program(name string, b []byte) []byte {
	if dir := os.Getenv(ProgramsEnv); dir != "" {
		if other, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
			return other
		}
	}
	return b
}
