package testkit

import (
	"fmt"
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
		{"3.11", "3.11", true},
		{"3.11", "3.9", true},
		{"3.9", "3.11", false},
		{"3.13", "", true},
		{"6.18.44-custom", "6.12", true},
		{"6.1.0-13-amd64", "6.12", false},
		{"7.0-rc1", "6.18", true},
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
	for _, left := range before.missingFrom(takeSnapshot()) {
		if !strings.HasPrefix(left, "group ") { // others may make some meanwhile
			t.Errorf("nothing is left, but: %q", left)
		}
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

func TestBesideLeaf(t *testing.T) {
	for own, want := range map[string]string{
		"/sys/fs/cgroup/a.service/cellblock.self": "/sys/fs/cgroup/a.service",
		"/sys/fs/cgroup/a.service":                "/sys/fs/cgroup/a.service",
		"":                                        "",
	} {
		if got := besideLeaf(own); got != want {
			t.Errorf("besideLeaf(%q) = %q, want %q", own, got, want)
		}
	}
}

func TestWhoseGroup(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	for _, c := range []struct {
		name  string
		procs string
		other bool
	}{
		{"empty", "", false},
		{"our child", fmt.Sprintf("%d\n", cmd.Process.Pid), false},
		{"the process that started this one", fmt.Sprintf("%d\n", os.Getppid()), true},
		{"an orphan", "1\n", false},
		{"ended meanwhile", "4194305\n", false},
	} {
		if err := os.WriteFile(dir+"/cgroup.procs", []byte(c.procs), 0o644); err != nil {
			t.Fatal(err)
		}
		if c.other && parentOf(os.Getppid()) <= 1 {
			continue // it is an orphan itself
		}
		if got := ownedByOther(dir); got != c.other {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	for name, other := range map[string]bool{
		"cellblock-7": false, "cellblock-x-1": false,
		fmt.Sprintf("cellblock-%d-1", os.Getpid()): false, fmt.Sprintf("cellblock-%d-1", os.Getppid()): true,
	} {
		if got := namedByOther(name); got != other {
			t.Errorf("%s: %v", name, got)
		}
	}
}
