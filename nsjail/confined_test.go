package nsjail

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/cellblock/cellblock/internal/sys"
)

// A free process: what a host without a container says.
var free = confinement{
	uid: 0, mayMount: true, maxUserNS: "31000", userNSClone: "1", label: "unconfined",
	uidMap: "0 0 4294967295", gidMap: "0 0 4294967295",
}

// What the doctor says of each situation names what is missing and what to do.
func TestDoctorNamesConfinement(t *testing.T) {
	refusal := func(name string, e syscall.Errno) []sys.Refusal { return []sys.Refusal{{Call: name, Errno: e}} }
	userns, ids, filter := confinement.userNamespaces, confinement.ids, confinement.filter
	module := func(c confinement) LayerState {
		for _, s := range c.module() {
			return s
		}
		return LayerState{Status: Available, Level: "no row"}
	}
	for name, c := range map[string]struct {
		change func(*confinement)
		row    func(confinement) LayerState
		status string
		texts  []string
	}{
		"free":                  {nil, userns, Available, []string{"user, mount, PID"}},
		"free ids":              {nil, ids, Available, []string{"two host ids a cell, from 1879048192"}},
		"free of filters":       {nil, filter, Available, []string{"none"}},
		"free of AppArmor":      {nil, module, Available, []string{"no row"}},
		"none at all":           {func(c *confinement) { c.maxUserNS = "0" }, userns, Missing, []string{"user.max_user_namespaces is 0", "sysctl user.max_user_namespaces="}},
		"Debian's old switch":   {func(c *confinement) { c.uid, c.userNSClone = 1000, "0" }, userns, Missing, []string{"kernel.unprivileged_userns_clone is 0", "or run as root"}},
		"that switch for root":  {func(c *confinement) { c.userNSClone = "0" }, userns, Available, nil},
		"Ubuntu, no profile":    {func(c *confinement) { c.uid, c.restrictUserNS = 1000, "1" }, userns, Missing, []string{"kernel.apparmor_restrict_unprivileged_userns is 1", "as Ubuntu", "/etc/apparmor.d/cellblock"}},
		"Ubuntu, our profile":   {func(c *confinement) { c.uid, c.restrictUserNS, c.label = 1000, "1", "cellblock (unconfined)" }, userns, Available, nil},
		"our profile's row":     {func(c *confinement) { c.label = "cellblock (unconfined)" }, module, Available, []string{"profile cellblock (unconfined)"}},
		"Ubuntu, switched off":  {func(c *confinement) { c.uid, c.restrictUserNS = 1000, "0" }, userns, Available, nil},
		"Ubuntu, root":          {func(c *confinement) { c.restrictUserNS = "1" }, userns, Available, nil},
		"container's filter":    {func(c *confinement) { c.filters, c.userNS = 1, syscall.EPERM }, userns, Missing, []string{"a filter of system calls around this process refuses them", "--cap-add SYS_ADMIN", "seccomp=unconfined"}},
		"container's AppArmor":  {func(c *confinement) { c.userNS, c.label = syscall.EACCES, "docker-default (enforce)" }, userns, Missing, []string{`"docker-default (enforce)"`, "apparmor=unconfined"}},
		"too many":              {func(c *confinement) { c.userNS = syscall.ENOSPC }, userns, Missing, []string{"no more of them", "raise user.max_user_namespaces"}},
		"no such kernel":        {func(c *confinement) { c.userNS = syscall.EINVAL }, userns, Missing, []string{"CONFIG_USER_NS"}},
		"a chroot":              {func(c *confinement) { c.userNS = syscall.EPERM }, userns, Missing, []string{"chroot"}},
		"root without rights":   {func(c *confinement) { c.mayMount = false }, ids, Available, []string{"one id a cell", "no CAP_SYS_ADMIN, as in a container", "--cap-add SYS_ADMIN"}},
		"a user":                {func(c *confinement) { c.mayMount, c.uid = false, 1000 }, ids, Available, []string{"one id a cell", "two ids need CAP_SYS_ADMIN"}},
		"a rootless container":  {func(c *confinement) { c.uidMap, c.gidMap = "0 1000 1\n1 100000 65536", "0 1000 1\n1 100000 65536" }, ids, Available, []string{"from 32769, of this user namespace: room for 8192 cells"}},
		"without subordinates":  {func(c *confinement) { c.uidMap, c.gidMap = "0 1000 1", "0 1000 1" }, ids, Missing, []string{"too few ids", "/etc/subuid"}},
		"a filter that lets":    {func(c *confinement) { c.filters = 2 }, filter, Available, []string{"2 around this process", "not forked from a template"}},
		"a filter that refuses": {func(c *confinement) { c.filters, c.refused = 1, refusal("pivot_root", syscall.EPERM) }, filter, Missing, []string{"it refuses pivot_root", "seccomp=unconfined"}},
		"AppArmor that refuses": {func(c *confinement) {
			c.label, c.refused = "docker-default (enforce)", refusal("mount", syscall.EACCES)
		}, module, Missing, []string{"docker-default", "it refuses mount", "apparmor=unconfined"}},
	} {
		around := free
		if c.change != nil {
			c.change(&around)
		}
		s := c.row(around)
		if s.Status != c.status {
			t.Errorf("%s: %s, want %s (%s)", name, s.Status, c.status, s.Why)
		}
		all := s.Level + "\n" + s.Why + "\n" + s.Mend
		for _, text := range c.texts {
			if !strings.Contains(all, text) {
				t.Errorf("%s: %q is not in\n%s", name, text, all)
			}
		}
		if s.Status == Missing && (s.Why == "" || s.Mend == "") {
			t.Errorf("%s: no reason, or nothing to do about it", name)
		}
	}
}

