package servicecli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/internal/api"
	"github.com/cellblock/cellblock/internal/cli"
	"github.com/cellblock/cellblock/internal/config"
)

const execExample = `  cellblock exec -c 'print(6*7)'
  cellblock exec --session s --file data.csv -c 'import csv; rows = list(csv.reader(open("data.csv")))'
  cellblock exec --session s --json -c 'len(rows)'`

type execCommand struct {
	app *app
	serviceFlags
	session, root               string
	code, files, preload        []string
	timeout                     time.Duration
	memory                      int64
	fresh, validate, keep, json bool
}

func newExec(a *app) *cobra.Command {
	c := &execCommand{app: a}
	cmd := &cobra.Command{
		Use: "exec [flags] (FILE | - | -c CODE)", Short: "Run code through a service",
		Long: "Run code through a service, in a cell of its own or in a session that lives on.\n\n" +
			"Output is passed through as it is printed; the exit status is that of `cellblock run`.\nCtrl-C interrupts the code.",
		Example: execExample, DisableFlagsInUseLine: true,
		RunE: func(_ *cobra.Command, args []string) error { return c.exec(args) },
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringArrayVarP(&c.code, "command", "c", nil, "run `CODE`")
	fs.StringVar(&c.session, "session", "", "in the session `ID`, which is made if there is none")
	fs.StringArrayVar(&c.files, "file", nil, "give the code a `FILE[:NAME]`; may be repeated")
	fs.Var(config.Duration(&c.timeout), "timeout", "stop it after this `TIME` by the clock")
	fs.BoolVar(&c.fresh, "fresh", false, "start with a clean namespace")
	fs.BoolVar(&c.validate, "validate", false, "refuse code in which the validator finds an issue")
	fs.BoolVar(&c.keep, "keep-running", false, "let the code go on when this command ends")
	fs.StringVar(&c.root, "root", "", "for a new session, use the prepared root of this `NAME`")
	fs.Var(config.List(&c.preload), "preload", "for a new session, import `MODULES` first: pandas, numpy as np")
	fs.Var(config.Size(&c.memory), "memory", "for a new session, limit memory to `SIZE`")
	fs.BoolVar(&c.json, "json", false, "print the result as JSON instead of the output")
	c.add(fs)
	return cmd
}

func (c *execCommand) exec(args []string) error {
	body, err := c.body(args)
	if err != nil {
		return err
	}
	client, err := c.connect()
	if err != nil {
		return err
	}
	// The service interrupts code whose client goes away.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	var result executor.Result
	if c.json {
		err = client.ask(ctx, "POST", "/v1/execute", body, &result)
	} else {
		result, err = c.follow(ctx, client, body)
	}
	if ctx.Err() != nil {
		c.app.status = 130
		return nil
	}
	if err != nil {
		return err
	}
	c.app.status = cli.ExitStatus(result)
	if c.json {
		return c.app.printJSON(result)
	}
	cli.Explain(c.app.Err, result)
	return nil
}

func (c *execCommand) body(args []string) (api.StandaloneExecution, error) {
	body := api.StandaloneExecution{
		SessionID: c.session,
		Execution: api.Execution{Timeout: c.timeout.Seconds(), FreshNamespace: c.fresh, Validate: c.validate, KeepRunning: c.keep},
		Creation:  api.Creation{Root: c.root, Preload: c.preload, Limits: api.Limits{Memory: api.Size(c.memory)}},
	}
	switch {
	case len(c.code) > 1:
		return body, config.Usagef("-c is given %d times, and this is one execution: put it together, or run one after another with --session", len(c.code))
	case len(c.code) == 1 && len(args) > 0:
		return body, config.Usagef("-c and a file are both given: choose one")
	case len(c.code) == 1:
		body.Code = c.code[0]
	case len(args) != 1:
		return body, config.Usagef("nothing to run, or too much: give one FILE, - for standard input, or -c CODE")
	case args[0] == "-":
		text, err := io.ReadAll(c.app.In)
		if err != nil {
			return body, err
		}
		body.Code = string(text)
	default:
		text, err := os.ReadFile(args[0])
		if err != nil {
			return body, config.Usagef("cannot read the program: %v", err)
		}
		body.Code = string(text)
	}
	for _, f := range c.files {
		path, name, named := strings.Cut(f, ":")
		if !named {
			name = filepath.Base(path)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return body, config.Usagef("--file: %v", err)
		}
		body.InputFiles = append(body.InputFiles, api.InputFile{Name: name, Content: content})
	}
	return body, nil
}

// follow passes output on as it comes.
func (c *execCommand) follow(ctx context.Context, client *client, body api.StandaloneExecution) (result executor.Result, err error) {
	text, err := json.Marshal(body)
	if err != nil {
		return result, err
	}
	resp, err := client.send(ctx, "POST", "/v1/execute", bytes.NewReader(text), "Content-Type", "application/json", "Accept", "application/x-ndjson")
	if err != nil {
		return result, err
	}
	defer resp.Body.Close()
	frames := json.NewDecoder(resp.Body)
	for {
		var f api.Frame
		if err := frames.Decode(&f); err != nil {
			return result, c.cut(err)
		}
		switch f.Kind {
		case "stdout":
			_, err = io.WriteString(c.app.Out, f.Text)
		case "stderr":
			_, err = io.WriteString(c.app.Err, f.Text)
		case "error":
			return result, f.Error
		case "result":
			result = *f.Result
		case "end":
			return result, nil
		}
		if err != nil && !errors.Is(err, os.ErrClosed) {
			return result, fmt.Errorf("cannot pass on the output: %w", err)
		}
	}
}

// cut says what is left to who was told no end.
func (c *execCommand) cut(err error) error {
	if c.session == "" {
		return fmt.Errorf("the service's answer was cut, and with it the code: %w: run it again", err)
	}
	return fmt.Errorf("the service's answer was cut: %w: ask for what the code came to with cellblock sessions result %s, or run it again if there is no such session any more", err, c.session)
}
