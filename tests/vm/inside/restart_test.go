//go:build vm

package inside

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cellblock/cellblock/internal/testkit"
)

// hasStore says whether systemd keeps descriptors and says so: from 254 on.
func hasStore(t *testing.T) bool {
	t.Helper()
	return systemd(t) >= 254
}

const journal = "journalctl -u cellblock -u cellblock-warden -n 60 --no-pager -o cat"

// wardenRestarts: sessions are there after it, and so is the other half.
func wardenRestarts(t *testing.T, holds func(*testing.T)) {
	service := ofUnit(t, "cellblock", "MainPID")
	for range 2 {
		before := ofUnit(t, "cellblock-warden", "MainPID")
		cells, _ := filepath.Glob(serviceGroup(t) + "/cellblock-*")
		done(t, "systemctl", "restart", "cellblock-warden")
		if after := ofUnit(t, "cellblock-warden", "MainPID"); after == before || after == "0" {
			t.Errorf("the warden's process was %s and is %s", before, after)
		}
		holds(t)
		if after := ofUnit(t, "cellblock", "MainPID"); after != service {
			t.Errorf("the service's process was %s and is %s\n%s", service, after, done(t, "sh", "-c", journal))
		}
		if n := ofUnit(t, "cellblock-warden", "NFileDescriptorStore"); n > "1" { // a box that is empty, at most
			t.Errorf("%s descriptors stay in the store", n)
		}
		limits, _ := filepath.Glob(serviceGroup(t) + "/cellblock-*/memory.max")
		var all []string
		for _, f := range limits {
			all = append(all, read(t, f))
		}
		if !strings.Contains(strings.Join(all, " "), "67108864") {
			t.Errorf("%v hold %v; there were %v", limits, all, cells)
		}
	}
	if _, err := ask("POST", "/v1/sessions", map[string]any{"id": "after"}); err != nil {
		t.Error(err)
	}
	if out := output(t, "after", "print(6*7)"); out != "42\n" {
		t.Errorf("a new session printed %q", out)
	}
	if _, err := ask("DELETE", "/v1/sessions/after", nil); err != nil && !strings.Contains(err.Error(), "end of JSON") {
		t.Error(err)
	}
}

// vanished waits until a unit's group has no process, and is there no more.
func vanished(t *testing.T, group string) {
	t.Helper()
	for deadline := time.Now().Add(testkit.Paced(20 * time.Second)); ; time.Sleep(50 * time.Millisecond) {
		_, err := os.Stat(group)
		if os.IsNotExist(err) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is there: %v\n%s\n%s", group, err, done(t, "systemd-cgls", "--no-pager", group[len(tree):]), done(t, "sh", "-c", journal))
		}
	}
}

var units = []string{"cellblock.socket", "cellblock.service", "cellblock-warden.socket", "cellblock-warden.service"}

// stopped: what is stored for a restart is dropped, and all ends.
func stopped(t *testing.T) {
	if _, err := ask("POST", "/v1/sessions", map[string]any{"id": "stopped"}); err != nil {
		t.Fatal(err)
	}
	output(t, "stopped", "import os\nif os.fork() == 0:\n  while True: pass")
	group := serviceGroup(t)
	done(t, append([]string{"systemctl", "stop"}, units...)...)
	vanished(t, group)
	done(t, append([]string{"systemctl", "start"}, units...)...)
	serving(t)
	if r, err := ask("GET", "/v1/sessions/stopped", nil); err == nil || !strings.Contains(err.Error(), "status 404") {
		t.Errorf("%v %v", r, err)
	}
	if out := done(t, "cellblock", "exec", "-c", "print(6*7)"); out != "42\n" {
		t.Errorf("%q", out)
	}
}

// withoutStore: where systemd does not say that it has one, a restart of the warden ends
// sessions, and leaves nothing.
func withoutStore(t *testing.T) {
	for _, how := range [][]string{{"restart", "cellblock-warden"}, {"kill", "--signal=KILL", "--kill-whom=main", "cellblock-warden"}} {
		if _, err := ask("POST", "/v1/sessions", map[string]any{"id": "old"}); err != nil {
			t.Fatal(err)
		}
		output(t, "old", "x = 1")
		before, _ := filepath.Glob(serviceGroup(t) + "/cellblock-*")
		pid := ofUnit(t, "cellblock-warden", "MainPID")
		done(t, append([]string{"systemctl"}, how...)...)
		for deadline := time.Now().Add(testkit.Paced(30 * time.Second)); ; time.Sleep(100 * time.Millisecond) {
			now := ofUnit(t, "cellblock-warden", "MainPID")
			_, err := ask("GET", "/v1/sessions/old", nil)
			if now != pid && now != "0" && err != nil && strings.Contains(err.Error(), "status 404") {
				break
			} else if time.Now().After(deadline) {
				t.Fatal(how, now, err, done(t, "sh", "-c", journal))
			}
		}
		for _, g := range before {
			if _, err := os.Stat(g); err == nil {
				t.Errorf("%v: %s is left", how, g)
			}
		}
		if out := done(t, "cellblock", "exec", "-c", "print(6*7)"); out != "42\n" {
			t.Errorf("%q", out)
		}
	}
	if text := done(t, "sh", "-c", fmt.Sprintf("%s | grep -c 'status=219' || true", journal)); strings.TrimSpace(text) != "0" {
		t.Errorf("the unit's group could not be entered %s times", strings.TrimSpace(text))
	}
}
