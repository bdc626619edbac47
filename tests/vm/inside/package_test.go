//go:build vm

package inside

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cellblock/cellblock/internal/testkit"
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
		log, _ := command(t, "journalctl", "-u", "cellblock", "-u", "cellblock-warden", "-n", "40", "--no-pager", "-o", "cat")
		t.Fatalf("%s: %v\n%s\n%s", strings.Join(argv, " "), err, out, log)
	}
	return out
}

// ofUnit is a property of a unit.
func ofUnit(t *testing.T, unit, property string) string {
	t.Helper()
	return strings.TrimSpace(done(t, "systemctl", "show", "-P", property, unit))
}

// serviceGroup is the directory of the group that cells are below.
func serviceGroup(t *testing.T) string {
	t.Helper()
	return tree + ofUnit(t, "cellblock-warden", "ControlGroup")
}

const deb = "/payload/bin/cellblock.deb"

// An api asks the service as a client of its socket does.
var api = http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "unix", "/run/cellblock/cellblock.sock")
}}}

// ask sends a request and reads the answer's fields.
func ask(method, path string, body any) (map[string]any, error) {
	b, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequest(method, "http://cellblock"+path, bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	answer, err := api.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if b, err = io.ReadAll(answer.Body); err != nil {
		return nil, err
	}
	if answer.StatusCode >= 300 {
		return nil, fmt.Errorf("status %d: %s", answer.StatusCode, b)
	}
	var fields map[string]any
	return fields, json.Unmarshal(b, &fields)
}

// output is what code in the session prints.
func output(t *testing.T, session, code string) string {
	t.Helper()
	r, err := ask("POST", "/v1/sessions/"+session+"/execute", map[string]any{"code": code})
	if err != nil {
		t.Fatal(err, done(t, "journalctl", "-u", "cellblock", "-u", "cellblock-warden", "-n", "40", "--no-pager", "-o", "cat"))
	}
	return fmt.Sprint(r["output"])
}

// serving waits until the service answers again.
func serving(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(testkit.Paced(30 * time.Second)); ; time.Sleep(100 * time.Millisecond) {
		_, err := ask("GET", "/v1/stats", nil)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err, done(t, "journalctl", "-u", "cellblock", "-u", "cellblock-warden", "-n", "40", "--no-pager", "-o", "cat"))
		}
	}
}

