package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/cellblock/cellblock/internal/testkit"
)

const payloadDir = "/payload"

// inside runs the suites in the machine, prints what `go test` would, and
// ends with the line that carries the status.
func inside(o options) (int, error) {
	failed := 0
	all, err := chosen(o.only)
	if err != nil {
		return 2, err
	}
	number, err := machineNumber()
	if err != nil {
		return 2, err
	}
	describeMachine()
	src := filepath.Join(payloadDir, "src")
	if o.update {
		if err := os.CopyFS(writtenDir, os.DirFS(src)); err != nil {
			return 2, err
		}
		src = writtenDir
	}
	for _, s := range all[number] {
		if !s.inside(o, src) {
			failed = 1
		}
	}
	if o.update {
		if err := sendWritten(filepath.Join(payloadDir, "src")); err != nil {
			return 2, err
		}
	}
	if failed != 0 {
		fmt.Println("FAIL")
	}
	fmt.Printf("%s%d\n", lastLine, failed)
	return 0, nil
}

// machineNumber is which of machines this one is.
func machineNumber() (int, error) {
	line, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return 0, err
	}
	_, rest, ok := strings.Cut(string(line), numberKey)
	if f := strings.Fields(rest); ok && len(f) > 0 {
		if n, err := strconv.Atoi(f[0]); err == nil && n >= 0 && n < len(machines) {
			return n, nil
		}
	}
	return 0, fmt.Errorf("%q has no number of a machine", line)
}

// describeMachine says on what the results hold.
func describeMachine() {
	for _, c := range [][]string{{"uname", "-r"}, {"sh", "-c", "echo processors: $(nproc)"}, {"/usr/bin/python3", "--version"}, {"systemctl", "--version"}, {"stat", "-fc", "cgroups are %T", "/sys/fs/cgroup"}, {"cat", "/sys/fs/cgroup/cgroup.controllers"}} {
		out, err := exec.Command(c[0], c[1:]...).Output()
		if err != nil {
			out = []byte(err.Error())
		}
		line, _, _ := strings.Cut(string(out), "\n")
		fmt.Println("#", line)
	}
}

func sendWritten(before string) error {
	port, err := os.OpenFile("/dev/virtio-ports/written", os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return errors.Join(packWritten(port, before, writtenDir), port.Close())
}

func (s testSuite) inside(o options, src string) bool {
	dir := filepath.Join(src, s.pkg)
	args := append([]string{"-test.paniconexit0", "-test.timeout=" + s.time.String()}, s.args...)
	if o.run != "" {
		args = append(args, "-test.run="+o.run)
	}
	if o.verbose {
		args = append(args, "-test.v")
	}
	if o.update {
		args = append(args, "-update")
	}
	var skip []string
	for _, sk := range s.skip {
		fmt.Printf("# %s: without %s: %s\n", s.name(), sk.test, sk.why)
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
	cmd.Env = append(os.Environ(), "REQUIRE_ALL=1", fmt.Sprintf("%s=%d", testkit.PaceEnv, pace), "HOME=/root", "CELLBLOCK_BIN="+payloadDir+"/bin/cellblock")
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
		fmt.Printf("FAIL\t%s\t%.3fs\n", s.name(), took)
		return false
	}
	fmt.Printf("ok  \t%s\t%.3fs\n", s.name(), took)
	return true
}
