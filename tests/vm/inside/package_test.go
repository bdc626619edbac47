//go:build vm

package inside

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// command runs one and returns what it prints.
func command(t *testing.T, argv ...string) (string, error) {
	t.Helper()
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	return string(out), err
}

func done(t *testing.T, argv ...string) string {
	t.Helper()
	out, err := command(t, argv...)
	if err != nil {
		log, _ := command(t, "journalctl", "-u", "cellblock", "-n", "30", "--no-pager", "-o", "cat")
		t.Fatalf("%s: %v\n%s\n%s", strings.Join(argv, " "), err, out, log)
	}
	return out
}

// serviceGroup is the directory of the unit's own group.
func serviceGroup(t *testing.T) string {
	t.Helper()
	return "/sys/fs/cgroup" + strings.TrimSpace(done(t, "systemctl", "show", "-P", "ControlGroup", "cellblock"))
}

// The package installs, serves, upgrades, comes back after a sudden end, and
// leaves nothing when it is purged.
func TestPackage(t *testing.T) {
	const deb = "/payload/bin/cellblock.deb"
	if _, err := os.Stat(deb); err != nil {
		t.Fatal(err)
	}
	done(t, "dpkg", "-i", deb)
	defer command(t, "dpkg", "-P", "cellblock")
	if state := strings.TrimSpace(done(t, "systemctl", "is-active", "cellblock")); state != "active" {
		t.Fatalf("the unit is %s", state)
	}
	if out := done(t, "cellblock", "exec", "-c", "print(6*7)"); out != "42\n" {
		t.Errorf("%q", out)
	}
	done(t, "cellblock", "sessions", "new", "s", "--memory", "64M")
	done(t, "cellblock", "exec", "--session", "s", "-c", "x = 1")
	if out := done(t, "cellblock", "exec", "--session", "s", "-c", "print(x)"); out != "1\n" {
		t.Errorf("%q", out)
	}
	t.Run("limits are the unit's groups", func(t *testing.T) {
		limits, _ := filepath.Glob(serviceGroup(t) + "/cellblock-*/memory.max")
		var all []string
		for _, f := range limits {
			b, _ := os.ReadFile(f)
			all = append(all, strings.TrimSpace(string(b)))
		}
		if !strings.Contains(strings.Join(all, " "), "67108864") {
			t.Errorf("%v hold %v", limits, all)
		}
		if out, err := command(t, "cellblock", "exec", "--session", "s", "-c", "bytearray(1<<30)"); err == nil || !strings.Contains(out, "MemoryError") {
			t.Errorf("%v %s", err, out)
		}
	})
	t.Run("who may call", func(t *testing.T) {
		as := func(groups string) (string, error) {
			return command(t, "setpriv", "--reuid=nobody", "--regid=nogroup", groups, "cellblock", "exec", "-c", "print(1)")
		}
		if out, err := as("--clear-groups"); err == nil {
			t.Errorf("nobody was let in: %s", out)
		}
		if out, err := as("--groups=cellblock"); err != nil || out != "1\n" {
			t.Errorf("a member of the group: %v %s", err, out)
		}
	})
	t.Run("upgrade", func(t *testing.T) {
		done(t, "dpkg", "-i", deb)
		if out := done(t, "cellblock", "exec", "-c", "print(1)"); out != "1\n" {
			t.Errorf("%q", out)
		}
	})
	t.Run("a sudden end", func(t *testing.T) {
		done(t, "cellblock", "sessions", "new", "s")
		before, _ := filepath.Glob(serviceGroup(t) + "/cellblock-*")
		done(t, "systemctl", "kill", "--signal=KILL", "--kill-whom=main", "cellblock")
		deadline := time.Now().Add(2 * time.Minute)
		for {
			if out, err := command(t, "cellblock", "exec", "-c", "print(1)"); err == nil && out == "1\n" {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal(done(t, "journalctl", "-u", "cellblock", "-n", "30", "--no-pager"))
			}
			time.Sleep(time.Second)
		}
		for _, g := range before {
			if _, err := os.Stat(g); err == nil {
				t.Errorf("%s is left", g)
			}
		}
	})
	group := serviceGroup(t)
	done(t, "dpkg", "-P", "cellblock")
	for _, path := range []string{group, "/run/cellblock", "/var/lib/cellblock", "/etc/cellblock", "/usr/bin/cellblock", "/usr/lib/cellblock"} {
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s is left", path)
		}
	}
}
