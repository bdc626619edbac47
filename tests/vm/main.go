// Command vm runs tests in a machine whose kernel, Python and control groups
// are not the host's: Debian 13 (Linux 6.12, Python 3.13, systemd 257, pure
// cgroup v2) under software emulation. It needs root and packages of the
// host's distribution, no hardware help.
//
//	go run ./tests/vm test             # the suites of suites.go, as `go test` prints them
//	go run ./tests/vm test -only cgroup,tests/escape -run OOM -v
//	go run ./tests/vm shell            # a console in the machine
//	echo uptime | go run ./tests/vm shell
//	go run ./tests/vm image            # build the image, if it is not there
//
// The image is kept in /var/cache/cellblock-vm (CELLBLOCK_VM_CACHE names another
// place), by a digest of what it is made from. The machine never writes to it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// allTime bounds a machine's life, whatever happens in it.
const allTime = 25 * time.Minute

func main() {
	// The machine dies with the thread that started it: this one stays.
	runtime.LockOSThread()
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: vm test|shell|image [flags]")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	code, err := command(ctx, os.Args[1], os.Args[2:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "vm:", err)
		code = max(code, 1)
	}
	stop()
	os.Exit(code)
}

func command(ctx context.Context, name string, args []string) (int, error) {
	if name == "inside" { // the half that runs in the machine
		b, err := os.ReadFile(payloadDir + "/arguments")
		if err != nil {
			return 1, err
		}
		args = strings.Fields(string(b))
	}
	flags := flag.NewFlagSet(name, flag.ExitOnError)
	var o options
	only := flags.String("only", "", "packages to test, separated by commas; all of suites.go without")
	flags.StringVar(&o.run, "run", "", "-test.run of every suite")
	flags.BoolVar(&o.verbose, "v", false, "-test.v of every suite")
	flags.BoolVar(&o.update, "update", false, "-update of every suite; the files in testdata that they write come back")
	flags.DurationVar(&o.timeout, "timeout", allTime, "when the machine is ended")
	flags.Parse(args)
	if *only != "" {
		o.only = strings.Split(*only, ",")
	}
	if name == "inside" {
		return inside(o)
	}
	if os.Geteuid() != 0 {
		return 1, errors.New("building the image needs root")
	}
	img, err := prepare(ctx)
	if err != nil {
		return 1, err
	}
	switch name {
	case "image":
		fmt.Println(img.dir)
		return 0, nil
	case "test":
		return test(ctx, img, o)
	case "shell":
		return shell(ctx, img)
	}
	return 2, fmt.Errorf("%q is none of test, shell, image", name)
}

// options are what a developer may choose.
type options struct {
	only    []string
	run     string
	verbose bool
	update  bool
	timeout time.Duration
}

// test runs the suites in their machines and passes their output on, that of
// one machine after that of another.
func test(ctx context.Context, img *image, o options) (int, error) {
	chosen, err := chosen(o.only)
	if err != nil {
		return 2, err
	}
	work, err := os.MkdirTemp("", "cellblock-vm-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(work)
	payload, err := packPayload(ctx, work, chosen, o)
	if err != nil {
		return 1, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, o.timeout, fmt.Errorf("the machine was ended after %s", o.timeout))
	defer cancel()
	var all []*outcome
	var machines []*machine
	for i, suites := range chosen {
		if len(suites) == 0 {
			continue
		}
		m, err := img.boot(ctx, i, work, payload)
		if err != nil {
			return 1, err
		}
		defer m.end()
		machines, all = append(machines, m), append(all, m.await(ctx))
	}
	code := 0
	var failures []error
	for i, result := range all {
		result.turn(os.Stdout)
		code, failures = max(code, result.code), append(failures, result.err)
		if o.update && result.err == nil {
			failures = append(failures, machines[i].bringBack())
		}
	}
	return code, errors.Join(failures...)
}

// shell gives the console of a machine to the terminal.
func shell(ctx context.Context, img *image) (int, error) {
	work, err := os.MkdirTemp("", "cellblock-vm-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(work)
	payload, err := packPayload(ctx, work, machines, options{})
	if err != nil {
		return 1, err
	}
	fmt.Println("root's console; the tests are in /payload; end with `poweroff`, or with Ctrl-A X")
	return 0, img.console(ctx, payload)
}
