package cgroup_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/cellblock/cellblock/cgroup"
)

const (
	hybridMounts = `22 1 0:20 / /sys rw - sysfs sysfs rw
30 22 0:27 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
31 30 0:28 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
32 30 0:29 / /sys/fs/cgroup/cpuacct rw,relatime - cgroup cgroup rw,cpuacct
34 30 0:31 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
38 30 0:35 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
39 30 0:36 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
40 30 0:37 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
`
	hybridOwn = "9:name=systemd:/\n8:pids:/\n4:memory:/user/a\n2:cpuacct:/\n1:cpu:/b\n0::/\n"

	pureMounts = `23 27 0:21 / /sys rw,nosuid - sysfs sysfs rw
28 23 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:8 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot
`
	pureOwn = "0::/system.slice/cellblock.service\n"
)

func TestHosts(t *testing.T) {
	for _, c := range []struct {
		name, mounts, own string
		layout            cgroup.Layout
		dirs              map[string]string
	}{
		{"hybrid", hybridMounts, hybridOwn, cgroup.V1, map[string]string{
			"memory": "/sys/fs/cgroup/memory/user/a", "pids": "/sys/fs/cgroup/pids",
			"cpu": "/sys/fs/cgroup/cpu/b", "cpuacct": "/sys/fs/cgroup/cpuacct",
		}},
		{"pure v2", pureMounts, pureOwn, cgroup.V2, map[string]string{
			"memory": "/sys/fs/cgroup/system.slice/cellblock.service",
			"pids":   "/sys/fs/cgroup/system.slice/cellblock.service",
			"cpu":    "/sys/fs/cgroup/system.slice/cellblock.service",
		}},
		{"controllers mounted together", `31 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
34 30 0:31 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
38 30 0:35 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
`, "3:cpu,cpuacct:/x\n2:pids:/x\n1:memory:/x\n", cgroup.V1, map[string]string{
			"memory": "/sys/fs/cgroup/memory/x", "pids": "/sys/fs/cgroup/pids/x",
			"cpu": "/sys/fs/cgroup/cpu,cpuacct/x", "cpuacct": "/sys/fs/cgroup/cpu,cpuacct/x",
		}},
		{"memory on v2, the rest on v1", `31 30 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu
40 30 0:37 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
`, "1:cpu:/\n0::/u\n", cgroup.V2, map[string]string{
			"memory": "/sys/fs/cgroup/unified/u", "pids": "/sys/fs/cgroup/unified/u", "cpu": "/sys/fs/cgroup/cpu",
		}},
		{"container, v1, host's names", `34 30 0:31 /docker/abc /sys/fs/cgroup/memory ro,nosuid - cgroup cgroup rw,memory
38 30 0:35 /docker/abc /sys/fs/cgroup/pids rw,nosuid - cgroup cgroup rw,pids
`, "4:memory:/docker/abc/in\n3:pids:/docker/abcd\n", cgroup.V1, map[string]string{
			"memory": "/sys/fs/cgroup/memory/in", "pids": "", // a sibling whose name begins alike
		}},
		{"container, v2, own cgroup namespace", `28 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup rw
`, "0::/\n", cgroup.V2, map[string]string{
			"memory": "/sys/fs/cgroup", "pids": "/sys/fs/cgroup", "cpu": "/sys/fs/cgroup",
		}},
		{"mount from above the namespace", `28 23 0:26 /../.. /sys/fs/cgroup rw - cgroup2 cgroup rw
`, "0::/\n", cgroup.V2, map[string]string{"memory": "", "pids": "", "cpu": ""}},
		{"own group outside of the namespace", `28 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup rw
`, "0::/../other\n", cgroup.V2, map[string]string{"memory": "", "pids": "", "cpu": ""}},
		{"two mounts, one read-only", `28 23 0:26 / /sys/fs/cgroup ro - cgroup2 cgroup rw
29 23 0:26 / /mnt/cgroup rw - cgroup2 cgroup rw
`, "0::/a\n", cgroup.V2, map[string]string{"memory": "/mnt/cgroup/a", "pids": "/mnt/cgroup/a", "cpu": "/mnt/cgroup/a"}},
		{"a mount on top of another", `28 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup rw
29 28 0:40 / /sys/fs/cgroup rw - tmpfs tmpfs rw
`, "0::/a\n", cgroup.V2, map[string]string{"memory": "", "pids": "", "cpu": ""}},
		{
			"escapes", "28 23 0:26 / /mnt/a\\040b\\134 rw - cgroup2 cgroup rw\n", "0::/c d\n", cgroup.V2,
			map[string]string{"memory": `/mnt/a b\/c d`, "pids": `/mnt/a b\/c d`, "cpu": `/mnt/a b\/c d`},
		},
		{
			"removed", "28 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n", "0::/a (deleted)\n", cgroup.V2,
			map[string]string{"memory": "", "pids": "", "cpu": ""},
		},
		{"no cgroups", "22 1 0:20 / /sys rw - sysfs sysfs rw\n", "", cgroup.V2, map[string]string{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := cgroup.NewHost(c.mounts, c.own)
			if h.Layout() != c.layout {
				t.Errorf("layout %s, want %s", h.Layout(), c.layout)
			}
			if got := h.Dirs(); !reflect.DeepEqual(got, c.dirs) {
				t.Errorf("own directories\n%v, want\n%v", got, c.dirs)
			}
			for _, r := range h.Controllers() {
				if !r.Usable && (r.Why == "" || r.Mend == "") {
					t.Errorf("%+v says not why, or not what to do", r)
				}
			}
		})
	}
}

