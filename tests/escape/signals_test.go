package escape

import (
	"testing"
	"time"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/internal/testkit"
)

// TestSignalsAndTimers plays on what processes and kernels send to each other.
func TestSignalsAndTimers(t *testing.T) { table(t, signalProbes) }

var signalProbes = []probe{
	{n: "49", name: "signals by who owns a pipe", code: `
r, w = os.pipe()
odd('EINVAL', {(fd, c): S('fcntl', fd, c, a) for fd in (0, 1, 2, 3, r, w) for c, a in ((8, 1), (8, -1), (10, 9), (10, 64), (15, ctypes.create_string_buffer(struct.pack('ii', 1, 1))), (1 << 32 | 8, 1))})
b = ctypes.create_string_buffer(struct.pack('i', 1))
odd('ENOTTY', {(fd, q): S('ioctl', fd, q, b) for fd in (0, 1, 2, 3, r) for q in (0x8901, 0x8902, 0x5452)})
print([R('fcntl', fd, 9, 0) for fd in (0, 1, 2, 3)])
`, want: "EINVAL\nENOTTY\n[0, 0, 0, 0]"},
	{n: "49", name: "orphans whose end is a signal", code: `
# The exit signal of a clone is its parent's to get: an orphan's is PID 1.
for s in (9, 11, 6, 19, 3, 15):
    pid = os.fork()
    if pid == 0:
        n = _libc.syscall(NR['clone'], s, 0, 0, 0, 0)
        if n == 0: time.sleep(0.05)
        os._exit(0)
    os.waitpid(pid, 0)
for _ in range(500):
    left = [p for p in os.listdir('/proc') if p.isdigit() and p not in ('1', str(os.getpid()))]
    if not left: break
    time.sleep(0.02)
print(left, status('Name', 1) is not None)
`, want: "[] True"},
	{n: "49", name: "timers that signal another", code: `
def timer(notify, sig, tid): return S('timer_create', 1, ctypes.create_string_buffer(struct.pack('Qiii', 0, sig, notify, tid) + bytes(44)), ctypes.create_string_buffer(8))
odd('EINVAL', {t: timer(4, 9, t) for t in (1, 70000, 0, -1)})
print(timer(4, 10, os.getpid()))
n = 0
while timer(1, 0, 0) == 'ok' and n < 100000: n += 1
print(n <= 256, timer(0, 10, 0))
`, want: "EINVAL\nok\nTrue EAGAIN"},
	{n: "49", name: "pidfds", code: `
one = R('pidfd_open', 1, 0); me = R('pidfd_open', os.getpid(), 0)
b = ctypes.create_string_buffer(256)
odd('ENOTTY', {(fd, q): S('ioctl', fd, q, b) for fd in (one, me) for q in (0xc040ff0b, 0xff01, 0xff02, 0xff03, 0xff04, 0xff05, 0xff06, 0xff07, 0xff08, 0xff09, 0xff0a)})
odd('EPERM', {(s, f): S('pidfd_send_signal', one, s, 0, f) for s in (0, 9, 19) for f in (0,)})
print(S('waitid', 3, one, b, 4, 0), E(os.listdir, '/proc/self/fd/%d' % one), S('setns', one, 0x20000000))
print(S('pidfd_send_signal', me, 0, 0, 0), [S('pidfd_open', p, 0) for p in (0, -1, 70000)], S('pidfd_send_signal', os.open('/proc/1', os.O_RDONLY), 9, 0, 0), S('pidfd_send_signal', -10000, 0, 0, 0) in ('EBADF', 'ok', 'EPERM'))
`, want: "ENOTTY\nEPERM\nECHILD ENOTDIR EPERM\nok ['EINVAL', 'EINVAL', 'ESRCH'] EPERM True"},
	{n: "50", name: "kill(0, 9) and killpg", code: `
print(os.getpgrp() == os.getpid(), E(os.killpg, 1, 9), flush=True)
os.kill(0, signal.SIGKILL)
`, want: "True ESRCH", verdict: executor.VerdictKilled, signal: "SIGKILL", lost: true},
	{n: "48", name: "a vfork that never comes back", code: `
if _libc.syscall(NR.get('vfork', NR['clone'])) == 0: time.sleep(1000)
`, verdict: executor.VerdictTimeout, lost: true, req: timeout(500 * time.Millisecond)},
	{n: "47", name: "stopped together with all its children", slow: true, code: `
for _ in range(3):
    if os.fork() == 0:
        while True: os.kill(os.getppid(), signal.SIGSTOP)
time.sleep(1000)
`, verdict: executor.VerdictTimeout, lost: true, req: timeout(500 * time.Millisecond)},
	{n: "48", name: "a flood of signals", code: `
pid = os.getpid()
for s in range(1, 65):
    try: signal.signal(s, lambda *a: None)
    except (OSError, ValueError): pass
for _ in range(3):
    if os.fork() == 0:
        while True:
            for s in (1, 2, 3, 10, 12, 15, 34, 40, 64):
                try: os.kill(pid, s)
                except OSError: pass
time.sleep(1000)
`, verdict: executor.VerdictTimeout, lost: true, req: timeout(500 * time.Millisecond)},
	{n: "55", name: "priorities and processors of others", code: `
print(S('sched_setaffinity', 1, 8, ctypes.create_string_buffer(b'\xff' * 8)), S('setpriority', 0, 1, 19), S('setpriority', 2, 0, 0), S('ioprio_set', 1, 1, 0), S('ioprio_set', 1, 0, 0x2000))
print(len(os.sched_getaffinity(0)) == os.cpu_count(), E(os.sched_setaffinity, 0, {0}), os.sched_getaffinity(0), E(os.sched_setaffinity, 0, range(os.cpu_count())))
print(S('setpriority', 1, 0, -20) in ('EACCES', 'EPERM'), S('setpriority', 2, os.getuid(), -5) in ('EACCES', 'EPERM'), S('setpriority', 2, 4242, 19))
`, want: "EPERM EPERM ok EPERM EPERM\nTrue ok {0} ok\nTrue True ESRCH"},
	{n: "97", name: "every option of prctl", code: `
# In a child, for one may take effect. What is not refused asks, or gives something up of one's own.
r, w = os.pipe()
if os.fork() == 0:
    os.write(w, repr(sorted(o for o in list(range(0, 100)) + [0x59616d61, 0x41555856, 0x53564d41] if S('prctl', o, 2, 0, 0, 0) != 'EPERM')).encode()); os._exit(0)
os.wait(); print(os.read(r, 9999).decode())
`, want: "[1, 2, 3, 5, 7, 13, 15, 16, 21, 23, 25, 27, 29, 30, 34, 37, 38, 39, 40, 41, 42, 46, 51, 52, 56, 64, 66, 68, 74, 1096112214, 1398164801]"},
	{n: "83", name: "lists of futexes and restartable sequences that are none", code: `
def robust(head):
    b = ctypes.create_string_buffer(struct.pack('QQQ', head, 0, head)); S('set_robust_list', b, 24); os._exit(0)
print([child(robust, a) for a in (0, 1, 4096, 1 << 46, 0xffff888000000000, 0xffffffffff600000)])
print(S('rseq', 0, 32, 0, 0), S('rseq', ctypes.c_long(-32), 32, 0, 0x53053053), S('set_robust_list', 0, 23), S('get_robust_list', 1, ctypes.create_string_buffer(8), ctypes.create_string_buffer(8)))
`, want: "['exit 0', 'exit 0', 'exit 0', 'exit 0', 'exit 0', 'exit 0']\nEINVAL EINVAL EINVAL EPERM"},
	{n: "61", name: "locks on files of the root hold up nobody", code: `
import fcntl
held = []
for top, dirs, files in os.walk('/'):
    dirs[:] = [d for d in dirs if top != '/' or d not in ('proc', 'dev', 'tmp', 'workspace')]
    for n in ['.'] + files:
        if len(held) > 900: break
        try: held.append(os.open(os.path.join(top, n), os.O_RDONLY)); fcntl.flock(held[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError: pass
print(len(held) > 500)
`, want: "True", then: func(t *testing.T, s *stage, _ executor.Result) {
		began := time.Now()
		other, err := s.ex.NewSession(t.Context(), executor.SessionOptions{})
		must(t, err)
		defer other.Close()
		if r := s.run(t, other, executor.Request{Code: "print(1)"}); r.Output != "1\n" {
			t.Errorf("another session says %q", r.Output)
		}
		if took := time.Since(began); took > testkit.Paced(5*time.Second) {
			t.Errorf("another session took %s", took)
		}
	}},
}
