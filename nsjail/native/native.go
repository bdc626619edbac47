// Package native holds what make builds from C, embedded: the init of a cell,
// the lock that a prepared root preloads into Python, and what templates fork
// with.
//
// A Go program that uses Cellblock's packages gets them by running `make
// native` in Cellblock's tree (they are built, never committed).
package native

import (
	"embed"
	"fmt"
)

//go:embed dist
var dist embed.FS

// Lock is the shared object that denies exec before Python's main runs.
func Lock() ([]byte, error) { return file("lock.so") }

// Fork is the module of Python with which a template forks REPLs into cells.
func Fork() ([]byte, error) { return file("fork.so") }

func file(name string) ([]byte, error) {
	b, err := dist.ReadFile("dist/" + name)
	if err != nil {
		return nil, fmt.Errorf("this program was built without Cellblock's native part %q: run `make native` in Cellblock's source tree and build again", name)
	}
	return b, nil
}
