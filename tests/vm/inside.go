package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const payloadDir = "/payload"

// inside runs the suites in the machine, prints what `go test` would, and
// ends with the line that carries the status.
func inside(o options) (int, error) {
	failed := 0
	suites, err := chosen(o.only)
	if err != nil {
		return 2, err
	}
	describeMachine()
	for _, s := range suites {
		if !s.inside(o) {
			failed = 1
		}
	}
	if failed != 0 {
		fmt.Println("FAIL")
	}
	fmt.Printf("%s%d\n", lastLine, failed)
	return 0, nil
}

// describeMachine says on what the results hold.
func describeMachine() {
	for _, c := range [][]string{{"uname", "-r"}, {"/usr/bin/python3", "--version"}, {"systemctl", "--version"}, {"stat", "-fc", "cgroups are %T", "/sys/fs/cgroup"}, {"cat", "/sys/fs/cgroup/cgroup.controllers"}} {
		out, err := exec.Command(c[0], c[1:]...).Output()
		if err != nil {
			out = []byte(err.Error())
		}
		line, _, _ := strings.Cut(string(out), "\n")
		fmt.Println("#", line)
	}
}

func (s testSuite) inside(o options) bool {
	dir := filepath.Join(payloadDir, "src", s.pkg)
	args := append([]string{"-test.paniconexit0", "-test.timeout=" + s.time.String()}, s.args...)
	if o.run != "" {
		args = append(args, "-test.run="+o.run)
	}
	if o.verbose {
		args = append(args, "-test.v")
	}
	var skip []string
	for _, sk := range s.skip {
		fmt.Printf("# %s: without %s: %s\n", s.pkg, sk.test, sk.why)
		skip = append(skip, "^"+sk.test+"$")
	}
	if len(skip) > 0 {
		args = append(args, "-test.skip="+strings.Join(skip, "|"))
	}
	// The binary's own time-out prints the stacks; this one is for a binary
	// that does not come to it.
	ctx, cancel := context.WithTimeout(context.Background(), s.time+10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, dir+"/test", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "REQUIRE_ALL=1", "HOME=/root", "CELLBLOCK_BIN="+payloadDir+"/bin/cellblock")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stdout
	cmd.WaitDelay = 5 * time.Second
	began := time.Now()
	err := cmd.Run()
	took := time.Since(began).Seconds()
	var exit *exec.ExitError
	if err != nil {
		if !errors.As(err, &exit) || !exit.Exited() {
			fmt.Println(err)
		}
		fmt.Printf("FAIL\t%s/%s\t%.3fs\n", module, s.pkg, took)
		return false
	}
	fmt.Printf("ok  \t%s/%s\t%.3fs\n", module, s.pkg, took)
	return true
}