func TestParseMountsFlags(t *testing.T) {
	got := cgroup.ParseMounts("28 23 0:26 /a /m rw - cgroup2 cgroup ro\n29 23 0:26 / /n ro,nosuid - cgroup cgroup rw,memory\nshort - cgroup2\n")
	want := []cgroup.Mount{{Root: "/a", Point: "/m", V2: true, ReadOnly: true}, {Root: "/", Point: "/n", ReadOnly: true}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// Own groups never leave their mount, whatever the texts say.
func FuzzHost(f *testing.F) {
	f.Add(hybridMounts, hybridOwn)
	f.Add(pureMounts, pureOwn)
	f.Add("28 23 0:26 /../.. /sys/fs/cgroup rw - cgroup2 cgroup rw\n", "0::/../x\n")
	f.Add("28 23 0:26 /a\\04 /m\\777 rw - cgroup c rw,memory\n", "1:memory,cpu:/a/../../etc\n")
	f.Fuzz(func(t *testing.T, mounts, own string) {
		h := cgroup.NewHost(mounts, own)
		for name, dir := range h.Dirs() {
			if dir == "" {
				continue
			}
			inside := false
			for _, m := range cgroup.ParseMounts(mounts) {
				under, ok := strings.CutPrefix(dir, strings.TrimSuffix(m.Point, "/"))
				inside = inside || ok && (under == "" || under[0] == '/') || m.Point == dir
			}
			if strings.Contains(dir, "/../") || strings.HasSuffix(dir, "/..") {
				inside = false
			}
			if !inside {
				t.Errorf("%s: %q is below no mount of %q", name, dir, mounts)
			}
		}
	})
}

func TestNames(t *testing.T) {
	for name, ok := range map[string]bool{
		"cellblock-a.service": false, "cellblock-a.scope": false,
		"cellblock-a": true, "cellblock-12-x_Y.9": true,
		"cellblock-": false, "cellblock": false, "a": false, "": false, "cellblock-a/b": false, "cellblock-..": true,
		"cellblock-a b": false, "cellblock-é": false, "cellblock-" + strings.Repeat("x", 119): false,
	} {
		if err := cgroup.CheckName(name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestNumbers(t *testing.T) {
	for text, want := range map[string]int64{"12\n": 12, "": -1, "max\n": -1, "0": 0, "99999999999999999999": 1<<63 - 1} {
		if got := cgroup.Number([]byte(text)); got != want {
			t.Errorf("number(%q) = %d, want %d", text, got, want)
		}
	}
	const text = "low 0\noom 3\noom_kill 2\noom_group_kill 1\nempty\n"
	for key, want := range map[string]int64{"oom": 3, "oom_kill": 2, "empty": -1, "lo": -1, "": -1} {
		if got := cgroup.Keyed([]byte(text), key); got != want {
			t.Errorf("keyed(%q) = %d, want %d", key, got, want)
		}
	}
}

func TestSettings(t *testing.T) {
	l := cgroup.Limits{MemoryBytes: 64 << 20, PIDs: 9, CPUs: 0.5, CPUWeight: 10}
	for layout, want := range map[cgroup.Layout][]string{
		cgroup.V1: {"memory.limit_in_bytes=67108864", "memory.memsw.limit_in_bytes=67108864", "memory.swappiness=0", "pids.max=9", "cpu.cfs_quota_us=50000", "cpu.shares=102"},
		cgroup.V2: {"memory.max=67108864", "memory.swap.max=0", "pids.max=9", "cpu.max=50000 100000", "cpu.weight=10"},
	} {
		if got := cgroup.Settings(layout, l); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %q, want %q", layout, got, want)
		}
		if got := cgroup.Settings(layout, cgroup.Limits{}); got != nil {
			t.Errorf("%s, no limits: %q", layout, got)
		}
	}
}

// A weight comes back as it was given, though v1 counts in other units.
func TestWeightsComeBack(t *testing.T) {
	h := probe(t)
	for _, weight := range []int{1, 7, 10, 100, 10000} {
		g := create(t, h, cgroup.Limits{MemoryBytes: 64 << 20, CPUWeight: weight})
		got, err := g.Limits()
		if err != nil || got.CPUWeight != weight {
			t.Errorf("%d came back as %d, %v", weight, got.CPUWeight, err)
		}
	}
	if got, err := create(t, h, cgroup.Limits{MemoryBytes: 64 << 20}).Limits(); err != nil || got.CPUWeight != 100 {
		t.Errorf("without a weight of its own a group has %d, %v", got.CPUWeight, err)
	}
}
