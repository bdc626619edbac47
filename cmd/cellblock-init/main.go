// Command cellblock-init builds a cell from inside and becomes its reaper.
// Package nsjail starts it; it is of no use by itself.
package main

import (
	"os"

	"github.com/cellblock/cellblock/nsjail/child"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "proc" {
		child.SendProc()
	}
	child.Main()
}
