package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/cellblock/cellblock/executor"
)

const validateLong = `Look at a Python program without running it, and list what the validator objects
to: imports and calls of blocked names, and syntax errors. One issue is one line:

  FILE:LINE:COLUMN: MESSAGE

The validator is a lint that saves a run which would fail anyway. It is not what
keeps a program in: the cell does. It reads CPython's own syntax tree, made in a
cell, so hostile source hurts nothing. Blocked are: socket, subprocess,
os.system, eval, exec, __import__, importlib, shutil.rmtree, pickle.

Exit status: 0 without an issue, 1 with issues, 2 wrong usage, 125 Cellblock itself failed.`

const validateExample = `  cellblock validate report.py
  cellblock validate -c 'from os import system'
  generate-code | cellblock validate --json -`

type validateCommand struct {
	app *app
	cellFlags
	code string
	json bool
}

func newValidate(a *app) *cobra.Command {
	c := &validateCommand{app: a}
	cmd := &cobra.Command{
		Use:                   "validate [flags] (FILE | - | -c CODE)",
		Short:                 "List what a program should not do, without running it",
		Long:                  validateLong,
		Example:               validateExample,
		DisableFlagsInUseLine: true,
		ValidArgsFunction:     onlyPython,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.validate(args, cmd.Flags().Changed("command"))
		},
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringVarP(&c.code, "command", "c", "", "look at `CODE`")
	fs.BoolVar(&c.json, "json", false, "print one JSON object: file, valid, issues")
	c.addRoot(fs)
	c.addHost(fs)
	completeFlags(cmd)
	return cmd
}

// verdict is what `validate --json` prints.
type validation struct {
	File   string           `json:"file"`
	Valid  bool             `json:"valid"`
	Issues []executor.Issue `json:"issues"`
}

func (c *validateCommand) validate(args []string, fromFlag bool) error {
	cfg, err := c.config()
	if err != nil {
		return err
	}
	name, code, err := c.source(args, fromFlag)
	if err != nil {
		return err
	}
	bar := newProgress(c.app.Err, onDemand)
	cfg.Progress = bar.update
	ctx, _, stop := untilSignal()
	defer stop()
	ex, err := executor.New(cfg)
	if err != nil {
		return err
	}
	defer ex.Close()
	valid, issues, err := ex.ValidateImports(ctx, code)
	bar.finish()
	if err != nil {
		return because(ctx, err)
	}
	if !valid {
		c.app.status = 1
	}
	if c.json {
		if issues == nil {
			issues = []executor.Issue{}
		}
		return writeJSON(c.app.Out, validation{File: name, Valid: valid, Issues: issues})
	}
	for _, issue := range issues {
		fmt.Fprintln(c.app.Out, issueLine(name, issue))
	}
	return nil
}

func (c *validateCommand) source(args []string, fromFlag bool) (name, code string, err error) {
	switch {
	case fromFlag && len(args) > 0:
		return "", "", usagef("-c CODE and a FILE cannot go together: give one of them")
	case fromFlag:
		return "<string>", c.code, nil
	case len(args) != 1:
		return "", "", usagef("give one FILE, - for standard input, or -c CODE (see: cellblock validate --help)")
	case args[0] == "-":
		code, err = readStdin(c.app.In)
		return "<stdin>", code, err
	}
	code, err = readProgram(args[0])
	return args[0], code, err
}

// issueLine is one issue in the form that editors and compilers share.
func issueLine(file string, issue executor.Issue) string {
	return fmt.Sprintf("%s:%d:%d: %s", OneLine(file), issue.Line, issue.Column, OneLine(issue.Message))
}
