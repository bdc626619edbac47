package cli

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/internal/trace"
)

const runLong = `Run a Python program in a cell of its own.

The program is a FILE, standard input (-), one or more pieces of CODE (-c), or a
MODULE (-m). Everything after FILE, after - or after MODULE is the program's
arguments; with -c, everything after the flags is. Several -c run one after
another in one session, and a later one runs after a failure too.

The program's output and exit status are passed through. It starts in an empty
workspace: give it files with --file and --dir, and take what it made with --out.
Nothing else of it is left on this host.`

const runExample = `  cellblock run report.py 2024 --verbose
  cellblock run -c 'x = 6' -c 'print(x * 7)'
  echo 'print("hello")' | cellblock run -
  cellblock run --with pandas --file sales.csv --out results report.py
  cellblock run --dir ./checkout:src:ro -m src.main
  cellblock run --memory 256M --timeout 5s --json -c 'bytearray(1 << 30)'
  head -c 1000 data.bin | cellblock run --stdin -c 'import sys; print(len(sys.stdin.buffer.read()))'`

// runCommand is the flags and arguments of `cellblock run`.
type runCommand struct {
	app *app
	cellFlags
	fileFlags
	code                          []string
	module                        string
	stdin, json, validate, timing bool
	result, figures               string
}

func newRun(a *app) *cobra.Command {
	c := &runCommand{app: a}
	cmd := &cobra.Command{
		Use:                   "run [flags] (FILE | - | -c CODE... | -m MODULE) [args...]",
		Short:                 "Run a program in a cell",
		Long:                  runLong + "\n\n" + statusHelp,
		Example:               runExample,
		DisableFlagsInUseLine: true,
		ValidArgsFunction:     onlyPython,
		RunE:                  func(cmd *cobra.Command, args []string) error { return c.run(args) },
	}
	c.addFlags(cmd.Flags())
	completeFlags(cmd)
	return cmd
}

func (c *runCommand) addFlags(fs *pflag.FlagSet) {
	fs.SortFlags = false
	fs.SetInterspersed(false) // what follows the program is its own
	fs.StringArrayVarP(&c.code, "command", "c", nil, "run `CODE`; may be repeated, all in one session")
	fs.StringVarP(&c.module, "module", "m", "", "run `MODULE` as python -m does; the rest is its arguments")
	fs.BoolVar(&c.stdin, "stdin", false, "let the program read standard input (otherwise it reads end of file)")
	c.addFiles(fs)
	c.addLimits(fs, executor.DefaultTimeout)
	c.addRoot(fs)
	c.addPreload(fs)
	c.addHost(fs)
	fs.BoolVar(&c.validate, "validate", false, "refuse a program in which the validator finds an issue (a lint, not the boundary)")
	fs.BoolVar(&c.json, "json", false, "print one result a line, as JSON, instead of the program's output")
	fs.StringVar(&c.figures, "figures", "png", "the `FORMAT` of matplotlib's figures in results and --out: png or svg")
	fs.StringVar(&c.result, "result", "", "write the results to `FILE` as well, as JSON, one a line")
	fs.Var(sizeValue{&c.keep, 0}, "max-output", "keep at most `SIZE` of each output stream in a result; what is passed through is not cut")
	fs.BoolVar(&c.timing, "trace", false, "print to standard error where the time went")
}

func (c *runCommand) run(args []string) error {
	cfg, err := c.config()
	if err != nil {
		return err
	}
	if c.keep == 0 {
		cfg.MaxOutput = -1 // Config's way to say none
	}
	if c.timing {
		cfg.Trace = trace.New()
		defer cfg.Trace.WriteTo(c.app.Err)
	}
	requests, err := c.requests(args)
	if err != nil {
		return err
	}
	sink := &resultSink{json: c.json, out: c.app.Out}
	if c.result != "" {
		if sink.file, err = os.OpenFile(c.result, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644); err != nil {
			return usagef("--result: cannot write: %v", err)
		}
	}
	bar := newProgress(c.app.Err, onDemand)
	cfg.Progress = bar.update
	status, err := c.app.execute(cfg, requests, sink, bar)
	if closeErr := sink.close(); err == nil && closeErr != nil {
		err = fmt.Errorf("cannot write the results: %w", closeErr)
	}
	c.app.status = status
	return err
}

// requests makes the executions of one command line.
func (c *runCommand) requests(args []string) ([]executor.Request, error) {
	base := executor.Request{Validate: c.validate}
	// What is only passed through has no place for results but --out's pictures.
	base.NoResults = !c.json && c.result == "" && c.out == ""
	base.EchoDisplay = !c.json
	if base.FigureFormat = c.figures; c.figures != "png" && c.figures != "svg" {
		return nil, usagef("--figures: %q is neither png nor svg", c.figures)
	}
	var err error
	if base.InputFiles, err = c.inputFiles(); err != nil {
		return nil, err
	}
	if base.Dirs, err = c.inputDirs(); err != nil {
		return nil, err
	}
	programs, err := c.programs(args)
	if err != nil {
		return nil, err
	}
	if base.Collect, err = c.outDir(); err != nil {
		return nil, err
	}
	if c.stdin {
		base.StdinReader = c.app.In
	}
	requests := make([]executor.Request, len(programs))
	for i, p := range programs {
		r := base
		r.Code, r.Filename, r.Module, r.Argv, r.Script = p.code, p.filename, p.module, p.argv, p.whole
		requests[i] = r
		base.StdinReader = nil // it serves one execution
	}
	// The last one ends as a program does: threads are waited for, atexit runs.
	requests[len(requests)-1].Finish = true
	return requests, nil
}
