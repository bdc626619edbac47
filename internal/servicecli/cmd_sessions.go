package servicecli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/internal/api"
	"github.com/cellblock/cellblock/internal/cli"
	"github.com/cellblock/cellblock/internal/config"
)

type sessionsCommand struct {
	app *app
	serviceFlags
	json, watch bool
	every       time.Duration
}

func newSessions(a *app) *cobra.Command {
	c := &sessionsCommand{app: a, every: time.Second}
	cmd := &cobra.Command{
		Use: "sessions [flags]", Short: "List, watch, make and end a service's sessions", Args: noArguments,
		Example: "  cellblock sessions --watch\n  cellblock sessions new work --memory 1G\n  cellblock sessions end work",
		RunE:    func(*cobra.Command, []string) error { return c.list() },
	}
	c.add(cmd.PersistentFlags())
	fs := cmd.Flags()
	fs.BoolVar(&c.json, "json", false, "print one session a line, as JSON")
	fs.BoolVar(&c.watch, "watch", false, "show state, memory and CPU live, until Ctrl-C")
	fs.Var(config.Duration(&c.every), "every", "with --watch, look at this pace, `TIME`")
	cmd.AddCommand(c.newCommand(), c.endCommand(), c.interruptCommand(), c.resultCommand())
	return cmd
}

func (c *sessionsCommand) newCommand() *cobra.Command {
	var body api.NewSession
	var memory, workspace int64
	cmd := &cobra.Command{Use: "new [ID]", Short: "Make a session and print its id", Args: arguments(0, 1)}
	fs := cmd.Flags()
	fs.StringVar(&body.Root, "root", "", "use the prepared root of this `NAME`")
	fs.Var(config.List(&body.Preload), "preload", "import `MODULES` first: pandas, numpy as np")
	fs.Var(config.Size(&memory), "memory", "limit memory to `SIZE`")
	fs.Var(config.Size(&workspace), "workspace-size", "limit the workspace's files to `SIZE`")
	fs.Var(config.Number(&body.Limits.CPUs), "cpus", "limit the speed to `N` cores")
	fs.Var(config.Count(&body.Limits.PIDs), "pids", "limit processes and threads to `N`")
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		if len(args) == 1 {
			body.ID = args[0]
		}
		body.Limits.Memory, body.Limits.WorkspaceSize = api.Size(memory), api.Size(workspace)
		client, err := c.connect()
		if err != nil {
			return err
		}
		var info api.SessionInfo
		if err := client.ask(context.Background(), "POST", "/v1/sessions", body, &info); err != nil {
			return err
		}
		if len(info.LeftOut) > 0 {
			fmt.Fprintf(c.app.Err, "cellblock: left out, as they cannot be imported: %s\n", OneLine(strings.Join(info.LeftOut, ", ")))
		}
		return c.app.printf("%s\n", info.ID)
	}
	return cmd
}

func (c *sessionsCommand) endCommand() *cobra.Command {
	return c.each("end ID...", "End sessions, and all that they hold", func(ctx context.Context, client *client, id string) error {
		return client.ask(ctx, "DELETE", sessionPath(id), nil, nil)
	})
}

func (c *sessionsCommand) interruptCommand() *cobra.Command {
	return c.each("interrupt ID...", "Send the code that runs a KeyboardInterrupt", func(ctx context.Context, client *client, id string) error {
		return client.ask(ctx, "POST", sessionPath(id, "interrupt"), nil, nil)
	})
}

// resultCommand prints what the last execution came to, as exec would have.
func (c *sessionsCommand) resultCommand() *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use: "result ID", Short: "Wait for what runs in a session, and print the result of its last execution", Args: arguments(1, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			client, err := c.connect()
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			var r executor.Result
			if err := client.ask(ctx, "GET", sessionPath(args[0], "result"), nil, &r); err != nil {
				if ctx.Err() != nil {
					c.app.status = 130
					return nil
				}
				return err
			}
			c.app.status = cli.ExitStatus(r)
			if asJSON {
				return c.app.printJSON(r)
			}
			fmt.Fprint(c.app.Err, r.Stderr)
			if err := c.app.printf("%s", r.Output); err != nil {
				return err
			}
			cli.Explain(c.app.Err, r)
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the result as JSON instead of the output")
	return cmd
}

func (c *sessionsCommand) each(use, short string, do func(context.Context, *client, string) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: arguments(1, 0),
		RunE: func(_ *cobra.Command, args []string) error {
			client, err := c.connect()
			if err != nil {
				return err
			}
			for _, id := range args {
				if err := do(context.Background(), client, id); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func (c *sessionsCommand) list() error {
	client, err := c.connect()
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	w := &watch{live: c.watch, clear: c.watch && isTerminal(c.app.Out)}
	tick := time.NewTicker(c.every)
	defer tick.Stop()
	for {
		var list api.SessionList
		if err := client.ask(ctx, "GET", "/v1/sessions", nil, &list); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		if err := c.print(w, list.Sessions); err != nil || !c.watch {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// watch remembers what was seen last, to tell how much CPU is used.
type watch struct {
	live  bool
	clear bool // the screen, where there is one
	at    time.Time
	cpu   map[string]float64
}

func (c *sessionsCommand) print(w *watch, list []api.SessionInfo) error {
	if c.json {
		for _, s := range list {
			text, err := json.Marshal(s)
			if err != nil {
				return err
			}
			if err := c.app.printf("%s\n", text); err != nil {
				return err
			}
		}
		return nil
	}
	var screen bytes.Buffer
	if w.clear {
		screen.WriteString("\x1b[H\x1b[J")
	}
	now := time.Now()
	table := tabwriter.NewWriter(&screen, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "SESSION\tSTATE\tMEMORY\tLIMIT\tCPU\tPROCESSES\tEXECUTIONS\tWAITING\tIDLE")
	seen := map[string]float64{}
	for _, s := range list {
		seen[s.ID] = s.Usage.CPUSeconds
		cpu := fmt.Sprintf("%.1f s", s.Usage.CPUSeconds)
		if last, ok := w.cpu[s.ID]; ok && w.live {
			cpu = fmt.Sprintf("%.0f %%", max(0, 100*(s.Usage.CPUSeconds-last)/now.Sub(w.at).Seconds()))
		}
		idle := "-"
		if s.State != api.StateRunning {
			idle = now.Sub(s.LastUsed).Round(time.Second).String()
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%d\t%d\t%d\t%s\n", s.ID, s.State, units.BytesSize(float64(s.Usage.MemoryBytes)),
			units.BytesSize(float64(s.Limits.MemoryBytes)), cpu, s.Usage.Processes, s.Executions, s.Waiting, idle)
	}
	table.Flush()
	w.at, w.cpu = now, seen
	_, err := io.Copy(c.app.Out, &screen)
	return err
}
