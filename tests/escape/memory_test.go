package escape

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/internal/testkit"
)

func TestMemory(t *testing.T) { table(t, memoryProbes) }

// shared asks for shared pages beyond the limit: RLIMIT_DATA does not count
// them, the group does.
const shared = `
m = mmap.mmap(-1, 256 << 20)
for i in range(0, len(m), 4096): m[i] = 1
print('survived')
`

var memoryProbes = []probe{
	{n: "56", name: "one giant allocation", code: `bytearray(1 << 40)`, exc: "MemoryError"},
	{n: "56", name: "growth that touches pages", code: `
kept = []
while True: kept.append(bytearray(1 << 20))
`, exc: "MemoryError"},
	{n: "56", name: "growth of small objects", code: `
kept = []
try:
    while True: kept.append([object() for _ in range(1000)])
except MemoryError:
    del kept # with all of it kept, nothing further can run
    raise
`, exc: "MemoryError", within: 20 * time.Second},
	{n: "56", name: "growth to the last byte, and kept", code: `
kept = ()
for size in (1 << 20, 1 << 16, 1 << 12, 1 << 8, 1):
    try:
        while True: kept = (kept, bytes(size))
    except MemoryError: pass
`, anyVerdict: true, anyLost: true, alone: true, then: func(t *testing.T, s *stage, _ executor.Result) {
		// Nothing is left to take a request with. It is answered, or the REPL
		// ends; it does not go on trying until the time is over.
		for range 3 {
			if r := s.run(t, s.session, executor.Request{Code: "1"}); r.Verdict == executor.VerdictTimeout {
				t.Errorf("an execution waits for its answer: %s", deref(r.Error))
			}
		}
		s.renew(t)
	}},
	{n: "56", name: "shared pages beyond the limit", code: shared, verdict: executor.VerdictOutOfMemory, lost: true},
	{n: "57", name: "out of memory in a child", code: `
pid = os.fork()
if pid == 0:
    m = mmap.mmap(-1, 256 << 20)
    for i in range(0, len(m), 4096): m[i] = 1
    os._exit(0)
os.waitpid(pid, 0); time.sleep(5); print('went on')
`, verdict: executor.VerdictOutOfMemory, lost: true},
	{n: "57", name: "many children that grow together", code: `
for _ in range(8):
    if os.fork() == 0:
        m = mmap.mmap(-1, 64 << 20)
        for i in range(0, len(m), 4096): m[i] = 1
        time.sleep(10); os._exit(0)
time.sleep(10)
`, verdict: executor.VerdictOutOfMemory, lost: true},
	{n: "58", name: "mlock", code: `
m = mmap.mmap(-1, 1 << 20); a = ctypes.addressof(ctypes.c_char.from_buffer(m))
print(S('mlockall', 1), S('mlockall', 4), S('mlock', a, 4096), S('mlock2', a, 4096, 1), E(mmap.mmap, -1, 2 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40000))
try: mmap.mmap(-1, 1 << 20, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS | 0x2000); print('mapped')
except OSError as e: print(errno.errorcode[e.errno])
`, want: "EPERM EPERM EPERM EPERM ENOMEM\nEAGAIN"},
	{n: "59", name: "tmpfs, shared memory and memfd in one limit", code: `
f = open('/workspace/f', 'wb', 0); g = [open('/dev/shm/g%d' % i, 'wb', 0) for i in range(3)]; m = os.memfd_create('m')
for i in range(12): f.write(bytes(1 << 20))
for h in g:
    for i in range(12): h.write(bytes(1 << 20))
print('so far'); sys.stdout.flush()
for i in range(16): os.pwrite(m, bytes(1 << 20), i << 20)
os.lseek(m, 0, 0)
n = [os.memfd_create('n%d' % i) for i in range(8)]
for fd in n:
    for i in range(8): os.pwrite(fd, bytes(1 << 20), i << 20)
print('survived')
`, want: "so far", verdict: executor.VerdictOutOfMemory, lost: true, cfg: func(c *executor.Config) { c.MaxMemoryMB = 96 }},
	{n: "60", name: "a terabyte without reserve", code: `
NORESERVE = 0x4000
print(E(mmap.mmap, -1, 1 << 40, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | NORESERVE))
m = mmap.mmap(-1, 1 << 40, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | NORESERVE, mmap.PROT_READ)
print(len(m) == 1 << 40, m[1 << 39])
a = ctypes.c_void_p(); _libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_libc.mmap.restype = ctypes.c_void_p
p = _libc.mmap(None, ctypes.c_size_t(1 << 40), 1, 0x4022, -1, 0)
print(_libc.mprotect(p, 1 << 40, 3), errno.errorcode[ctypes.get_errno()])
`, want: "ENOMEM\nTrue 0\n-1 ENOMEM"},
	{n: "61", name: "page cache of the root", code: `
end = time.monotonic() + 1
files = [os.path.join(d, f) for d, _, fs in os.walk('/usr/lib') for f in fs]
n = 0
while time.monotonic() < end:
    try:
        with open(files[n % len(files)], 'rb', 0) as f: f.read()
    except OSError: pass
    n += 1
print(n > 0)
print(S('fadvise64', os.open(PYTHON, 0), 0, 0, 4), S('readahead', os.open(PYTHON, 0), 0, 1 << 30))
`, want: "True\nok ok"},
	{n: "63", name: "huge pages by advice, merging, poison", code: `
m = mmap.mmap(-1, 16 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
print(E(m.madvise, 14), {a: E(m.madvise, a) for a in (12, 100, 101)})
for i in range(0, len(m), 2 << 20): m[i] = 1
_libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
print(S('prctl', 67, 1, 0, 0, 0), S('process_madvise', 0, 0, 0, 0, 0), S('mbind', 0, 0, 0, 0, 0, 0), S('move_pages', 0, 0, 0, 0, 0, 0))
`, want: "ok {12: 'EINVAL', 100: 'EINVAL', 101: 'EINVAL'}\nEPERM EPERM EPERM EPERM"},
	{n: "64", name: "swap", code: `
print(status('VmSwap'), S('swapon', b'/workspace/x', 0), S('swapoff', b'/workspace/x'))
m = mmap.mmap(-1, 40 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for i in range(0, len(m), 4096): m[i] = 1
print(E(m.madvise, 21), status('VmSwap'))
`, want: "0 kB EPERM EPERM\nok 0 kB"},
	{n: "65", name: "record locks, which are charged to nobody", code: `
import fcntl
files = [open('lock%d' % i, 'w') for i in range(100)]
for i in range(50):
    for f in files: fcntl.lockf(f, fcntl.LOCK_EX, 1, 2 * i)
ofd = struct.pack('hhqqi4x', 1, 0, 0, 1, 0)
print([E(fcntl.fcntl, files[0], c, ofd) for c in (37, 38)], struct.unpack('hhqqi4x', fcntl.fcntl(files[0], 5, ofd))[0] == fcntl.F_UNLCK)
# A program that needs one has flock, of which there is one for an open file.
fcntl.flock(files[1], fcntl.LOCK_EX)
print(E(fcntl.flock, open('lock1', 'w'), fcntl.LOCK_EX | fcntl.LOCK_NB))
import sqlite3
db = sqlite3.connect('db'); db.execute('create table t (x)'); db.execute('insert into t values (42)'); db.commit()
print(sqlite3.connect('db').execute('select x from t').fetchall())
`, want: "['ok', 'ok'] True\nEAGAIN\n[(42,)]", then: func(t *testing.T, _ *stage, _ executor.Result) {
		text, err := os.ReadFile("/proc/locks")
		must(t, err)
		if n := strings.Count(string(text), " POSIX ") + strings.Count(string(text), " OFDLCK "); n > 2000 {
			t.Errorf("the kernel holds %d record locks: those are locks of the cell", n)
		}
	}},
	{n: "65", name: "shared memory of the host", code: `
b = ctypes.create_string_buffer(256)
print(S('shmat', @SHM@, 0, 0o10000), S('shmctl', @SHM@, 2, b), S('shmget', 0, 4096, 0o1666), S('msgget', 1, 0o666), S('semget', 1, 1, 0o666))
`, want: "ENOSYS ENOSYS ENOSYS ENOSYS ENOSYS"},
	{n: "65", name: "quotas per user", code: `
import fcntl
n, pipes = 0, []
try:
    while True: pipes.append(os.pipe())
except OSError as e: print(errno.errorcode[e.errno], len(pipes) < 1024)
big = 0
for r, w in pipes:
    try: fcntl.fcntl(w, 1031, 1 << 20); big += 1
    except OSError: pass
print(big <= 64)
for r, w in pipes: os.close(r); os.close(w)
i = [R('inotify_init1', 0) for _ in range(500)]
print(i[0] == -errno.ENOSYS, S('add_key', b'user', b'x', b'y', 1, -3), S('mq_open', b'x', 0o102, 0o600, 0), S('shmget', 0, 1 << 20, 0o1600), S('semget', 0, 1, 0o1600), S('msgget', 0, 0o1600))
`, want: "EMFILE True\nTrue\nTrue EPERM ENOSYS ENOSYS ENOSYS ENOSYS", then: func(t *testing.T, s *stage, _ executor.Result) {
		// Another cell has quotas of its own.
		r := s.run(t, s.sibling, executor.Request{Code: "import os, fcntl\nr, w = os.pipe()\nprint(fcntl.fcntl(w, 1031, 1 << 20))\nos.close(r); os.close(w)"})
		if r.Output != "1048576\n" {
			t.Errorf("the sibling's pipe: %q %s", r.Output, deref(r.Error))
		}
	}},
}

