package servicecli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/internal/cli"
	"github.com/cellblock/cellblock/internal/config"
	"github.com/cellblock/cellblock/internal/mcp"
)

const mcpLong = `Serve a sandbox to a language model, by the Model Context Protocol over standard
input and output: a client (Claude, Cursor, VS Code, an agent of yours) starts
this command, and its model gets tools to run Python and to exchange files. One
process is one conversation, with one session, which ends with it.

No service is needed. A service that runs has the same tools at /mcp.`

const mcpExample = `  cellblock mcp install --client claude-code
  cellblock mcp install --client vscode -- --with pandas,matplotlib --dir ./data:data:ro
  cellblock mcp --with numpy,pandas --memory 1G --timeout 60s`

// mcpKeys are the options that mean something without a service.
var mcpKeys = []string{
	"root", "python", "with", "venv", "preload", "state_dir", "runtime_dir", "cgroup_parent", "without", "env",
	"timeout", "max_timeout", "cpu_time", "memory", "cpus", "pids", "workspace_size", "workspace_files", "max_output", "log_level",
}

type mcpCommand struct {
	app         *app
	options     options
	files, dirs []string
}

func newMCP(a *app) *cobra.Command {
	c := &mcpCommand{app: a}
	cmd := &cobra.Command{
		Use: "mcp [flags]", Short: "Serve a sandbox to a language model, by the Model Context Protocol",
		Long: mcpLong, Example: mcpExample, Args: noArguments, DisableFlagsInUseLine: true,
		RunE: func(*cobra.Command, []string) error { return c.serve() },
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringArrayVar(&c.files, "file", nil, "copy the file `HOST[:NAME]` into the workspace; may be repeated")
	fs.StringArrayVar(&c.dirs, "dir", nil, "copy the directory `HOST[:NAME][:ro]` into the workspace, read-only with :ro; may be repeated")
	keys := slices.DeleteFunc(c.options.Keys(), func(k config.Key) bool { return !slices.Contains(mcpKeys, k.Name) })
	for i, k := range keys {
		switch k.Name {
		case "max_output":
			keys[i].Help = "what can be read of each stream of a call, `SIZE` (default 1M)"
		case "log_level":
			keys[i].Help = "`LEVEL` of what is logged: debug, info, warn, error (default warn)"
		}
	}
	config.AddTo(fs, keys)
	cmd.AddCommand(newMCPInstall(a))
	return cmd
}

// mcpMaxOutput is what is kept of a stream: a model is shown far less.
const mcpMaxOutput = 1 << 20

func (c *mcpCommand) serve() (err error) {
	o := &c.options
	if o.MaxOutput == 0 {
		o.MaxOutput = mcpMaxOutput
	}
	if o.MaxTimeout == 0 {
		o.MaxTimeout = time.Hour
	}
	if o.LogLevel == "" {
		o.LogLevel = "warn" // clients show standard error
	}
	log, err := o.Logger(c.app.Err)
	if err != nil {
		return err
	}
	cfg, err := o.Executor()
	if err != nil {
		return err
	}
	if o.Timeout > o.MaxTimeout {
		return config.Usagef("--timeout is above --max-timeout")
	}
	var in mcp.Inputs
	if in.Files, err = cli.InputFiles(c.files); err != nil {
		return config.Usagef("%v", err)
	}
	if in.Dirs, err = cli.InputDirs(c.dirs); err != nil {
		return config.Usagef("%v", err)
	}
	signal.Ignore(syscall.SIGPIPE) // a client that is gone ends standard input, too
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer stop()
	building := stage{planned: make(chan struct{})}
	cfg.Progress = building.update
	ex, err := executor.New(cfg)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := ex.Close(); err == nil && cerr != nil {
			err = fmt.Errorf("cannot end the cell: %w", cerr)
		}
	}()
	if st, err := c.app.In.Stat(); err == nil && st.Mode()&os.ModeCharDevice != 0 {
		fmt.Fprintln(c.app.Err, "cellblock: this speaks MCP on standard input and output, and is for clients to start: see cellblock mcp install --help")
	}
	if err := prepare(ctx, ex, &building, log); err != nil {
		return err
	}
	server := mcp.New(mcp.Options{
		Version: version, Log: log, Limits: mcp.LocalLimits(ex.Config().SessionLimits(), o.MaxTimeout),
		Preparing: building.text,
		Open:      func() mcp.Sandbox { return mcp.NewLocal(ex, in) },
	})
	defer server.Close()
	return server.ServeStdio(ctx, c.app.In, os.Stdout)
}

// prepare has the root built in the background: the first call need not wait for
// it, nor its client grow impatient. That it cannot be, for a package that the host
// has not, say, is known before anything is copied, and fails the start.
func prepare(ctx context.Context, ex *executor.Executor, building *stage, log *slog.Logger) error {
	done := make(chan error, 1)
	go func() {
		_, err := ex.Root(ctx)
		building.last.Store(nil)
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-building.planned:
	case <-time.After(planTime): // another process builds it
	}
	go func() {
		if err := <-done; err != nil && ctx.Err() == nil && !errors.Is(err, executor.ErrClosed) {
			log.Error("cannot prepare the root", "error", err)
		}
	}()
	return nil
}

// planTime is how long a client waits at most for what says that a root can be.
const planTime = 5 * time.Second

// stage is how far the building of a root is.
type stage struct {
	last    atomic.Pointer[stageUpdate]
	plan    sync.Once
	planned chan struct{} // closed when it is known what goes into it
}

type stageUpdate struct {
	name string
	at   time.Time
}

func (s *stage) update(name string, done, total int64) {
	s.last.Store(&stageUpdate{name, time.Now()})
	if done == total {
		s.plan.Do(func() { close(s.planned) })
	}
}

// text is for people; "" when nothing is built. A build that failed tells no
// end, only nothing more.
func (s *stage) text() string {
	u := s.last.Load()
	if u == nil || time.Since(u.at) > 30*time.Second {
		return ""
	}
	return "preparing the sandbox, once: " + u.name
}