// next is the package with a higher version.
func next(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	done(t, "dpkg-deb", "--raw-extract", deb, dir+"/tree")
	control := read(t, dir+"/tree/DEBIAN/control")
	version := strings.TrimSpace(done(t, "dpkg-deb", "--field", deb, "Version"))
	if err := os.WriteFile(dir+"/tree/DEBIAN/control", []byte(strings.Replace(control, "Version: "+version, "Version: "+version+"+next", 1)+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	done(t, "dpkg-deb", "--root-owner-group", "-Znone", "--build", dir+"/tree", dir+"/next.deb")
	return dir + "/next.deb"
}

// The package installs, serves in two processes, of which the one that speaks
// HTTP may end in any way without the sessions, is upgraded, and leaves nothing
// when it is purged.
func TestPackage(t *testing.T) {
	done(t, "apt-get", "install", "-y", deb)
	defer command(t, "dpkg", "-P", "cellblock")
	for _, unit := range []string{"cellblock.service", "cellblock-warden.service", "cellblock.socket", "cellblock-warden.socket"} {
		if state := ofUnit(t, unit, "ActiveState"); state != "active" {
			t.Fatalf("%s is %s", unit, state)
		}
	}
	if out := done(t, "cellblock", "exec", "-c", "print(6*7)"); out != "42\n" {
		t.Errorf("%q", out)
	}
	if _, err := ask("POST", "/v1/sessions", map[string]any{"id": "s", "limits": map[string]any{"memory": "64M"}}); err != nil {
		t.Fatal(err)
	}
	output(t, "s", "x = 1")
	holds := func(t *testing.T) {
		t.Helper()
		if out := output(t, "s", "print(x)"); out != "1\n" {
			t.Errorf("the session's variable is %q", out)
		}
	}
	t.Run("limits are the warden's groups", func(t *testing.T) {
		limits, _ := filepath.Glob(serviceGroup(t) + "/cellblock-*/memory.max")
		var all []string
		for _, f := range limits {
			all = append(all, read(t, f))
		}
		if !strings.Contains(strings.Join(all, " "), "67108864") {
			t.Errorf("%v hold %v", limits, all)
		}
		shown := done(t, "systemd-cgls", "--no-pager", "--all", "--unit", "cellblock-warden.service")
		for _, f := range limits {
			if name := filepath.Base(filepath.Dir(f)); !strings.Contains(shown, name) {
				t.Errorf("%s is not in\n%s", name, shown)
			}
		}
		if out, err := command(t, "cellblock", "exec", "--session", "s", "-c", "bytearray(1<<30)"); err == nil || !strings.Contains(out, "MemoryError") {
			t.Errorf("%v %s", err, out)
		}
		holds(t)
		r, err := ask("POST", "/v1/sessions/other/execute", map[string]any{"code": "import mmap\nm = mmap.mmap(-1, 1 << 30)\nfor i in range(0, 1 << 30, 4096): m[i] = 1"})
		if err == nil {
			t.Errorf("a session that was not made: %v", r)
		}
		if _, err := ask("POST", "/v1/sessions", map[string]any{"id": "other", "limits": map[string]any{"memory": "64M"}}); err != nil {
			t.Fatal(err)
		}
		r, err = ask("POST", "/v1/sessions/other/execute", map[string]any{"code": "import mmap\nm = mmap.mmap(-1, 1 << 30)\nfor i in range(0, 1 << 30, 4096): m[i] = 1"})
		if err != nil || r["verdict"] != "out-of-memory" {
			t.Errorf("%v %v", r["verdict"], err)
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
	t.Run("the unprivileged half", unprivileged)
	t.Run("AppArmor", allowedByProfile)
	t.Run("restart", func(t *testing.T) {
		before := ofUnit(t, "cellblock", "MainPID")
		done(t, "systemctl", "restart", "cellblock")
		if after := ofUnit(t, "cellblock", "MainPID"); after == before {
			t.Error("it is the same process")
		}
		holds(t)
	})
	t.Run("a sudden end", suddenEnd)
	holds(t)
	t.Run("restart of the warden", func(t *testing.T) {
		if hasStore(t) {
			wardenRestarts(t, holds)
		}
	})
	t.Run("upgrade", func(t *testing.T) {
		warden, before := ofUnit(t, "cellblock-warden", "MainPID"), ofUnit(t, "cellblock", "MainPID")
		out := done(t, "apt-get", "install", "-y", next(t))
		said, stays := "the new warden runs, and has the sessions of the one before", false
		if !hasStore(t) {
			said, stays = "`systemctl restart cellblock-warden` ends them and starts the new one", true
		}
		if !strings.Contains(out, said) {
			t.Errorf("the upgrade does not say what became of sessions:\n%s", out)
		}
		if after := ofUnit(t, "cellblock", "MainPID"); after == before || after == "0" {
			t.Errorf("the service's process was %s and is %s", before, after)
		}
		if after := ofUnit(t, "cellblock-warden", "MainPID"); (after == warden) != stays || after == "0" {
			t.Errorf("the warden's process was %s and is %s", warden, after)
		}
		holds(t)
	})
	t.Run("the warden's sudden end", func(t *testing.T) {
		before, _ := filepath.Glob(serviceGroup(t) + "/cellblock-*")
		if len(before) == 0 {
			t.Fatal("there is no cell")
		}
		warden := ofUnit(t, "cellblock-warden", "MainPID")
		done(t, "systemctl", "kill", "--signal=KILL", "--kill-whom=main", "cellblock-warden")
		for deadline := time.Now().Add(testkit.Paced(30 * time.Second)); ; time.Sleep(100 * time.Millisecond) {
			now := ofUnit(t, "cellblock-warden", "MainPID")
			if out, err := command(t, "cellblock", "exec", "-c", "print(1)"); err == nil && out == "1\n" && now != warden && now != "0" {
				break
			} else if time.Now().After(deadline) {
				t.Fatal(out, done(t, "journalctl", "-u", "cellblock", "-u", "cellblock-warden", "-n", "40", "--no-pager"))
			}
		}
		for _, g := range before {
			if _, err := os.Stat(g); err == nil {
				t.Errorf("%s is left", g)
			}
		}
	})
	t.Run("stop", stopped)
	t.Run("a systemd without a store", func(t *testing.T) {
		if !hasStore(t) {
			withoutStore(t)
		}
	})
	t.Run("score", func(t *testing.T) {
		// In tenths of systemd's own measure, of 100 for a unit that restricts nothing.
		for unit, most := range map[string]string{"cellblock.service": "12", "cellblock-warden.service": "65"} {
			if out, err := command(t, "systemd-analyze", "security", "--no-pager", "--threshold="+most, unit); err != nil {
				t.Errorf("%s: %v\n%s", unit, err, out)
			} else {
				t.Log(lastOf(out))
			}
		}
	})
	removed(t)
}

func lastOf(out string) string {
	lines := strings.Split(strings.TrimSpace(out), "\n")
	return lines[len(lines)-1]
}

// restricted is a profile that lets its programs make no user namespace, as Ubuntu
// does with all that have none.
const restricted = `abi <abi/4.0>,
profile cellblock-test-restricted {
  file,
  capability,
  signal,
  unix,
  network,
  ptrace,
  mount,
  umount,
  pivot_root,
  dbus,
  /usr/bin/cellblock px -> cellblock,
}
`

// restrictsNamespaces says whether AppArmor can withhold user namespaces: from
// version 4 on. Before, it does not even know the words of the package's profile.
func restrictsNamespaces(t *testing.T) bool {
	t.Helper()
	return !strings.Contains(done(t, "apparmor_parser", "--version"), "version 3.")
}

// allowedByProfile: the package's profile gives its programs what AppArmor
// withholds from others.
func allowedByProfile(t *testing.T) {
	if !restrictsNamespaces(t) {
		if _, err := os.Lstat("/etc/apparmor.d/cellblock"); err == nil {
			t.Error("there is a profile that this AppArmor cannot read")
		}
		return
	}
	if out := done(t, "cellblock", "doctor"); !strings.Contains(strings.Join(strings.Fields(out), " "), "apparmor available profile cellblock (unconfined)") {
		t.Errorf("the doctor does not name the profile:\n%s", out)
	}
	file := filepath.Join(t.TempDir(), "restricted")
	if err := os.WriteFile(file, []byte(restricted), 0o644); err != nil {
		t.Fatal(err)
	}
	done(t, "apparmor_parser", "-r", "-K", file)
	defer done(t, "apparmor_parser", "-R", file)
	places(t) // for the user
	as := func(program string) (string, error) {
		return command(t, "su", "-l", userName, "-c", "aa-exec -p cellblock-test-restricted -- sh -c \"exec "+program+"\"; exit $?")
	}
	if out, err := as("unshare -U true"); err == nil || !strings.Contains(out, "Permission denied") {
		t.Errorf("a program without the profile: %v\n%s", err, out)
	}
	if out, err := as("/usr/bin/cellblock run --without cgroup -c 'print(6*7)'"); err != nil || !strings.HasSuffix(out, "42\n") {
		t.Errorf("the package's program: %v\n%s", err, out)
	}
}

// suddenEnd kills the service in the middle of an execution: what came of that
// is to be had after it.
func suddenEnd(t *testing.T) {
	pid := ofUnit(t, "cellblock", "MainPID")
	ended := make(chan error, 1)
	go func() {
		_, err := ask("POST", "/v1/sessions/s/execute", map[string]any{"code": "import os, time\nopen('began', 'w').close()\nwhile not os.path.exists('go'): time.sleep(0.1)\nlate = 7\nprint('done')"})
		ended <- err
	}()
	for deadline := time.Now().Add(testkit.Paced(20 * time.Second)); ; time.Sleep(50 * time.Millisecond) {
		list, err := ask("GET", "/v1/sessions/s/files", nil)
		if err == nil && strings.Contains(fmt.Sprint(list), "began") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(list, err)
		}
	}
	done(t, "systemctl", "kill", "--signal=KILL", "--kill-whom=main", "cellblock")
	if err := <-ended; err == nil {
		t.Error("the client whose service was killed got an answer")
	}
	serving(t)
	if now := ofUnit(t, "cellblock", "MainPID"); now == pid || now == "0" {
		t.Errorf("the process was %s and is %s", pid, now)
	}
	r, err := http.NewRequest("PUT", "http://cellblock/v1/sessions/s/files/go", strings.NewReader("go"))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := api.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	result, err := ask("GET", "/v1/sessions/s/result", nil)
	if err != nil || result["output"] != "done\n" || result["success"] != true {
		t.Errorf("the result is %v (%v)", result, err)
	}
	if out := output(t, "s", "print(x, late)"); out != "1 7\n" {
		t.Errorf("the session has %q", out)
	}
}

// removed purges the package and looks for what is left.
func removed(t *testing.T) {
	group := serviceGroup(t)
	done(t, "apt-get", "purge", "-y", "cellblock")
	for _, path := range []string{
		group, tree + "/system.slice/cellblock.service", "/run/cellblock", "/run/cellblock-warden", "/var/lib/cellblock", "/etc/cellblock", "/usr/bin/cellblock",
		"/usr/lib/cellblock", "/usr/share/cellblock", "/etc/apparmor.d/cellblock",
	} {
		if _, err := os.Lstat(path); err == nil {
			t.Errorf("%s is left", path)
		}
	}
	if units := done(t, "systemctl", "list-units", "--all", "--plain", "--no-legend", "cellblock.*", "cellblock-warden.*"); strings.TrimSpace(units) != "" {
		t.Errorf("units are left:\n%s", units)
	}
	if files := done(t, "sh", "-c", "systemctl list-unit-files --no-legend 'cellblock.*' 'cellblock-warden.*' || true"); strings.TrimSpace(files) != "" {
		t.Errorf("files of units are left:\n%s", files)
	}
	for _, file := range []string{"/proc/self/mountinfo", "/sys/kernel/security/apparmor/profiles"} {
		for line := range strings.Lines(read(t, file)) {
			if strings.Contains(line, "/cellblock") || strings.HasPrefix(line, "cellblock") {
				t.Errorf("%s has %s", file, line)
			}
		}
	}
	links, _ := filepath.Glob("/proc/[0-9]*/exe")
	for _, link := range links {
		if exe, err := os.Readlink(link); err == nil && (strings.HasPrefix(exe, "/usr/lib/cellblock") || strings.HasPrefix(exe, "/usr/bin/cellblock")) {
			t.Errorf("%s runs %s", filepath.Dir(link), exe)
		}
	}
	// As Debian has it, the number is never given to somebody else.
	done(t, "getent", "passwd", "cellblock-api")
}
