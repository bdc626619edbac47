// Command vm runs tests in machines whose kernel, Python and control groups
// are not the host's, under software emulation: Debian 13 (trixie: Linux 6.12,
// Python 3.13, systemd 257) and Debian 12 (bookworm: Linux 6.1, Python 3.11,
// systemd 252), both with pure cgroup v2. It needs root and packages of the
// host's distribution, no hardware help.
//
//	go run ./tests/vm test             # the suites of suites.go, as `go test` prints them
//	go run ./tests/vm test -suite bookworm
//	go run ./tests/vm test -only cgroup,tests/escape -run OOM -v
//	go run ./tests/vm shell            # a console in a machine
//	echo uptime | go run ./tests/vm shell -suite bookworm
//	go run ./tests/vm image            # build the image, if it is not there
//
// An image is kept in /var/cache/cellblock-vm (CELLBLOCK_VM_CACHE names another
// place), by a digest of what it is made from. No machine writes to it.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// allTime bounds a machine's life, whatever happens in it.
const allTime = 40 * time.Minute

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
	flags.StringVar(&o.suite, "suite", "", "the release in the machines: trixie, or bookworm; without, all suites on the one and the package on the other")
	only := flags.String("only", "", "packages to test, separated by commas; all of suites.go without")
	flags.StringVar(&o.run, "run", "", "-test.run of every suite")
	flags.BoolVar(&o.verbose, "v", false, "-test.v of every suite")
	flags.BoolVar(&o.update, "update", false, "-update of every suite; the files in testdata that they write come back")
	flags.DurationVar(&o.timeout, "timeout", allTime, "when a machine is ended")
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
	switch name {
	case "image":
		img, err := prepare(ctx, cmp.Or(o.suite, trixie))
		if err != nil {
			return 1, err
		}
		fmt.Println(img.dir)
		return 0, nil
	case "test":
		return test(ctx, o)
	case "shell":
		return shell(ctx, o)
	}
	return 2, fmt.Errorf("%q is none of test, shell, image", name)
}

// options are what a developer may choose.
type options struct {
	suite   string
	only    []string
	run     string
	verbose bool
	update  bool
	timeout time.Duration
}

// test runs the suites in their machines and passes their output on, that of
// one machine after that of another.
func test(ctx context.Context, o options) (int, error) {
	table, err := chosen(o)
	if err != nil {
		return 2, err
	}
	var wanted []string
	for _, r := range table {
		if len(r.suites) > 0 && !slices.Contains(wanted, r.release) {
			wanted = append(wanted, r.release)
		}
	}
	images, err := prepareAll(ctx, wanted)
	if err != nil {
		return 1, err
	}
	work, err := os.MkdirTemp("", "cellblock-vm-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(work)
	payload, err := packPayload(ctx, work, table, o)
	if err != nil {
		return 1, err
	}
	turns, printed := make(chan *outcome, len(table)), make(chan struct{})
	go func() {
		defer close(printed)
		for result := range turns {
			result.turn(os.Stdout)
		}
	}()
	places := make(chan struct{}, atOnce)
	var machines []*machine
	var results []*outcome
	var failures []error
	for i, r := range table {
		if len(r.suites) == 0 {
			continue
		}
		places <- struct{}{}
		life, cancel := context.WithTimeoutCause(ctx, o.timeout, fmt.Errorf("the machine was ended after %s", o.timeout))
		defer cancel()
		m, err := images[r.release].boot(life, i, work, payload)
		if err != nil {
			failures = append(failures, err)
			break
		}
		defer m.end()
		result := m.await(life)
		go func() {
			<-result.done
			<-places
		}()
		machines, results = append(machines, m), append(results, result)
		turns <- result
	}
	close(turns)
	<-printed
	code := 0
	for i, result := range results {
		code, failures = max(code, result.code), append(failures, result.err)
		if o.update && result.err == nil {
			failures = append(failures, machines[i].bringBack())
		}
	}
	return code, errors.Join(failures...)
}

// shell gives the console of a machine to the terminal.
func shell(ctx context.Context, o options) (int, error) {
	o.suite = cmp.Or(o.suite, trixie)
	table, err := chosen(options{suite: o.suite})
	if err != nil {
		return 2, err
	}
	img, err := prepare(ctx, o.suite)
	if err != nil {
		return 1, err
	}
	work, err := os.MkdirTemp("", "cellblock-vm-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(work)
	payload, err := packPayload(ctx, work, table, o)
	if err != nil {
		return 1, err
	}
	fmt.Println("root's console; the tests are in /payload; end with `poweroff`, or with Ctrl-A X")
	return 0, img.console(ctx, payload)
}
