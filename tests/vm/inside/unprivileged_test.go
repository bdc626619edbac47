//go:build vm

package inside

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// probe tries what the process that speaks HTTP must not be able to do, and
// prints for each whether it went well.
const probe = `
import ctypes, json, mmap, os, socket, sys
warden = int(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long] * 2 + [ctypes.c_void_p] * 2
def call(name, *args):
    if getattr(libc, name)(*args) < 0: raise OSError(ctypes.get_errno(), name)
def write(directory):
    path = directory + '/cellblock-probe'
    with open(path, 'w') as f: f.write('x')
    os.unlink(path)
def send(address):
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', (address, 9))
def in_child(f):
    r, w = os.pipe()
    if os.fork() == 0:
        try: f(); os.write(w, b'+')
        finally: os._exit(0)
    os.close(w)
    if os.read(r, 1) != b'+': raise OSError('refused')
    os.wait()
tries = {
    'write to ' + d: (lambda d=d: write(d)) for d in ['/etc', '/usr/lib', '/var/lib', '/var/lib/cellblock', '/run', '/run/cellblock', '/root', '/home', '/dev/shm']
} | {
    'make a group': lambda: (os.mkdir('/sys/fs/cgroup/cellblock-probe'), os.rmdir('/sys/fs/cgroup/cellblock-probe')),
    'signal to the warden': lambda: os.kill(warden, 0),
    'ptrace of the warden': lambda: in_child(lambda: call('ptrace', 0x4206, warden, 0, 0)), # SEIZE: it is not stopped
    'see the warden': lambda: os.stat(f'/proc/{warden}/status'),
    'memory of the warden': lambda: open(f'/proc/{warden}/mem', 'rb').close(),
    'packet socket': lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW),
    'netlink socket': lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
    'send to another machine': lambda: send('192.0.2.2'),
    'user namespace': lambda: in_child(lambda: call('unshare', 0x10000000)),
    'mount': lambda: call('mount', b'none', b'/tmp', b'tmpfs', 0, None) or call('umount', b'/tmp'),
    'become root': lambda: in_child(lambda: os.setuid(0)),
    'writable code': lambda: mmap.mmap(-1, 4096, prot=7),
    'read prepared roots': lambda: os.listdir('/var/lib/cellblock'),
    # What it is for.
    'send to this machine': lambda: send('127.0.0.1'),
    'ask the warden': lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM).connect('/run/cellblock-warden/warden.sock'),
}
def well(f):
    try: f(); return ''
    except BaseException as e: return str(e) or 'failed'
print(json.dumps({name: well(f) for name, f in tries.items()}))
`

// May the service do this?
var allowed = map[string]bool{"send to this machine": true, "ask the warden": true}

// unprivileged reads from the kernel what the process that speaks HTTP may do,
// and has a program try the rest under the same unit's settings.
func unprivileged(t *testing.T) {
	status := read(t, "/proc/"+ofUnit(t, "cellblock", "MainPID")+"/status")
	uid := strings.TrimSpace(done(t, "id", "-u", "cellblock-api"))
	for name, want := range map[string]string{
		"Uid": strings.Join([]string{uid, uid, uid, uid}, " "), "NoNewPrivs": "1", "Seccomp": "2",
		"CapInh": "0000000000000000", "CapPrm": "0000000000000000", "CapEff": "0000000000000000", "CapBnd": "0000000000000000", "CapAmb": "0000000000000000",
	} {
		_, rest, _ := strings.Cut(status, "\n"+name+":")
		line, _, _ := strings.Cut(rest, "\n")
		if got := strings.Join(strings.Fields(line), " "); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	for _, link := range []string{"type", "address"} { // another machine that could be sent to
		argv := map[string][]string{"type": {"ip", "link", "add", "probe0", "type", "dummy"}, "address": {"sh", "-c", "ip address add 192.0.2.1/24 dev probe0 && ip link set probe0 up"}}[link]
		done(t, argv...)
	}
	defer command(t, "ip", "link", "delete", "probe0")
	dir, err := os.MkdirTemp("/opt", "probe-") // which the unit can read
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/probe.py", []byte(probe), 0o644); err != nil {
		t.Fatal(err)
	}
	line := []string{"/usr/bin/python3", dir + "/probe.py", ofUnit(t, "cellblock-warden", "MainPID")}
	for name, why := range tried(t, exec.Command(line[0], line[1:]...)) {
		if why != "" {
			t.Errorf("what shows nothing: as root, without a unit, %s: %s", name, why)
		}
	}
	results := tried(t, sameUnit(t, line))
	for name, why := range results {
		if allowed[name] != (why == "") {
			t.Errorf("in the service's unit %s: %q", name, why)
		}
	}
	t.Logf("%v", results)
}

// tried runs the probe.
func tried(t *testing.T, cmd *exec.Cmd) map[string]string {
	t.Helper()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var results map[string]string
	if err := json.Unmarshal(out, &results); err != nil || len(results) < 20 {
		t.Fatalf("%v: %s", err, out)
	}
	return results
}

// sameUnit is a command in a unit that has every line of the service's own but
// what is started and when.
func sameUnit(t *testing.T, line []string) *exec.Cmd {
	t.Helper()
	const unit, name = "/run/systemd/system/", "cellblock-probe-" // not one that a glob of the package's finds
	service := name + strconv.Itoa(os.Getpid()) + ".service"
	files := map[string]string{
		unit + service: read(t, "/lib/systemd/system/cellblock.service"),
		unit + service + ".d/probe.conf": "[Unit]\nRequires=\n[Service]\nType=exec\nRestart=no\nWatchdogSec=0\nExecStart=\nExecStart=" + strings.Join(line, " ") +
			"\nStandardOutput=file:/run/cellblock-probe\n",
	}
	for path, text := range files {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		os.RemoveAll(unit + service + ".d")
		os.Remove(unit + service)
		os.Remove("/run/cellblock-probe")
		command(t, "systemctl", "daemon-reload")
	})
	done(t, "systemctl", "daemon-reload")
	return exec.Command("sh", "-c", "systemctl start --wait "+service+" || { journalctl -o cat --no-pager -u "+service+"; exit 1; }; cat /run/cellblock-probe")
}