// inDebt takes seconds of CPU in single calls: a task is throttled only where it
// returns to user mode, and its group owes the time until then.
const inDebt = `
import _thread
b = ctypes.create_string_buffer(1 << 20)
v = (ctypes.c_void_p * 1200)(*[ctypes.addressof(b), 1 << 20] * 600)
f = os.open('/dev/urandom', os.O_RDONLY)
readv = _libc.readv
def deep():
    while True: readv(f, v, 600)
for _ in range(3): _thread.start_new_thread(deep, ())
deep()
`

// closeInDebt: the limit is as it was after the time-out, and a cell that owes CPU
// ends at once.
func closeInDebt(t *testing.T, s *stage, _ executor.Result) {
	if got := s.quotas(t); !slices.Contains(got, 0.02) {
		t.Errorf("after the time-out no group has a quota of 0.02, only %v", got)
	}
	s.renew(t)
	done := make(chan error, 1)
	go func() {
		_, err := s.session.Execute(t.Context(), executor.Request{Code: inDebt, Timeout: time.Hour})
		done <- err
	}()
	for { // some seconds of CPU are minutes of its share
		u, err := s.session.Usage()
		must(t, err)
		if u.CPU >= 2*time.Second {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	began := time.Now()
	must(t, s.session.Close())
	if took := time.Since(began); took > testkit.Paced(2*time.Second) {
		t.Errorf("closing took %s", took)
	}
	<-done
	s.renew(t)
}

func TestOutputAndCPU(t *testing.T) { table(t, outputProbes) }

var outputProbes = []probe{
	{n: "66", name: "spinning threads and processes stay in the quota", code: `
import threading
def spin():
    end = time.monotonic() + 1.5
    while time.monotonic() < end: pass
for _ in range(4):
    if os.fork() == 0: spin(); os._exit(0)
spin()
for _ in range(4): os.wait()
`, cfg: func(c *executor.Config) { c.CPUs = 0.3 }, then: func(t *testing.T, s *stage, r executor.Result) {
		if share := r.Usage.CPUSeconds / r.Usage.WallSeconds; share > 0.45 {
			t.Errorf("used %.2f s of CPU in %.2f s, with a quota of 0.3", r.Usage.CPUSeconds, r.Usage.WallSeconds)
		}
		// On a busy machine it might not have got more anyway.
		if got := s.quotas(t); !slices.Contains(got, 0.3) {
			t.Errorf("no group has a quota of 0.3, only %v", got)
		}
	}},
	{
		n: "66", name: "a debt of CPU holds up no end", slow: true, code: inDebt, verdict: executor.VerdictTimeout, anyLost: true, within: 6 * time.Second,
		cfg: func(c *executor.Config) { c.CPUs = 0.02 }, req: timeout(time.Second), then: closeInDebt,
	},
	{n: "66", name: "a deaf ear earns no CPU", code: `
import signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
while True: pass
`, cfg: func(c *executor.Config) { c.CPUs = 0.05 }, req: timeout(300 * time.Millisecond), verdict: executor.VerdictTimeout, lost: true, then: func(t *testing.T, _ *stage, r executor.Result) {
		if most := 0.1*r.Usage.WallSeconds + 0.05; r.Usage.CPUSeconds > most {
			t.Errorf("used %.2f s of CPU in %.2f s, the time until it was killed included, with a quota of 0.05", r.Usage.CPUSeconds, r.Usage.WallSeconds)
		}
	}},
	{n: "67", name: "a number too large", code: `10**10**9`, verdict: executor.VerdictTimeout, req: timeout(500 * time.Millisecond)},
	{n: "67", name: "a catastrophic regex", code: `
import re
re.match('(a*)*$', 'a' * 60 + 'b')
`, verdict: executor.VerdictTimeout, req: timeout(500 * time.Millisecond)},
	{n: "67", name: "CPU time", code: `
while True: pass
`, verdict: executor.VerdictCPUTime, req: func(r *executor.Request) { r.CPUTime = testkit.Paced(300 * time.Millisecond) }},
	{n: "68", slow: true, name: "endless sleep", code: `
while True:
    try: time.sleep(10**6)
    except BaseException: pass
`, verdict: executor.VerdictTimeout, lost: true, req: timeout(300 * time.Millisecond)},
	{n: "69", name: "gigabytes on both streams", code: `
block = b'x' * (1 << 16)
while True: os.write(1, block); os.write(2, block)
`, verdict: executor.VerdictOutputLimit, match: true, within: 30 * time.Second, then: func(t *testing.T, _ *stage, r executor.Result) {
		if len(r.Output) != 1<<20 || len(r.Stderr) != 1<<20 || !r.Truncated.Output || !r.Truncated.Stderr {
			t.Errorf("kept %d and %d bytes, truncated %v", len(r.Output), len(r.Stderr), r.Truncated)
		}
	}},
	{n: "70", name: "a reader that takes its time", code: `
for i in range(200): print('x' * 1000)
`, req: func(r *executor.Request) { r.Stdout = func([]byte) { time.Sleep(5 * time.Millisecond) } }, match: true, want: "x"},
	{n: "71", name: "bytes that are no text", code: `
os.write(1, b'a\xff\x00b\xed\xa0\x80\xf0\x9f\x98'); print('\udc80\ud800'.encode('utf-8', 'surrogatepass'))
s = '\ud800\0\x1b[2J\u202e'; s
`, match: true, want: "a\uFFFD\x00b\uFFFD", then: func(t *testing.T, s *stage, r executor.Result) {
		if strings.ToValidUTF8(r.Output, "") == "" || r.Value == nil || !strings.Contains(*r.Value, `\ud800`) {
			t.Errorf("output %q, value %v", r.Output, r.Value)
		}
		if r := s.run(t, s.session, executor.Request{Code: "raise ValueError('\\ud800\\0' * 3)"}); r.Exception == nil || r.Exception.Name != "ValueError" {
			t.Errorf("an exception that is no text: %s %v", r.Verdict, r.Exception)
		}
	}},
	{n: "72", name: "a million writes of one byte", code: `
w = os.write
for i in range(1_000_000 if not @SHORT@ else 100_000): w(1, b'x')
`, match: true, want: "xxxxxxxxxx", within: 30 * time.Second, cfg: func(c *executor.Config) { c.MaxOutput = 2 << 20; c.Timeout = testkit.Paced(time.Minute) }},
	{n: "73", name: "repr that loops", code: `
class A:
    def __repr__(self):
        while True: pass
a = A(); a
`, verdict: executor.VerdictTimeout, req: timeout(300 * time.Millisecond)},
	{n: "73", name: "repr that raises", code: `
class A:
    def __repr__(self): raise SystemExit(3)
    def __getattr__(self, n): raise KeyError(n)
    shape = property(lambda s: 1 / 0)
    __len__ = lambda s: -1
a = A(); b = [a]; print('made')
`, want: "made"},
	{n: "73", name: "repr of a gigabyte, and one that is no str", code: `
class S(str):
    def __len__(self): return 3
    def __getitem__(self, i): return self
class A:
    def __repr__(self): return 'x' * (1 << 24)
class B:
    def __repr__(self): return S('y' * 5)
a = A(); b = B(); d = {A(): 1}; print('made')
A()
`, want: "made", then: func(t *testing.T, _ *stage, r executor.Result) {
		if r.Value == nil || len(*r.Value) > 1<<17 {
			t.Error("the value is too long or missing")
		}
	}},
}
