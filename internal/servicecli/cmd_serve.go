package servicecli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/cellblock/cellblock/internal/api"
	"github.com/cellblock/cellblock/internal/config"
	"github.com/cellblock/cellblock/internal/e2b"
	"github.com/cellblock/cellblock/internal/warden"
)

// version is set by the linker.
var version = "devel"

const serveLong = `Serve sessions and executions over HTTP: on a Unix socket, whose callers the
kernel names, and if asked for on TCP, with tokens.

Every flag is also a key of the configuration file (tls_cert for --tls-cert) and an
environment variable (CELLBLOCK_SERVE_TLS_CERT); a flag goes before the
environment, which goes before the file. A restart is how it is read anew.

SIGTERM and SIGINT end the service: it takes no new requests, waits for executions,
and ends all sessions. A service that is killed takes its cells along. SIGHUP has it
look at the host's Python and packages again: new sessions get a root and a template
of what is there now, those that live keep theirs.`

const serveExample = `  cellblock serve
  cellblock serve --socket /tmp/cb.sock --with numpy,pandas
  cellblock serve --listen 127.0.0.1:8080 --tokens /etc/cellblock/tokens
  curl --unix-socket /run/cellblock/cellblock.sock http://cellblock/v1/execute \
    -H 'Content-Type: application/json' -d '{"code": "print(6*7)"}'`

type serveCommand struct {
	app      *app
	options  options
	config   string
	lifeline bool
	idle     []string // flags of atWarden that were given
}

func newServe(a *app) *cobra.Command {
	c := &serveCommand{app: a, options: newOptions()}
	cmd := &cobra.Command{
		Use: "serve [flags]", Short: "Serve sessions and executions over HTTP", Long: serveLong, Example: serveExample,
		Args: noArguments, DisableFlagsInUseLine: true,
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringVar(&c.config, "config", "", "read the configuration from `FILE` (default "+config.DefaultPath+", if it is there)")
	fs.BoolVar(&c.lifeline, "lifeline", false, "end when standard input does: the service of one process, which ends with it")
	keys := c.options.Keys()
	config.AddTo(fs, keys)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := config.Settle(keys, fs, configPath(c.config), os.Environ()); err != nil {
			return err
		}
		for _, name := range atWarden {
			if f := fs.Lookup(name); f != nil && f.Changed {
				c.idle = append(c.idle, "--"+name)
			}
		}
		return c.serve()
	}
	return cmd
}

// atWarden is what says what sessions are: with a warden it is the warden's to know.
var atWarden = []string{
	"root", "python", "with", "venv", "preload", "template", "state-dir", "runtime-dir", "cgroup-parent", "without", "env",
	"timeout", "cpu-time", "memory", "cpus", "pids", "workspace-size", "workspace-files", "max-output", "sessions", "total-memory",
}

// configPath is the file that a flag or the environment names.
func configPath(flag string) string {
	if flag == "" {
		return os.Getenv(config.EnvPrefix + "CONFIG")
	}
	return flag
}

func (c *serveCommand) serve() error {
	log, err := c.options.Logger(c.app.Err)
	if err != nil {
		return err
	}
	settings, err := c.options.settings(log)
	if err != nil {
		return err
	}
	listeners, hosts, err := c.options.open()
	if err != nil {
		return err
	}
	defer closeAll(listeners)
	door, doorHosts, err := c.options.openE2B()
	if err != nil {
		return err
	}
	if door != nil {
		defer door.Close()
	}
	settings.Hosts = append(settings.Hosts, hosts...)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	began := time.Now()
	config.Notify("STATUS=Preparing the root", config.ExtendTimeout)
	waits := time.AfterFunc(time.Second, func() {
		log.Info("waiting for the warden, which is not ready yet or has another service", "socket", c.options.Warden)
	})
	if c.options.Warden == "" {
		waits.Stop()
	}
	settings.Engine, err = c.options.engine(ctx)
	waits.Stop()
	if err != nil {
		if ctx.Err() != nil {
			return nil // told to end while it waited
		}
		return err
	}
	server, err := api.New(settings)
	if err != nil {
		return errors.Join(err, settings.Engine.Close())
	}
	if c.lifeline {
		go func() {
			io.Copy(io.Discard, c.app.In)
			cancel(errors.New("standard input ended"))
		}()
	}
	warm := server.Warm
	if w, ok := settings.Engine.(*warden.Client); ok {
		log.Info("the warden has the sessions", "socket", c.options.Warden, "version", w.Version())
		if len(c.idle) > 0 {
			log.Warn("flags do nothing here: what sessions are is said to the warden", "flags", strings.Join(c.idle, " "))
		}
		go func() {
			<-w.Ended()
			if why := w.Why(); why != nil {
				log.Warn("the warden ended, and no other has its sessions", "error", why)
			}
			cancel(errWardenEnded)
		}()
		// Before anybody is answered, who waits at the listener: a session that is not
		// taken over yet would not be there, or be made a second time.
		err = server.Warm(ctx)
		warm = func(context.Context) error { return err }
	}
	var serving sync.WaitGroup
	for _, l := range listeners {
		log.Info("listening", "address", address(l))
		serving.Go(func() {
			if err := server.Serve(l); err != nil {
				cancel(fmt.Errorf("cannot serve on %s: %w", address(l), err))
			}
		})
	}
	if door != nil {
		log.Info("listening for E2B's SDK", "address", address(door))
		sandboxes := e2b.New(server, e2b.Settings{Open: c.options.E2BOpen})
		serving.Go(func() {
			if err := server.ServeDoor(door, sandboxes.Door(doorHosts)); err != nil {
				cancel(fmt.Errorf("cannot serve on %s: %w", address(door), err))
			}
		})
	}
	err = warm(ctx)
	if err == nil {
		log.Info("ready", "seconds", time.Since(began).Seconds())
		config.Notify("READY=1", "STATUS=Ready")
		watched := config.Watchdog(ctx)
		config.RenewOnHangup(ctx, server.Renew, log)
		watched.Wait()
		log.Info("ending", "why", fmt.Sprint(context.Cause(ctx)))
	}
	config.Notify("STOPPING=1", "STATUS=Ending sessions")
	drain, done := context.WithTimeout(context.Background(), c.options.DrainTime())
	defer done()
	if err != nil && ctx.Err() == nil {
		done() // it never served
	}
	serr := server.Shutdown(drain)
	serving.Wait()
	if ctx.Err() != nil {
		err = nil // told to end, be it while it started
	}
	if errors.Is(context.Cause(ctx), errWardenEnded) {
		err = errWardenEnded
	}
	log.Info("ended")
	return errors.Join(err, serr)
}

// errWardenEnded is why a service ends that did not keep its sessions itself.
var errWardenEnded = errors.New("the warden has ended, and with it all sessions")

func closeAll(listeners []net.Listener) {
	for _, l := range listeners {
		l.Close()
	}
}

func address(l net.Listener) string { return l.Addr().Network() + ":" + l.Addr().String() }
