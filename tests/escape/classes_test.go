package escape

import (
	"os"
	"strings"
	"testing"

	"github.com/cellblock/cellblock/executor"
)

// TestKnownHoles plays what once led out of runc, bubblewrap, nsjail, isolate,
// snekbox, dify-sandbox and others, or is of that kind.
func TestKnownHoles(t *testing.T) { table(t, classProbes) }

var classProbes = []probe{
	// runc
	{n: "17", name: "the program of a process that the init starts (CVE-2019-5736)", code: `
# Each upload is written by a process that begins as the init's. A child looks
# out for it and wants its program, root, memory or descriptors.
r, w = os.pipe()
pid = os.fork()
if pid == 0:
    seen, got = set(), set()
    os.write(w, b'x')
    end = time.monotonic() + 30
    while time.monotonic() < end and not os.path.exists('/tmp/stop'):
        for p in os.listdir('/proc'):
            if p.isdigit() and int(p) not in (1, os.getpid(), os.getppid()):
                seen.add(p)
                for what in ('exe', 'root/etc', 'cwd', 'fd/3', 'fd/0'):
                    try: os.close(os.open('/proc/%s/%s' % (p, what), os.O_PATH)); got.add(what)
                    except OSError: pass
                for what, mode in (('mem', os.O_RDWR), ('exe', os.O_WRONLY), ('environ', os.O_RDONLY), ('maps', os.O_RDONLY)):
                    try:
                        with open('/proc/%s/%s' % (p, what), 'rb', 0, opener=lambda n, f: os.open(n, mode)) as f:
                            # Of one that has ended, the file opens and is empty.
                            if mode != os.O_RDONLY or f.read(1): got.add(what)
                    except OSError: pass
    open('/tmp/seen', 'w').write('%d %s' % (len(seen) > 0, sorted(got)))
    os._exit(0)
os.read(r, 1)
`, then: func(t *testing.T, s *stage, _ executor.Result) {
		src := s.dir + "/upload"
		must(t, os.WriteFile(src, make([]byte, 1<<20), 0o644))
		defer os.Remove(src)
		for range 40 {
			must(t, s.session.PutFile(t.Context(), src, "upload"))
		}
		r := s.run(t, s.session, executor.Request{Code: "open('/tmp/stop', 'w').close(); os.waitpid(pid, 0); print(open('/tmp/seen').read())"})
		if r.Output != "1 []\n" {
			t.Errorf("looking for the init's children found %q (%s)", r.Output, deref(r.Error))
		}
	}},
	{n: "22", name: "a working directory that leads out (CVE-2024-21626)", code: `
print(os.getcwd(), os.readlink('/proc/self/cwd'), os.readlink('/proc/self/root'))
got = set()
for fd in range(0, 64):
    for up in ('', '/..', '/../..', '/../../../../../..'):
        if E(os.chdir, '/proc/self/fd/%d%s' % (fd, up)) == 'ok': got.add(os.getcwd())
        os.chdir('/workspace')
print(got, os.path.samefile('/proc/self/cwd/../../../..', '/'))
`, want: "/workspace /workspace /\nset() True"},
	{n: "19", name: "what masks and devices can be swapped for (CVE-2025-31133, CVE-2025-52565)", code: `
odd('EROFS', {(f.__name__, p): E(f, p, *a) for p in ('/dev/null', '/dev/full', '/dev/urandom') for f, a in ((os.unlink, ()), (os.rename, ('/dev/x',)), (os.chmod, (0o777,)), (os.utime, ()))})
print(E(os.stat, '/dev/console'), E(os.stat, '/dev/pts'), E(os.stat, '/dev/ptmx'), E(os.symlink, 'x', '/dev/console'))
import stat
print([(os.major(os.stat('/dev/' + d).st_rdev), os.minor(os.stat('/dev/' + d).st_rdev)) for d in ('null', 'zero', 'full', 'random', 'urandom')])
`, want: "EROFS\nENOENT ENOENT ENOENT EROFS\n[(1, 3), (1, 5), (1, 7), (1, 8), (1, 9)]"},
	{n: "19", name: "files of /proc that can be written to (CVE-2025-52881)", code: `
got = {}
for top in ('/proc/self', '/proc/thread-self', '/proc/1', '/proc/self/task/%d' % os.getpid(), '/proc'):
    for name in sorted(os.listdir(top)):
        p = top + '/' + name
        if not os.path.islink(p) and not os.path.isdir(p):
            got[p] = E(os.open, p, os.O_WRONLY)
print(len(got) > 60)
odd('EROFS/EACCES/EPERM/ENOENT', got)
odd('ENOENT/EROFS/EACCES/ENOTDIR', {p: E(os.open, '/proc/' + p, os.O_WRONLY) for p in 'sys/kernel/core_pattern sysrq-trigger self/attr/exec self/attr/apparmor/exec self/attr/current self/attr/fscreate self/uid_map self/gid_map self/projid_map self/setgroups self/timens_offsets self/oom_adj self/make-it-fail self/fail-nth self/mem self/clear_refs 1/oom_score_adj'.split()})
`, want: "True\nEROFS/EACCES/EPERM/ENOENT\nENOENT/EROFS/EACCES/ENOTDIR"},

	// bubblewrap, nsjail
	{n: "89", name: "namespaces by their files", code: `
names = 'cgroup ipc mnt net pid pid_for_children time time_for_children user uts'.split()
print(E(os.listdir, '/proc/self/ns'), E(os.listdir, '/proc/1/ns'))
fds = {n: os.open('/proc/self/ns/' + n, os.O_RDONLY) for n in names if E(os.open, '/proc/self/ns/' + n, os.O_RDONLY) == 'ok'}
b = ctypes.create_string_buffer(64)
odd('ENOTTY', {(n, q): S('ioctl', fd, q, b) for n, fd in list(fds.items()) + [('null', os.open('/dev/null', 0))] for q in (0xb701, 0xb702, 0xb703, 0xb704, 0x8008b705, 0x8004b706, 0x8004b707, 0x8004b708, 0x8004b709, 0x8010b70a, 0x8010b70b, 0x8010b70c)})
odd('EPERM', {n: S('setns', fd, 0) for n, fd in list(fds.items()) + [('none', -1)]})
odd('EACCES', {(p, n): E(os.open, '/proc/%s/ns/%s' % (p, n), os.O_RDONLY) for p in ('1',) for n in names})
`, want: "EACCES EACCES\nENOTTY\nEPERM\nEACCES"},
	{n: "89", name: "namespaces from a thread, a fork and a vfork child", code: `
import threading
def go(): return S('unshare', 0x10000000) + S('clone', 0x10000011, 0, 0, 0, 0) + S('setns', 3, 0)
def tell(): os.write(1, go().encode() + b'\n')
t = threading.Thread(target=tell); t.start(); t.join()
child(tell); child(child, tell)
`, want: "EPERMEPERMEPERM\nEPERMEPERMEPERM\nEPERMEPERMEPERM"},
	{n: "96", name: "keystrokes for whoever started the host (CVE-2017-5226, CVE-2019-7303)", code: `
b = ctypes.create_string_buffer(b'x')
odd('ENOTTY', {(fd, hex(q)): S('ioctl', fd, q, b) for fd in (0, 1, 2) for q in (0x5412, 1 << 32 | 0x5412, 0xdead << 32 | 0x5412, 1 << 63 | 0x5412, 0x541c, 7 << 32 | 0x541c, 0x540e, 0x5410, 0x5422, 0x5480, 0x80045430, 0x5441)})
print(E(os.tcsetpgrp, 0, 1), E(os.ttyname, 0), E(os.ctermid), E(os.open, os.ctermid(), os.O_RDWR), status('NSpgid') != None)
`, want: "ENOTTY\nENOTTY ENOTTY ok ENOENT True"},

	// isolate, Judge0
	{n: "30", name: "a link where the host writes the code (CVE-2024-28185)", folder: true, code: `
for n in ('script.py', 'main.py', 'input.csv', 'run', 'stdout', 'out'):
    try: os.unlink(n)
    except OSError: pass
    os.symlink('@CANARY@/secret', n)
os.symlink('@CANARY@', 'sub')
`, then: func(t *testing.T, s *stage, _ executor.Result) {
		s.contained(t)
		src := s.dir + "/input"
		must(t, os.WriteFile(src, []byte("mine"), 0o644))
		defer os.Remove(src)
		for _, name := range []string{"input.csv", "script.py"} {
			r, err := s.session.Execute(t.Context(), executor.Request{Code: "1", InputFiles: map[string]string{src: name}})
			if err == nil && !r.Success && r.Error == nil {
				t.Errorf("%s: %s", name, r.Verdict)
			}
		}
		s.again(t, "for n in os.listdir('.'):\n    if os.path.islink(n): os.unlink(n)")
		s.contained(t)
	}},
	{n: "30", name: "a link for the host's change of owner (CVE-2024-28189)", folder: true, code: `
os.mkdir('box'); open('box/x', 'w').write('x')
os.rename('box', 'was'); os.symlink('@CANARY@', 'box')
os.link('was/x', 'hard')
`, then: func(t *testing.T, s *stage, _ executor.Result) {
		s.contained(t)
		s.again(t, "os.unlink('box')")
		for _, name := range s.list(t) {
			if strings.HasPrefix(name, "box/") {
				t.Errorf("%s came out through a link", name)
			}
		}
	}},

	// snekbox
	{n: "57", name: "private memory of many children", code: `
for _ in range(8):
    if os.fork() == 0:
        kept = bytearray(48 << 20)
        for i in range(0, len(kept), 4096): kept[i] = 1
        time.sleep(10); os._exit(0)
time.sleep(10)
`, verdict: executor.VerdictOutOfMemory, lost: true},
	{n: "59", name: "memory of children that have gone", code: `
for i in range(40):
    pid = os.fork()
    if pid == 0:
        with open('/dev/shm/%d' % (i % 4), 'wb', 0) as f: f.write(bytes(4 << 20))
        os._exit(0)
    os.waitpid(pid, 0)
print(sum(os.stat('/dev/shm/' + f).st_size for f in os.listdir('/dev/shm')) >> 20)
`, want: "16"},

	// dify-sandbox
	{n: "12", name: "what a later REPL would import", code: `
for n in ('sitecustomize', 'usercustomize', 'json', 'encodings', 'os', 'ctypes', 'struct', 'cellrepl', 'random', 'codeop', 'linecache', 'ast'):
    for d in ('/workspace', '/tmp'):
        open('%s/%s.py' % (d, n), 'w').write('open("/tmp/ran-%s", "w").close()\nraise SystemExit(3)\n' % n)
os.makedirs('/workspace/.local/lib/python3.%d/site-packages' % sys.version_info[1]); open('/workspace/evil.pth', 'w').write('import os; open("/tmp/ran-pth", "w")\n')
os.environ.update(LD_PRELOAD='/tmp/x.so', PYTHONPATH='/tmp', PYTHONSTARTUP='/tmp/os.py', PYTHONINSPECT='1', LD_LIBRARY_PATH='/tmp')
os._exit(0)
`, verdict: executor.VerdictExit, lost: true, then: func(t *testing.T, s *stage, _ executor.Result) {
		r := s.run(t, s.session, executor.Request{Code: `
import os, sys
print([n for n in os.listdir('/tmp') if n.startswith('ran-')], {k for k in os.environ if k.startswith(('LD_', 'PYTHON'))})
print([l.split()[1] for l in open('/proc/self/status') if l.startswith(('Seccomp', 'NoNewPrivs', 'CapEff'))])
`})
		if r.Output != "[] set()\n['0000000000000000', '1', '2', '2']\n" {
			t.Errorf("the next REPL says %q (%s %s)", r.Output, r.Verdict, deref(r.Error))
		}
	}, lostLater: true},
	{n: "11", name: "the filters' own library and table", code: `
odd('EROFS/EACCES', dict(enumerate([E(open, '/cellblock/lock.so', 'r+b'), E(os.unlink, '/cellblock/lock.so'), E(os.rename, '/cellblock', '/cellblock2'), E(open, '/etc/ld.so.preload', 'w'), E(open, '/etc/ld.so.cache', 'w'), E(os.symlink, '/tmp', '/etc/ld.so.conf')])))
def jump():
    # A clean copy of prctl's way: from another thread, and with TSYNC.
    return [S('seccomp', 1, f, 0) for f in (0, 1, 2, 4, 16, 32)]
print(set(jump()), set(R('prctl', o) for o in (21,)))
lib = ctypes.CDLL('/cellblock/lock.so')
print(status('Seccomp_filters'))
`, want: "EROFS/EACCES\n{'EPERM'} {2}\n2"},
	{n: "9", name: "a library in memory is machine code, and no program", code: `
import _ctypes
m = os.memfd_create('x', os.MFD_ALLOW_SEALING); os.write(m, open(_ctypes.__file__, 'rb').read())
argv = (ctypes.c_char_p * 2)(b'x', None)
print(E(ctypes.CDLL, '/proc/self/fd/%d' % m), S('execveat', m, b'', argv, 0, 0x1000), S('execve', b'/proc/self/fd/%d' % m, argv, 0), status('Seccomp_filters'), R('prctl', 3))
`, want: "ok EPERM EPERM 2 0"},
}
