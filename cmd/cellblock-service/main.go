// Command cellblock-service is the part of cellblock that serves HTTP and
// speaks it: serve, exec, sessions, files and config. It is a program of its
// own so that `cellblock run` need not carry, and at each start initialise, what
// only a service needs; cellblock hands these commands over to it.
//
// Everything it does is in package servicecli.
package main

import (
	"fmt"
	"os"

	"github.com/cellblock/cellblock/internal/servicecli"
)

func main() {
	status, err := servicecli.Run(os.Args[1:], servicecli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
	if err != nil {
		fmt.Fprintf(os.Stderr, "cellblock: %s\n", servicecli.OneLine(err.Error()))
	}
	os.Exit(status)
}
