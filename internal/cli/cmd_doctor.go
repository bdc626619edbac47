package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/nsjail"
)

const doctorLong = `Look at every layer of a cell on this host: whether it is available and at what
level, or missing and how to mend it. Then prove it: build a cell, read from the
kernel that it is what it should be, and run code in it.

Exit status: 0 when a cell can be built, 1 when not, 2 wrong usage.`

const doctorExample = `  cellblock doctor
  cellblock doctor --without landlock
  cellblock doctor --json`

type doctorCommand struct {
	app *app
	cellFlags
	json bool
}

func newDoctor(a *app) *cobra.Command {
	c := &doctorCommand{app: a}
	cmd := &cobra.Command{
		Use:               "doctor [flags]",
		Short:             "Say what this host can give, and prove it with a cell",
		Long:              doctorLong,
		Example:           doctorExample,
		Args:              noArguments,
		ValidArgsFunction: cobra.NoFileCompletions,

		DisableFlagsInUseLine: true,
		RunE:                  func(*cobra.Command, []string) error { return c.doctor() },
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.BoolVar(&c.json, "json", false, "print the report as one JSON object")
	c.addRoot(fs)
	c.addHost(fs)
	completeFlags(cmd)
	return cmd
}

// noArguments is for commands that take none.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("%s takes no argument, and %q was given", cmd.CommandPath(), args[0])
	}
	return nil
}

func (c *doctorCommand) doctor() error {
	cfg, err := c.config()
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
	report := ex.Doctor(ctx)
	bar.finish()
	if err := because(ctx, ctx.Err()); err != nil {
		return err
	}
	if !report.OK {
		c.app.status = 1
	}
	if c.json {
		return writeJSON(c.app.Out, report)
	}
	printReport(c.app.Out, report)
	return nil
}

// printReport writes the table of layers, each with what to do about it.
func printReport(w io.Writer, r executor.Report) {
	nameWidth, statusWidth := len("LAYER"), len("STATUS")
	for _, l := range r.Layers {
		nameWidth = max(nameWidth, len(l.Name))
		statusWidth = max(statusWidth, len(l.Status))
	}
	row := func(name, status, detail string) {
		line := fmt.Sprintf("%-*s  %-*s  %s", nameWidth, name, statusWidth, status, OneLine(detail))
		fmt.Fprintln(w, strings.TrimRight(line, " "))
	}
	row("LAYER", "STATUS", "LEVEL")
	for i, l := range r.Layers {
		detail := l.Level
		if l.Why != "" {
			if detail != "" {
				detail += ": "
			}
			detail += l.Why
		}
		row(l.Name, l.Status, detail)
		if l.Status != nsjail.Missing || i+1 < len(r.Layers) && sameMending(l, r.Layers[i+1]) {
			continue
		}
		if l.Mend != "" {
			row("", "", "to mend it: "+l.Mend)
		}
		if l.Optional {
			row("", "", "to do without it: --without "+withoutName(l.Name))
		}
	}
	fmt.Fprintf(w, "\n%s\n", r.Cell)
	if r.Error != "" {
		fmt.Fprintf(w, "  %s\n", OneLine(r.Error))
	}
}

// sameMending says that what to do about a layer is said with the next one.
func sameMending(l, next executor.LayerReport) bool {
	return next.Status == l.Status && next.Mend == l.Mend && next.Optional == l.Optional && withoutName(next.Name) == withoutName(l.Name)
}

// withoutName is what --without calls a layer: the controllers of the cgroup
// go together.
func withoutName(layer string) string {
	if strings.HasPrefix(layer, string(nsjail.LayerCgroup)) {
		return string(nsjail.LayerCgroup)
	}
	return layer
}