// The facts are what the files say.
func TestConfinementIsRead(t *testing.T) {
	proc := t.TempDir()
	for name, text := range map[string]string{
		"sys/user/max_user_namespaces":                     "12\n",
		"sys/kernel/unprivileged_userns_clone":             "0\n",
		"sys/kernel/apparmor_restrict_unprivileged_userns": "1\n",
		"self/attr/apparmor/current":                       "cellblock (unconfined)\n",
		"self/uid_map":                                     "0 1000 1\n",
		"self/gid_map":                                     "0 100 1\n",
	} {
		path := filepath.Join(proc, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	c := confined(proc, true)
	got := [...]string{c.maxUserNS, c.userNSClone, c.restrictUserNS, c.label, c.uidMap, c.gidMap}
	if want := [...]string{"12", "0", "1", "cellblock (unconfined)", "0 1000 1", "0 100 1"}; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if c.mayMount || c.refused != nil {
		t.Error("calls were tried without the right to make them")
	}
	if empty := confined(t.TempDir(), true); empty.maxUserNS != "" || empty.label != "" {
		t.Errorf("of files that are not there: %+v", empty)
	}
}

func TestShownAs(t *testing.T) {
	const mounts = `1 0 8:1 / / rw - ext4 /dev/a rw
2 1 8:2 /volumes/v/_data /var/lib/cellblock rw - ext4 /dev/b rw
3 1 8:3 /other /var/lib/cell rw - ext4 /dev/c rw
4 1 8:4 /sub\040volume /my\040roots rw - btrfs /dev/d rw
5 2 8:5 /last /var/lib/cellblock rw - ext4 /dev/e rw
`
	for path, want := range map[string]string{
		"/srv/roots/x/tree":              "/srv/roots/x/tree",
		"/var/lib/cellblock/roots/x":     "/last/roots/x", // the later of two at one place
		"/var/lib/cellblock":             "/last",
		"/var/lib/cellblocks/roots/x":    "/var/lib/cellblocks/roots/x",
		"/my roots/x":                    `/sub\040volume/x`,
		"/var/lib/cell/roots/with blank": `/other/roots/with\040blank`,
	} {
		if got := shownAs(mounts, path); got != want {
			t.Errorf("%s is shown as %s, want %s", path, got, want)
		}
	}
}
