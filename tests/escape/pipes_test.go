package escape

import (
	"strings"
	"testing"
	"time"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/internal/testkit"
)

// TestPipesAndDescriptors plays on what passes between a cell and the host, and
// on what a descriptor can be turned into.
func TestPipesAndDescriptors(t *testing.T) { table(t, pipeProbes) }

var pipeProbes = []probe{
	{n: "4", name: "who is at the other end of the control channel", code: `
c = socket.socket(fileno=os.dup(3)); a, b = socket.socketpair()
print(struct.unpack('3i', c.getsockopt(1, 17, 12))[0], all(i in (0, 1, 65534) for i in struct.unpack('3I', c.getsockopt(1, 17, 12))[1:]))
odd('ENOPROTOOPT', {(s.fileno(), o): E(s.getsockopt, 1, o, 64) for s in (c, a) for o in (31, 34, 59, 77, 16, 23, 28, 47, 55, 56)})
odd('ENOPROTOOPT', {(s.fileno(), o, l): E(s.setsockopt, l, o, struct.pack('ii', 1, 1)) for s in (c, a) for l in (1, 0, 6, 41) for o in (16, 34, 26, 27, 36, 44, 50, 51, 52, 32, 33, 12, 5, 25, 46, 76, 83) if (l, o) not in ((1, 7), (1, 8))})
print(E(c.getpeername), E(c.getsockname), c.getpeername() == '')
`, want: "0 True\nENOPROTOOPT\nENOPROTOOPT\nok ok True"},
	{n: "4", name: "descriptors by ancillary data, whatever the call", code: `
a, b = socket.socketpair()
data = ctypes.create_string_buffer(b'x'); iov = struct.pack('QQ', ctypes.addressof(data), 1)
iovb = ctypes.create_string_buffer(iov)
def message(kind, body):
    control = struct.pack('Qii', 16 + len(body), 1, kind) + body
    c = ctypes.create_string_buffer(control + bytes(-len(control) % 8))
    return ctypes.create_string_buffer(struct.pack('QIxxxxQQQQixxxx', 0, 0, ctypes.addressof(iovb), 1, ctypes.addressof(c), len(control), 0)), c
odd('EPERM', {(k, fd, c): S(c, fd, message(k, body)[0], *x) for fd in (3, a.fileno()) for k, body in ((1, struct.pack('i', 0)), (2, struct.pack('iii', 1, 0, 0)), (4, struct.pack('i', 1))) for c, x in (('sendmsg', (0,)), ('sendmmsg', (1, 0)), ('recvmsg', (0,)), ('recvmmsg', (1, 0, 0)))})
print(E(os.pidfd_getfd if hasattr(os, 'pidfd_getfd') else lambda *a: os.kill(1, 9), 1, 0))
`, want: "EPERM\nEPERM", match: true},
	{n: "74", name: "splice into the control channel", code: `
r, w = os.pipe(); os.write(w, b'\xff' * 4096)
n = R('splice', r, 0, 3, 0, 4096, 0)
time.sleep(5)
`, verdict: executor.VerdictCrashed, lost: true, within: 5 * time.Second},
	{n: "74", name: "sendfile into the control channel", code: `
open('f', 'wb').write(b'\xff' * 4096)
os.sendfile(3, os.open('f', os.O_RDONLY), 0, 4096)
time.sleep(5)
`, verdict: executor.VerdictCrashed, lost: true, within: 5 * time.Second},
	{n: "74", name: "reading what the host sends", code: `
pid = os.fork()
if pid == 0:
    os.setsid()
    while True:
        try: os.read(3, 65536)
        except OSError: time.sleep(0.01)
time.sleep(0.1)
`, anyLost: true, then: func(t *testing.T, s *stage, _ executor.Result) {
		r := s.run(t, s.session, executor.Request{Code: "print('mine')", Timeout: testkit.Paced(time.Second)})
		if r.Verdict == executor.VerdictOK && r.Output != "mine\n" {
			t.Errorf("%q", r.Output)
		}
		s.run(t, s.session, executor.Request{Code: "import os; os._exit(0)", Timeout: testkit.Paced(time.Second)})
	}},
	{n: "74", name: "pages of a process in a pipe", code: `
r, w = os.pipe(); r2, w2 = os.pipe(); b = ctypes.create_string_buffer(4096)
iov = ctypes.create_string_buffer(struct.pack('QQ', ctypes.addressof(b), 4096))
odd('ENOSYS', {fd: S('vmsplice', fd, iov, 1, f) for fd in (1, 2, w, r) for f in (0, 8)})
odd('ENOSYS', {fd: S('tee', r, fd, 1, 0) for fd in (1, 2, w2)})
print(S('splice', os.open(PYTHON, 0), 0, w, 0, 4096, 0), os.read(r, 4) == b'\x7fELF')
# CVE-2022-0847: what is written after it must not reach the file.
os.write(w, b'pwned'); print(open(PYTHON, 'rb').read(4096).find(b'pwned'))
`, want: "ENOSYS\nENOSYS\nok True\n-1"},
	{n: "69", name: "the pipe of the output resized", code: `
import fcntl
print([E(fcntl.fcntl, fd, 1031, n) for fd in (1, 2) for n in (4096, 1 << 20)], E(fcntl.fcntl, 1, 1031, 1 << 31) != 'ok', flush=True)
fcntl.fcntl(1, 1031, 4096)
for i in range(3000): os.write(1, b'%099d\n' % i)
fcntl.fcntl(1, fcntl.F_SETFL, os.O_NONBLOCK)
`, match: true, want: "['ok', 'ok', 'ok', 'ok'] True", then: func(t *testing.T, s *stage, r executor.Result) {
		if n := strings.Count(r.Output, "\n"); n != 3001 {
			t.Errorf("%d lines came through a pipe of one page, want 3001", n)
		}
		s.again(t, "import fcntl; fcntl.fcntl(1, fcntl.F_SETFL, 0)")
	}},
	{n: "69", name: "output without an end from a child", code: `
r, w = os.pipe()
pid = os.fork()
if pid == 0:
    os.write(1, b'y' * 65536); os.write(w, b'x')
    while True: os.write(1, b'y' * 65536)
os.read(r, 1)
`, anyVerdict: true, anyLost: true, match: true, want: "y", then: func(t *testing.T, s *stage, r executor.Result) {
		if len(r.Output) > 1<<20 {
			t.Errorf("%d bytes were kept", len(r.Output))
		}
		s.run(t, s.session, executor.Request{Code: "import os; os._exit(0)"})
	}},
	{n: "65", name: "pipes and pairs filled to the brim", code: `
kept = []
try:
    while True:
        r, w = os.pipe(); os.set_blocking(w, False); kept += [r, w]
        try:
            while True: os.write(w, bytes(65536))
        except BlockingIOError: pass
except OSError as e: print(errno.errorcode[e.errno], flush=True)
for fd in kept: os.close(fd)
pairs = []
try:
    while True:
        a, b = socket.socketpair(); a.setblocking(False); pairs.append((a, b))
        try:
            while True: a.send(bytes(65536))
        except BlockingIOError: pass
except OSError as e: print(errno.errorcode[e.errno])
`, anyVerdict: true, anyLost: true, match: true, within: 30 * time.Second, then: func(t *testing.T, s *stage, r executor.Result) {
		if r.Usage.MemoryPeakBytes > 100<<20 {
			t.Errorf("took %d bytes of 96 MiB", r.Usage.MemoryPeakBytes)
		}
		if r.Verdict != executor.VerdictOutOfMemory && !strings.Contains(r.Output, "EMFILE") {
			t.Errorf("ended with %s and %q", r.Verdict, r.Output)
		}
	}},
	{n: "65", name: "queues and semaphores of every kind", code: `
b = ctypes.create_string_buffer(256)
odd('ENOSYS', {c: S(c, *a) for c, a in {'mq_open': (b'/q', 0o102, 0o600, 0), 'mq_unlink': (b'/q',), 'mq_timedsend': (0, b, 1, 0, 0), 'mq_timedreceive': (0, b, 256, 0, 0), 'mq_notify': (0, b), 'mq_getsetattr': (0, b, 0),
    'shmget': (1, 4096, 0o1666), 'shmat': (0, 0, 0), 'shmdt': (0,), 'shmctl': (0, 0, b), 'semget': (1, 1, 0o1666), 'semop': (0, b, 1), 'semtimedop': (0, b, 1, 0), 'semctl': (0, 0, 0, 0),
    'msgget': (1, 0o1666), 'msgsnd': (0, b, 1, 0), 'msgrcv': (0, b, 1, 0, 0), 'msgctl': (0, 0, b)}.items()})
print(E(os.stat, '/dev/mqueue'), E(open, '/proc/sysvipc/shm'))
`, want: "ENOSYS\nENOENT ENOENT"},
	{n: "20", name: "files without a name, and names for them", code: `
f = os.open('/workspace', os.O_TMPFILE | os.O_RDWR, 0o6777)
name = b'/proc/self/fd/%d' % f
print(S('linkat', -100, name, -100, b'/usr/planted', 0x400), S('linkat', -100, name, -100, b'/workspace/mine', 0x400), oct(os.stat('/workspace/mine').st_mode))
print(S('linkat', f, b'', -100, b'/workspace/other', 0x1000) in ('ok', 'ENOENT'), E(os.open, '/usr', os.O_TMPFILE | os.O_RDWR), E(os.open, '/', os.O_TMPFILE | os.O_RDWR))
p = os.open(PYTHON, os.O_PATH)
odd('EXDEV/EROFS/ENOENT', {d: S('linkat', p, b'', -100, d, 0x1000) for d in (b'/workspace/p', b'/tmp/p', b'/usr/p')})
odd('EROFS/EBADF/EPERM', {n: S(*a) for n, a in {'fchmodat2': ('fchmodat2', p, b'', 0o777, 0x1000), 'fchownat': ('fchownat', p, b'', 1, 1, 0x1000), 'fchmod': ('fchmod', p, 0o777), 'ftruncate': ('ftruncate', p, 0), 'utimensat': ('utimensat', p, 0, 0, 0), 'fallocate': ('fallocate', p, 0, 0, 1)}.items()})
`, want: "EROFS ok 0o106755\nTrue EROFS EROFS\nEXDEV/EROFS/ENOENT\nEROFS/EBADF/EPERM"},
	{n: "12", name: "a mapping that outlives its descriptor", code: `
_libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
for d in ('/workspace', '/tmp', '/dev/shm'):
    f = os.open(d + '/m', os.O_RDWR | os.O_CREAT); os.ftruncate(f, 4096)
    m = mmap.mmap(f, 4096); os.close(f); os.unlink(d + '/m')
    print(E(mmap.mmap, os.open(d, os.O_RDONLY), 4096), _libc.mprotect(ctypes.addressof(ctypes.c_char.from_buffer(m)), 4096, 5), errno.errorcode[ctypes.get_errno()])
q = os.open(PYTHON, os.O_RDONLY)
print(E(mmap.mmap, q, 4096, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE))
m = mmap.mmap(q, 4096, mmap.MAP_SHARED, mmap.PROT_READ)
_libc.mmap.restype = ctypes.c_void_p
p = _libc.mmap(None, 4096, 1, 1, q, 0); ctypes.set_errno(0)
print(_libc.mprotect(p, 4096, 3), errno.errorcode[ctypes.get_errno()])
`, want: "EACCES -1 EACCES\nEACCES -1 EACCES\nEACCES -1 EACCES\nEACCES\n-1 EACCES"},
	{n: "59", name: "seals of a memory file are its own", code: `
import fcntl
m = os.memfd_create('m', os.MFD_ALLOW_SEALING); os.write(m, b'x' * 4096)
r = os.open('/proc/self/fd/%d' % m, os.O_RDWR)
print(E(fcntl.fcntl, m, 1033, 15), E(os.write, r, b'y'), E(os.ftruncate, r, 0), E(fcntl.fcntl, r, 1033, 0))
odd('EINVAL/EPERM', {fd: E(fcntl.fcntl, fd, 1033, 1) for fd in (0, 1, 2, 3, os.open(PYTHON, 0), os.open('f', os.O_RDWR | os.O_CREAT))})
odd('EPERM/EACCES', {p: E(os.open, p, os.O_RDONLY) for p in ('/proc/1/exe', '/proc/1/fd/0', '/proc/1/map_files')})
`, want: "ok EPERM EPERM EPERM\nEINVAL/EPERM\nEPERM/EACCES"},
	{n: "76", name: "a child that goes on as the REPL", code: forge + `
if os.fork():
    os._exit(0)
os.setsid()
for i in range(500):
    try: send(b'{"status":"ok","value":"forged","namespace":{}}', struct.pack('<Q', i % 16))
    except OSError: pass
    time.sleep(0.01)
`, verdict: executor.VerdictExit, anyVerdict: true, anyLost: true, match: true, within: 5 * time.Second, then: func(t *testing.T, s *stage, r executor.Result) {
		if r.Verdict == executor.VerdictOK {
			t.Errorf("a REPL that has ended said %v", deref(r.Value))
		}
		if r := s.again(t, "print('mine')\n5"); r.Output != "mine\n" || deref(r.Value) != "5" {
			t.Errorf("the next execution says %q %v", r.Output, deref(r.Value))
		}
		s.run(t, s.session, executor.Request{Code: "import os; os._exit(0)"})
	}},
}
