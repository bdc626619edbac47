//go:build vm

package inside

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
)

// A place is where somebody may run cellblock.
type place struct {
	name string
	// command runs a shell command there.
	command func(t *testing.T, line string) *exec.Cmd
	// own is a part of the name of the group that such a process is in before
	// it makes a cell, cells one of the group that cells are made below.
	own, cells string
	// above is a group that outlives those of the cells: events are counted
	// there as well.
	above string
}

const (
	tree     = "/sys/fs/cgroup"
	userName = "tester"
	userID   = 4711
)

var serial atomic.Int32

func places(t *testing.T) []place {
	t.Helper()
	if _, err := os.Stat("/home/" + userName); err != nil {
		must(t, exec.Command("useradd", "-m", "-s", "/bin/bash", "-u", strconv.Itoa(userID), userName))
	}
	service := func(properties ...string) func(*testing.T, string) *exec.Cmd {
		return func(t *testing.T, line string) *exec.Cmd {
			args := []string{"--quiet", "--pipe", "--wait", "--collect", fmt.Sprintf("--unit=delegated-%d.service", serial.Add(1))}
			for _, p := range properties {
				args = append(args, "-p", p)
			}
			// exec: the command is to be the unit's one process.
			return exec.Command("systemd-run", append(args, "/bin/sh", "-c", "exec "+line)...)
		}
	}
	login := func(user string) func(*testing.T, string) *exec.Cmd {
		return func(t *testing.T, line string) *exec.Cmd {
			// Not exec: the shell stays in the group, as a person's does.
			return exec.Command("su", "-l", user, "-c", line+"; exit $?")
		}
	}
	all := []place{
		{"service", service("Delegate=yes"), "/system.slice/delegated-", "/system.slice/delegated-", "/system.slice"},
		{"service that is not delegated", service("Delegate=no"), "/system.slice/delegated-", "/system.slice/run-cellblock-", "/system.slice"},
		{"root's login shell", login("root"), "/user.slice/user-0.slice/session-", "/system.slice/run-cellblock-", "/system.slice"},
		{"user's login shell", login(userName), fmt.Sprintf("/user.slice/user-%d.slice/session-", userID), fmt.Sprintf("/user@%d.service/app.slice/run-cellblock-", userID), "/user.slice"},
	}
	if systemd(t) >= 254 { // which brought subgroups
		all = append(all, place{"service with a subgroup", service("Delegate=yes", "DelegateSubgroup=cellblock.self"), ".service/cellblock.self", "/system.slice/delegated-", "/system.slice"})
	}
	return all
}

// systemd is the version that the machine has.
func systemd(t *testing.T) (version int) {
	t.Helper()
	if _, err := fmt.Sscanf(must(t, exec.Command("systemctl", "--version")), "systemd %d", &version); err != nil {
		t.Fatal(err)
	}
	return version
}

func must(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%q: %v\n%s", cmd.Args, err, out)
	}
	return string(out)
}

// cellblock is the command line of the program with its arguments.
func cellblock(args ...string) string {
	line := os.Getenv("CELLBLOCK_BIN")
	for _, a := range args {
		line += " '" + strings.ReplaceAll(a, "'", `'\''`) + "'"
	}
	return line
}

// The place is what it is said to be, or its tests would prove nothing.
func TestPlaces(t *testing.T) {
	for _, p := range places(t) {
		t.Run(p.name, func(t *testing.T) {
			out, err := p.command(t, "cat /proc/self/cgroup").CombinedOutput()
			if err != nil || !strings.HasPrefix(string(out), "0::") || !strings.Contains(string(out), p.own) {
				t.Errorf("%v: the group is %q, want …%s…", err, out, p.own)
			}
		})
	}
}
