// Package cli is Cellblock's command line: it reads arguments, calls package
// executor and turns what comes back into output and an exit status.
//
//	status, err := cli.Run(os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
//	if err != nil {
//		fmt.Fprintf(os.Stderr, "cellblock: %s\n", cli.OneLine(err.Error()))
//	}
//	os.Exit(status)
//
// It decides nothing about cells, and keeps nothing but the history of `repl`.
// Each command has a file of its own. `run` is on the path that people wait
// for: only the chosen command's flags are made, and packages that are costly
// to initialise stay out of the program.
package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Streams are the standard streams of the program.
type Streams struct {
	In       *os.File
	Out, Err io.Writer
}

// app is one run of the program.
type app struct {
	Streams
	status int // the exit status of a command that did not fail
}

// Run carries out one command line and returns the exit status. The error, if
// any, is still to be printed.
func Run(args []string, streams Streams) (int, error) {
	a := &app{Streams: streams}
	root := a.root(args)
	root.SetArgs(endFlagsAfterModule(args))
	if err := root.Execute(); err != nil {
		return statusOf(err), quiet(err)
	}
	return a.status, nil
}

type command struct {
	name  string
	build func(*app) *cobra.Command
}

// commands are all of them.
func commands() []command {
	return []command{
		{"run", newRun},
		{"repl", newREPL},
		{"validate", newValidate},
		{"doctor", newDoctor},
		{"rootfs", newRootfs},
		{"version", newVersion},
		{"completion", newCompletion},
		{"man", newMan},
		{"serve", handOver(0)},
		{"exec", handOver(1)},
		{"sessions", handOver(2)},
		{"files", handOver(3)},
		{"mcp", handOver(4)},
		{"config", handOver(5)},
	}
}

const rootLong = `Cellblock runs Python that nobody trusts: written by a language model, a
student, a pull request. Each program runs in a cell of its own: no network, no
other programs, no files of this host but those you give it, and hard limits of
memory, processes, CPU and time.`

const rootExample = `  cellblock run -c 'print(1)'
  cellblock run --with pandas --file sales.csv --out results report.py
  cellblock repl
  cellblock doctor`

// root makes the command tree. When the first argument names a command, only
// that one is made.
func (a *app) root(args []string) *cobra.Command {
	var version bool
	root := &cobra.Command{
		Use:               "cellblock",
		Short:             "Run Python that nobody trusts",
		Long:              rootLong,
		Example:           rootExample,
		Args:              cobra.ArbitraryArgs,
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case version:
				return printVersion(a.Out, false)
			case len(args) == 0:
				cmd.SetOut(a.Err)
				a.status = statusUsage
				return cmd.Help()
			}
			return unknownCommand(args[0])
		},
	}
	root.Flags().BoolVar(&version, "version", false, "print the version and exit")
	root.SetOut(a.Out)
	root.SetErr(a.Err)
	root.SetFlagErrorFunc(wrongFlag)
	chosen := ""
	if len(args) > 0 {
		chosen = args[0]
	}
	for _, c := range commands() {
		if c.name == chosen {
			root.AddCommand(c.build(a))
			return root
		}
	}
	for _, c := range commands() {
		root.AddCommand(c.build(a))
	}
	return root
}

// wrongFlag words what is wrong with a flag.
func wrongFlag(cmd *cobra.Command, err error) error {
	var invalid *pflag.InvalidValueError
	if errors.As(err, &invalid) {
		return usagef("--%s %q: %v (see: %s --help)", invalid.GetFlag().Name, invalid.GetValue(), invalid.Unwrap(), cmd.CommandPath())
	}
	return usagef("%v (see: %s --help)", err, cmd.CommandPath())
}

func unknownCommand(name string) error {
	if _, err := os.Stat(name); err == nil || strings.HasSuffix(name, ".py") {
		return usagef("there is no command %q: to run that file, write: cellblock run %s", name, name)
	}
	return usagef("there is no command %q: cellblock --help lists them", name)
}

// isTerminal says whether w is a terminal. A character device that answers
// TCGETS is one; asking costs a system call.
func isTerminal(f any) bool {
	file, ok := f.(*os.File)
	return ok && terminal(int(file.Fd()))
}

// OneLine makes one printable line of a text, part of which may come from a
// cell.
func OneLine(s string) string {
	var b strings.Builder
	for _, r := range strings.TrimRight(s, "\n") {
		switch {
		case r == '\n':
			b.WriteString("; ")
		case r == '\t':
			b.WriteByte(' ')
		case r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029':
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
