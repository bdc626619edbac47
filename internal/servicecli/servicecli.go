// Package servicecli is the command line of cellblock-service: the service, and
// the commands that are clients of one.
//
//	cellblock serve --config /etc/cellblock/cellblock.toml
//	cellblock exec -c 'print(1)'
//
// It decides nothing about cells, and nothing about who may do what: package api
// does. It reads arguments and configuration, opens listeners, and prints.
package servicecli

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/cellblock/cellblock/internal/cli"
	"github.com/cellblock/cellblock/internal/config"
)

// Streams are the standard streams of the program.
type Streams = cli.Streams

// OneLine makes one printable line of a text.
func OneLine(s string) string { return cli.OneLine(s) }

// The exit statuses that are Cellblock's own, as those of `cellblock run`.
const (
	statusUsage  = 2
	statusFailed = 125
)

// app is one run of the program.
type app struct {
	Streams
	status int
}

// Run carries out one command line and returns the exit status. The error, if
// any, is still to be printed.
func Run(args []string, streams Streams) (int, error) {
	a := &app{Streams: streams}
	root := a.root()
	root.SetArgs(args)
	err := root.Execute()
	var usage *config.UsageError
	switch {
	case errors.As(err, &usage):
		return statusUsage, err
	case err != nil:
		return statusFailed, err
	}
	return a.status, nil
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:               "cellblock",
		Short:             "Run Python that nobody trusts, as a service",
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.SetOut(a.Out)
	root.SetErr(a.Err)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		var invalid *pflag.InvalidValueError
		if errors.As(err, &invalid) {
			return config.Usagef("--%s %q: %v (see: %s --help)", invalid.GetFlag().Name, invalid.GetValue(), invalid.Unwrap(), cmd.CommandPath())
		}
		return config.Usagef("%v (see: %s --help)", err, cmd.CommandPath())
	})
	root.AddCommand(newServe(a), newExec(a), newSessions(a), newFiles(a), newMCP(a), newConfig(a))
	return root
}

// noArguments is for commands that take none.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return config.Usagef("%s takes no argument, and %q was given", cmd.CommandPath(), args[0])
	}
	return nil
}

// group is a command that only has commands, and says so where none of them is named.
func group(cmd *cobra.Command) *cobra.Command {
	var names []string
	for _, sub := range cmd.Commands() {
		names = append(names, sub.Name())
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return config.Usagef("say what to do: %s (see: %s --help)", strings.Join(names, ", "), cmd.CommandPath())
		}
		return config.Usagef("there is no command %q: there are %s", cmd.Name()+" "+args[0], strings.Join(names, ", "))
	}
	cmd.RunE = func(*cobra.Command, []string) error { return nil }
	return cmd
}

// arguments are for a command that takes from least to most, or any number from least on
// where most is 0. They are those that its line of use names.
func arguments(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) >= least && (len(args) <= most || most == 0) {
			return nil
		}
		return config.Usagef("%d arguments were given, and it is: %s", len(args), cmd.UseLine())
	}
}

// printJSON prints a value on one line.
func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(a.Out)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// printf prints to standard output.
func (a *app) printf(format string, v ...any) error {
	_, err := fmt.Fprintf(a.Out, format, v...)
	return err
}
