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
	table, err := chosen(o)
	if err != nil {
		return 2, err
	}
	number, err := machineNumber(len(table))
	if err != nil {
		return 2, err
	}
	describeMachine()
	if err := enterSubgroup(); err != nil {
		return 2, err
	}
	src := filepath.Join(payloadDir, "src")
	if o.update {
		if err := os.CopyFS(writtenDir, os.DirFS(src)); err != nil {
			return 2, err
		}
		src = writtenDir
	}
	for _, s := range table[number].suites {
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

// enterSubgroup moves this process into a child of the unit's group: one with
// processes in it hands no controllers down to cells. DelegateSubgroup does that
// from systemd 254 on only.
func enterSubgroup() error {
	group, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return err
	}
	sub := filepath.Join("/sys/fs/cgroup", strings.TrimPrefix(strings.TrimSpace(string(group)), "0::"), "cellblock.self")
	if err := os.Mkdir(sub, 0o755); err != nil {
		return err
	}
	return os.WriteFile(sub+"/cgroup.procs", []byte("0"), 0)
}

// machineNumber is which of so many machines this one is.
func machineNumber(of int) (int, error) {
	line, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return 0, err
	}
	_, rest, ok := strings.Cut(string(line), numberKey)
	if f := strings.Fields(rest); ok && len(f) > 0 {
		if n, err := strconv.Atoi(f[0]); err == nil && n >= 0 && n < of {
			return n, nil
		}
	}
	return 0, fmt.Errorf("%q has no number of a machine", line)
}

// describeMachine says on what the results hold.
func describeMachine() {
	for _, c := range [][]string{{"sh", "-c", ". /etc/os-release; echo $PRETTY_NAME"}, {"uname", "-r"}, {"sh", "-c", "echo processors: $(nproc)"}, {"/usr/bin/python3", "--version"}, {"systemctl", "--version"}, {"stat", "-fc", "cgroups are %T", "/sys/fs/cgroup"}, {"cat", "/sys/fs/cgroup/cgroup.controllers"}} {
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
	if pattern, _ := s.pattern(o.run); pattern != "" {
		args = append(args, "-test.run="+pattern)
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
