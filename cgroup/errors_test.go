package cgroup

import (
	"strings"
	"testing"
)

// What is in the way is said with what to do about it, where systemd runs and
// where it does not, as in a container.
func TestMendingIsOfThePlace(t *testing.T) {
	for _, c := range []struct {
		got  string
		want []string
		not  string
	}{
		{mendCrowded("/sys/fs/cgroup", true), []string{"systemd-run", "Delegate=yes", "--cgroup-parent"}, "mkdir"},
		{mendCrowded("/sys/fs/cgroup", false), []string{"`exec cellblock", "mkdir -p /sys/fs/cgroup/cellblock.self", ">/sys/fs/cgroup/cellblock.self/cgroup.procs"}, "systemd-run"},
		{mendHandDown(true), []string{"systemd-run"}, "container"},
		{mendHandDown(false), []string{"container", "memory, pids and cpu", "--cgroup-parent"}, "systemd-run"},
		{readOnly(memory, "/sys/fs/cgroup").Error(), []string{`"/sys/fs/cgroup" is mounted read-only`, "mount -o remount,rw /sys/fs/cgroup", "unmask=/sys/fs/cgroup", "--privileged"}, "systemd-run"},
	} {
		for _, text := range c.want {
			if !strings.Contains(c.got, text) {
				t.Errorf("%q is not in %q", text, c.got)
			}
		}
		if strings.Contains(c.got, c.not) {
			t.Errorf("%q is in %q", c.not, c.got)
		}
	}
}
