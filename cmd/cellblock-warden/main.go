// Command cellblock-warden keeps the sessions of a service for the process that
// speaks HTTP, so that this one needs no privilege and can be restarted.
//
// Everything it does is in package wardencli.
package main

import (
	"fmt"
	"os"

	"github.com/cellblock/cellblock/internal/wardencli"
)

func main() {
	status, err := wardencli.Run(os.Args[1:], os.Stdout, os.Stderr)
	if err != nil {
		fmt.Fprintf(os.Stderr, "cellblock-warden: %v\n", err)
	}
	os.Exit(status)
}
