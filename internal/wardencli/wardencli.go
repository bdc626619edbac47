// Package wardencli is the command line of cellblock-warden: the privileged half of
// a service in two processes, which keeps the sessions for the other.
//
//	cellblock-warden --warden /run/cellblock-warden/warden.sock --warden-user cellblock-api
//
// It has no network and speaks no HTTP: a test holds that the program does not even
// link them.
package wardencli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"os/user"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/cellblock/cellblock/internal/config"
	"github.com/cellblock/cellblock/internal/warden"
	"github.com/cellblock/cellblock/nsjail"
)

// version is set by the linker.
var version = "devel"

// defaultSocket is where a warden listens that was told nothing.
const defaultSocket = "/run/cellblock-warden/warden.sock"

const long = `Keep the sessions of a service for another process, cellblock serve --warden, which
has the network and no privilege. That one may be restarted, upgraded or killed:
sessions live on, and so does what runs in them. They end with this one, but where
it is restarted by a systemd that keeps their descriptors meanwhile (254 or later).

It reads the same configuration, environment variables and flags as cellblock serve;
what sessions are (root … max_output, sessions, total_memory) counts here, all else
there. SIGHUP has it look at the host's Python and packages again.`

// The exit statuses, as those of cellblock.
const (
	statusUsage  = 2
	statusFailed = 125
)

// Run carries out one command line and returns the exit status. The error, if any,
// is still to be printed.
func Run(args []string, stdout, stderr io.Writer) (int, error) {
	cmd := command(stdout, stderr)
	cmd.SetArgs(args)
	err := cmd.Execute()
	var usage *config.UsageError
	switch {
	case errors.As(err, &usage):
		return statusUsage, err
	case err != nil:
		return statusFailed, err
	}
	return 0, nil
}

func command(stdout, stderr io.Writer) *cobra.Command {
	o := config.New()
	var path string
	var sweep, format bool
	cmd := &cobra.Command{
		Use: "cellblock-warden [flags]", Short: "Keep a service's sessions for its unprivileged half", Long: long,
		SilenceErrors: true, SilenceUsage: true, DisableFlagsInUseLine: true, Version: version,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringVar(&path, "config", os.Getenv(config.EnvPrefix+"CONFIG"), "read the configuration from `FILE` (default "+config.DefaultPath+", if it is there)")
	fs.BoolVar(&sweep, "sweep", false, "end what wardens that were killed have left, and do nothing else")
	fs.BoolVar(&format, "state-version", false, "print the version of what a warden hands over to the next, and do nothing else")
	keys := o.Keys()
	config.AddTo(fs, keys)
	fs.Lookup("warden").Usage = "listen on this Unix `PATH` (default " + defaultSocket + ")"
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		return config.Usagef("%v (see: cellblock-warden --help)", err)
	})
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		if len(args) > 0 {
			return config.Usagef("cellblock-warden takes no argument, and %q was given", args[0])
		}
		if format {
			_, err := fmt.Fprintln(stdout, warden.StateVersion)
			return err
		}
		if err := config.Settle(keys, fs, path, os.Environ()); err != nil {
			return err
		}
		if sweep {
			_, err := nsjail.Sweep(o.RuntimeDir)
			return err
		}
		return serve(&o, stderr)
	}
	return cmd
}

func serve(o *config.Options, stderr io.Writer) error {
	log, err := o.Logger(stderr)
	if err != nil {
		return err
	}
	cfg, err := o.Executor()
	if err != nil {
		return err
	}
	uids, err := askers(o.WardenUser)
	if err != nil {
		return err
	}
	passed, err := config.TakePassed(storeName)
	if err != nil {
		return err
	}
	engine, err := warden.NewLocal(warden.Options{
		Executor: cfg, Sessions: cmp.Or(o.Sessions, warden.DefaultSessions), MemoryBytes: cmp.Or(o.TotalMemory, warden.DefaultMemory()),
	})
	if err != nil {
		return err
	}
	l, err := listen(passed.Sockets, cmp.Or(o.Warden, defaultSocket), uids[len(uids)-1])
	if err != nil {
		return errors.Join(err, engine.Close())
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	server := warden.NewServer(engine, uids, version, log)
	if before := unpack(passed.Stored[storeName], log); before != nil {
		before.takeOver(server)
	}
	served := make(chan error, 1)
	go func() {
		served <- server.Serve(l)
		cancel()
	}()
	log.Info("listening", "socket", l.Addr().String(), "uids", fmt.Sprint(uids))
	began := time.Now()
	config.Notify("STATUS=Preparing the root", config.ExtendTimeout)
	if err = server.Warm(ctx); err == nil {
		log.Info("ready", "seconds", time.Since(began).Seconds())
		config.Notify("READY=1", "STATUS=Ready")
		watched := config.Watchdog(ctx)
		config.RenewOnHangup(ctx, engine.Renew, log)
		watched.Wait()
		log.Info("ending", "why", fmt.Sprint(context.Cause(ctx)))
	}
	if ctx.Err() != nil {
		err = nil // told to end, be it while it started
	}
	// Also where it has failed, as a root that could not be built is tried again.
	if config.CanStore() && handOver(server, l, o.DrainTime(), log) {
		log.Info("ended: sessions are there for the next start")
		return err
	}
	config.Notify("STOPPING=1", "STATUS=Ending sessions")
	err = errors.Join(err, server.Close(l), <-served)
	log.Info("ended")
	return err
}

// askers are the users whose processes may ask: this one's, and the one named.
func askers(name string) ([]int, error) {
	own := []int{os.Geteuid()}
	if name == "" {
		return own, nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		if n, nerr := strconv.Atoi(name); nerr == nil {
			return append(own, n), nil
		}
		return nil, config.Usagef("warden_user %q cannot be found: %v: make it with useradd --system, or name another", name, err)
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return nil, fmt.Errorf("user %q has the id %q: %w", name, u.Uid, err)
	}
	return append(own, uid), nil
}

// listen takes the socket that systemd passed, or makes one that only uid and root
// can use. One that a dead warden left is replaced.
func listen(passed []net.Listener, path string, uid int) (*net.UnixListener, error) {
	if len(passed) > 1 {
		return nil, fmt.Errorf("systemd passed %d sockets, and a warden has one", len(passed))
	}
	if len(passed) == 1 {
		return passed[0].(*net.UnixListener), nil
	}
	if len(path) > 107 {
		return nil, config.Usagef("warden: %q is longer than the 107 bytes that the kernel takes", path)
	}
	l, err := config.ListenUnix(path)
	if err != nil {
		return nil, err
	}
	if uid != os.Geteuid() {
		if err := os.Chown(path, uid, -1); err != nil {
			l.Close()
			return nil, fmt.Errorf("cannot give the socket to uid %d: %w", uid, err)
		}
	}
	return l, nil
}
