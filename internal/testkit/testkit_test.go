package testkit

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestAtLeast(t *testing.T) {
	for _, c := range []struct {
		have, least string
		want        bool
	}{
		{"3.11", "3.11", true}, {"3.11", "3.9", true}, {"3.9", "3.11", false}, {"3.13", "", true},
		{"6.18.44-custom", "6.12", true}, {"6.1.0-13-amd64", "6.12", false}, {"7.0-rc1", "6.18", true},
	} {
		if got := atLeast(c.have, c.least); got != c.want {
			t.Errorf("atLeast(%q, %q) = %v", c.have, c.least, got)
		}
	}
}

func TestRequireSkipsWithReason(t *testing.T) {
	t.Setenv("REQUIRE_ALL", "")
	ran := false
	t.Run("inner", func(t *testing.T) {
		Require(t, Need{"the moon", func() string { return "it is day" }})
		ran = true
	})
	if ran {
		t.Error("the test went on without what it needs")
	}
	t.Run("met", func(t *testing.T) { Require(t, Need{"nothing", func() string { return "" }}) })
}

func TestSnapshotSeesWhatIsLeft(t *testing.T) {
	before := takeSnapshot()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	cmd := exec.Command("cat")
	cmd.Stdin = r
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	left := strings.Join(before.missingFrom(takeSnapshot()), "\n")
	for _, want := range []string{"child ", "descriptor of pipe:["} {
		if !strings.Contains(left, want) {
			t.Errorf("no %q among:\n%s", want, left)
		}
	}
	w.Close()
	cmd.Wait()
	r.Close()
	if left := before.missingFrom(takeSnapshot()); len(left) > 0 {
		t.Errorf("nothing is left, but: %q", left)
	}
}

func TestShownAt(t *testing.T) {
	const mounts = "31 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n" +
		"34 30 0:31 /docker/a /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n" +
		"40 30 0:37 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
	for _, c := range []struct{ controller, group, want string }{
		{"cpuacct", "/x", "/sys/fs/cgroup/cpu,cpuacct/x"},
		{"memory", "/docker/a/b", "/sys/fs/cgroup/memory/b"},
		{"memory", "/docker/ab", ""},
		{"", "/", "/sys/fs/cgroup/unified"},
		{"pids", "/", ""},
	} {
		if got := shownAt(mounts, c.controller, c.group); got != c.want {
			t.Errorf("shownAt(%q, %q) = %q, want %q", c.controller, c.group, got, c.want)
		}
	}
}
