package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/cellblock/cellblock/executor"
)

// replTimeout is the time limit of one input in a REPL, where somebody sits
// before it and has Ctrl-C.
const replTimeout = time.Hour

// maxLine bounds a line that comes from a pipe, in bytes.
const maxLine = maxCode

const replLong = `Talk to a Python in a cell of its own. Variables and files live until the end of
the session; input() reads end of file.

On a terminal, lines can be edited and a block is ended with an empty line. Tab
completes names, the arrow keys bring back earlier input, Ctrl-C interrupts the
code that runs and keeps the variables (pressed again, it kills the code), and
Ctrl-D ends. The history is kept in $XDG_STATE_HOME/cellblock/history.

Otherwise lines are read from standard input, and each statement is run as soon
as it is whole: an empty line, or the next statement, ends a block.

Exit status: that of exit() or sys.exit(), otherwise 0; 2 wrong usage, 125
Cellblock itself failed, 128+n ended by a signal.`

const replExample = `  cellblock repl
  cellblock repl --with numpy,pandas --file sales.csv
  printf 'x = 6\nx * 7\n' | cellblock repl`

type replCommand struct {
	app *app
	cellFlags
	fileFlags
}

func newREPL(a *app) *cobra.Command {
	c := &replCommand{app: a}
	cmd := &cobra.Command{
		Use:                   "repl [flags]",
		Short:                 "Talk to a Python in a cell",
		Long:                  replLong,
		Example:               replExample,
		Args:                  noArguments,
		ValidArgsFunction:     cobra.NoFileCompletions,
		DisableFlagsInUseLine: true,
		RunE:                  func(*cobra.Command, []string) error { return c.run() },
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	c.addFiles(fs)
	c.addLimits(fs, replTimeout)
	c.addRoot(fs)
	c.addPreload(fs)
	c.addHost(fs)
	completeFlags(cmd)
	return cmd
}

// conversation is a REPL at work.
type conversation struct {
	app     *app
	session *executor.Session
	request executor.Request // what each execution shares
	bar     *progress
}

func (c *replCommand) run() (err error) {
	talk := &conversation{app: c.app, bar: newProgress(c.app.Err, onDemand)}
	cfg, err := c.config()
	if err != nil {
		return err
	}
	cfg.MaxOutput, cfg.Progress = -1, talk.bar.update
	options := executor.SessionOptions{}
	if talk.request.InputFiles, err = c.inputFiles(); err != nil {
		return err
	}
	if options.Dirs, err = c.inputDirs(); err != nil {
		return err
	}
	if talk.request.Collect, err = c.outDir(); err != nil {
		return err
	}
	talk.request.Filename = "<stdin>"
	ex, err := executor.New(cfg)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := ex.Close(); err == nil && closeErr != nil {
			err = fmt.Errorf("cannot end the cell: %w", closeErr)
		}
	}()
	if talk.session, err = ex.NewSession(context.Background(), options); err != nil {
		return err
	}
	if isTerminal(c.app.In) && isTerminal(c.app.Out) && canMoveCursor(os.Getenv("TERM")) {
		return talk.onTerminal()
	}
	return talk.onPipe()
}

// onPipe reads statements from a pipe or a file.
func (t *conversation) onPipe() error {
	ctx, cancel, stop := untilSignal()
	defer stop()
	lines := make(chan string)
	var readErr error
	go func() {
		defer close(lines)
		scan := bufio.NewScanner(t.app.In)
		scan.Buffer(nil, maxLine)
		for scan.Scan() {
			select {
			case lines <- scan.Text():
			case <-ctx.Done():
				return
			}
		}
		readErr = scan.Err()
	}()
	var input blocks
	for {
		select {
		case <-ctx.Done():
			return because(ctx, ctx.Err())
		case line, more := <-lines:
			pieces := []string{}
			if more {
				pieces = input.add(line)
			} else if rest := input.flush(); rest != "" {
				pieces = append(pieces, rest)
			}
			for _, code := range pieces {
				if end, err := t.say(ctx, cancel, code); end || err != nil {
					return because(ctx, err)
				}
			}
			if more {
				continue
			}
			if errors.Is(readErr, bufio.ErrTooLong) {
				return usagef("a line on standard input is longer than %s", sizeText(maxLine))
			}
			if readErr != nil {
				return fmt.Errorf("cannot read standard input: %w", readErr)
			}
			return nil
		}
	}
}

// say runs one piece of code and shows what comes of it. end is set when the
// code asked to leave.
func (t *conversation) say(ctx context.Context, cancel context.CancelCauseFunc, code string) (end bool, err error) {
	r := t.request
	r.Code, r.NoResults = code, true
	r.Stdout, r.Stderr = passOn(t.app.Out, t.bar, cancel), passOn(t.app.Err, t.bar, cancel)
	result, err := t.session.Execute(ctx, r)
	t.bar.finish()
	if err != nil {
		return false, err
	}
	if result.Value != nil {
		if _, err := io.WriteString(t.app.Out, *result.Value+"\n"); err != nil {
			return false, writeFailed(err)
		}
	}
	if result.Verdict == executor.VerdictExit && !result.Session.Lost {
		t.app.status = result.ReturnCode
		return true, nil
	}
	if result.Verdict == executor.VerdictExit {
		fmt.Fprintf(t.app.Err, "cellblock: the process ended with status %d\n", result.ReturnCode)
	}
	t.app.explain(r, result, true)
	return false, nil
}

// canMoveCursor says whether a terminal is one that the line editor can ask
// for its cursor; on others lines are read plainly.
func canMoveCursor(term string) bool { return term != "" && term != "dumb" && term != "emacs" }
