//go:build vm

package inside

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cellblock/cellblock/internal/testkit"
)

// Containers are made by podman from the machine's own files: no registry is
// needed. docs/containers.md has what is shown here.

// A containers makes them with one root and one store of prepared roots.
type containers struct {
	t    *testing.T
	user bool // by a user without rights
	dir  string
}

// least is what a root of a container must be given.
var least = []string{
	"--cap-drop=ALL", "--cap-add=SYS_ADMIN,DAC_OVERRIDE,SETUID,SETGID",
	"--security-opt=apparmor=unconfined", "--security-opt=unmask=/sys/fs/cgroup",
}

func newContainers(t *testing.T, user bool) *containers {
	t.Helper()
	testkit.Require(t, testkit.Root, testkit.MemoryController)
	places(t) // for the user
	at := "/var/tmp"
	if user {
		at = "/home/" + userName
	}
	dir, err := os.MkdirTemp(at, "containers-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { gone(t); os.RemoveAll(dir) })
	for _, d := range []string{"store", "root/usr", "root/proc", "root/sys", "root/dev", "root/etc", "root/tmp", "root/run", "root/payload", "root/var/lib/cellblock"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, l := range []string{"bin", "sbin", "lib", "lib64"} {
		if err := os.Symlink("usr/"+l, filepath.Join(dir, "root", l)); err != nil {
			t.Fatal(err)
		}
	}
	for at, mode := range map[string]os.FileMode{"": 0o755, "root/tmp": os.ModeSticky | 0o777} {
		if err := os.Chmod(filepath.Join(dir, at), mode); err != nil {
			t.Fatal(err)
		}
	}
	if user {
		must(t, exec.Command("loginctl", "enable-linger", userName)) // a manager of its own, as a login has
		must(t, exec.Command("chown", "-R", userName+":", dir))
	}
	return &containers{t, user, dir}
}

// run runs a command line in a container and returns what it printed.
func (c *containers) run(flags []string, argv ...string) (string, error) {
	c.t.Helper()
	all := []string{"podman", "run", "--rm", "--network=none", "-v=/usr:/usr:ro", "-v=/payload:/payload:ro", "-v=" + c.dir + "/store:/var/lib/cellblock"}
	all = append(append(append(all, flags...), "--rootfs", c.dir+"/root"), argv...)
	if c.user { // in a login's session, with a manager that hands controllers down
		for i, a := range all {
			all[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		all = []string{"su", "-l", userName, "-c", "XDG_RUNTIME_DIR=/run/user/$(id -u) " + strings.Join(all, " ") + "; exit $?"}
	}
	// Not a pipe: a process of podman's that keeps a user's namespaces would hold it open.
	out, err := os.CreateTemp(c.t.TempDir(), "output-")
	if err != nil {
		c.t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command(all[0], all[1:]...)
	cmd.Stdout, cmd.Stderr = out, out
	err = cmd.Run()
	text, rerr := os.ReadFile(out.Name())
	if rerr != nil {
		c.t.Fatal(rerr)
	}
	return string(text), err
}

// good expects exit status 0 and these texts.
func (c *containers) good(flags []string, argv []string, texts ...string) {
	c.t.Helper()
	out, err := c.run(flags, argv...)
	if err != nil {
		c.t.Errorf("%q %q: %v\n%s", flags, argv, err, out)
		return
	}
	c.says(out, texts)
}

// bad expects another status and these texts.
func (c *containers) bad(flags []string, argv []string, texts ...string) string {
	c.t.Helper()
	out, err := c.run(flags, argv...)
	if err == nil {
		c.t.Errorf("%q %q went well:\n%s", flags, argv, out)
	}
	c.says(out, texts)
	return out
}

func (c *containers) says(out string, texts []string) {
	c.t.Helper()
	plain := strings.Join(strings.Fields(out), " ")
	for _, text := range texts {
		if !strings.Contains(plain, text) {
			c.t.Errorf("%q is not in\n%s", text, out)
		}
	}
}

const stood = "a cell was built, its posture is as it should be, and code ran in it"

var doctor = []string{"/payload/bin/cellblock", "doctor"}

func with(flags []string, more ...string) []string { return append(slices.Clone(flags), more...) }

// With few rights all layers are to be had, and with fewer the doctor says
// which is missing and what to do.
func TestContainer(t *testing.T) {
	c := newContainers(t, false)
	sub := func(name string, f func(c *containers)) {
		t.Run(name, func(t *testing.T) { f(&containers{t, c.user, c.dir}) })
	}
	sub("privileged", func(c *containers) {
		c.good([]string{"--privileged"}, doctor, "proc available made inside the cell", "outer-filter available none", stood)
	})
	sub("least", func(c *containers) {
		c.good(least, doctor, "ids available two host ids", "proc available subset=pid; made outside of the cell, as parts of /proc are mounted over here", "outer-filter available 1 around this process", "cgroup-memory available v2", stood)
		c.good(with(least, "--security-opt=seccomp=unconfined"), doctor, "outer-filter available none", stood)
	})
	sub("limits", func(c *containers) {
		c.bad(least, []string{"/payload/bin/cellblock", "run", "--memory", "64M", "-c", "x = bytearray(1 << 28)"}, "MemoryError")
		c.bad(least, []string{"/payload/bin/cellblock", "run", "--timeout", "3", "-c", "while True: pass"}, "execution timeout after 3 seconds")
		c.bad(with(least, "--memory=48m"), []string{"/payload/bin/cellblock", "run", "-c", "x = bytearray(1 << 27)"}, "out of memory")
	})
	sub("no rights", func(c *containers) {
		c.bad([]string{"--security-opt=apparmor=unconfined"}, doctor,
			"ids available one id a cell", "this root has no CAP_SYS_ADMIN",
			"proc missing something is mounted over parts of /proc", "to mend it: start the container with --cap-add SYS_ADMIN",
			`cgroup-memory missing v2 at /sys/fs/cgroup: "/sys/fs/cgroup" is mounted read-only`, "no cell can be built")
	})
	sub("AppArmor", func(c *containers) {
		says := []string{"apparmor missing profile containers-default", "it refuses mount", "to mend it: start the container with --security-opt apparmor=unconfined"}
		if restrictsNamespaces(c.t) {
			says = append(says, "user-namespaces missing a security module refuses them")
		}
		c.bad([]string{"--cap-add=SYS_ADMIN", "--security-opt=unmask=/sys/fs/cgroup"}, doctor, says...)
	})
	sub("seccomp", func(c *containers) {
		c.bad(with(least, "--security-opt=seccomp="+profileWithout(c.t, "pivot_root", "keyctl")), doctor,
			"outer-filter missing", "it refuses pivot_root, keyctl", "to mend it: start the container with --security-opt seccomp=unconfined")
	})
	sub("groups that are read-only", func(c *containers) {
		closed := slices.DeleteFunc(slices.Clone(least), func(f string) bool { return strings.Contains(f, "unmask") })
		run := []string{"/payload/bin/cellblock", "run", "-c", "print(6*7)"}
		c.bad(closed, run, `layer cgroup is not to be had: "/sys/fs/cgroup" is mounted read-only; make it writable, by`, "--security-opt unmask=/sys/fs/cgroup", "(or leave it out: --without cgroup)")
		c.good(closed, append(run, "--without", "cgroup"), "42")
		c.good(closed, []string{"sh", "-c", "mount -o remount,rw /sys/fs/cgroup && exec " + strings.Join(doctor, " ")}, stood)
	})
	sub("a shell in the group", func(c *containers) {
		out := c.bad(least, []string{"sh", "-c", "/payload/bin/cellblock run -c 'print(6*7)'; exit $?"}, `the group "/sys/fs/cgroup" holds 1 other processes and so cannot hand controllers down`)
		_, rest, _ := strings.Cut(out, "into a leaf: `")
		commands, _, ok := strings.Cut(rest, "`")
		if !ok {
			c.t.Fatal("the error names no commands")
		}
		c.good(least, []string{"sh", "-c", commands + "; /payload/bin/cellblock run -c 'print(6*7)'; exit $?"}, "42")
	})
	sub("groups elsewhere", func(c *containers) {
		const group = tree + "/cells-of-containers"
		if err := os.Mkdir(group, 0o755); err != nil {
			c.t.Fatal(err)
		}
		defer os.Remove(group)
		if err := os.WriteFile(group+"/cgroup.subtree_control", []byte("+memory +pids +cpu"), 0); err != nil {
			c.t.Fatal(err)
		}
		c.good(with(least, "--cgroupns=host", "-v=/sys/fs/cgroup:/sys/fs/cgroup:rw"), with(doctor, "--cgroup-parent", "/cells-of-containers"), stood)
		c.good(with(least, "--cgroup-parent=cells.slice"), doctor, stood)
	})
	sub("user namespace", func(c *containers) { // last: the root is given to it
		must(c.t, exec.Command("chown", "-R", "200000:200000", c.dir+"/root"))
		c.good(with(least, "--uidmap=0:200000:65536", "--gidmap=0:200000:65536", "-e=CELLBLOCK_STATE_DIR=/run/store", "--tmpfs=/run:notmpcopyup"), doctor,
			"ids available two host ids a cell, from 32768, of this user namespace: room for 8192 cells", stood)
	})
}

// A user without rights has all layers in their containers, limits included.
func TestRootlessContainer(t *testing.T) {
	c := newContainers(t, true)
	flags := []string{"--cap-add=SYS_ADMIN", "--security-opt=unmask=/sys/fs/cgroup"}
	c.good(flags, doctor, "of this user namespace: room for 8192 cells", "cgroup-memory available v2", stood)
	c.bad(flags, []string{"/payload/bin/cellblock", "run", "--memory", "64M", "-c", "x = bytearray(1 << 28)"}, "MemoryError")
	other := []string{"--user=1000:1000", "--security-opt=unmask=ALL", "-e=CELLBLOCK_STATE_DIR=/tmp/store"}
	c.bad(other, with(doctor, "--without", "cgroup"), "cannot build the cell: step 14 hostname: operation not permitted", "a filter of system calls is around this process")
	c.good(with(other, "--security-opt=seccomp=unconfined"), with(doctor, "--without", "cgroup"), "ids available one id a cell", stood)
}

// profileWithout is podman's own profile without some calls, which it then
// refuses as Docker's does.
func profileWithout(t *testing.T, calls ...string) string {
	t.Helper()
	b, err := os.ReadFile("/usr/share/containers/seccomp.json")
	if err != nil {
		t.Fatal(err)
	}
	var profile map[string]any
	if err := json.Unmarshal(b, &profile); err != nil {
		t.Fatal(err)
	}
	profile["defaultErrnoRet"], profile["defaultErrno"] = 1, "EPERM"
	for _, rule := range profile["syscalls"].([]any) {
		r := rule.(map[string]any)
		r["names"] = slices.DeleteFunc(r["names"].([]any), func(n any) bool { return slices.Contains(calls, n.(string)) })
	}
	if b, err = json.Marshal(profile); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "seccomp.json")
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}
