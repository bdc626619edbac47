// Command cellblock runs Python that nobody trusts, each program in a cell of
// its own.
//
//	cellblock run report.py
//	cellblock run -c 'print(1)'
//
// Everything it does is in package cli.
package main

import (
	"fmt"
	"os"

	"github.com/cellblock/cellblock/internal/cli"
)

func main() {
	status, err := cli.Run(os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
	if err != nil {
		fmt.Fprintf(os.Stderr, "cellblock: %s\n", cli.OneLine(err.Error()))
	}
	os.Exit(status)
}
