package escape

import (
	"testing"
	"time"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/internal/testkit"
)

func TestKernelSurface(t *testing.T) { table(t, kernelProbes) }

var kernelProbes = []probe{
	{n: "87", name: "io_uring, bpf, userfaultfd, perf", code: `
p = ctypes.create_string_buffer(256)
odd('EPERM', {c: S(c, *a) for c, a in {'io_uring_setup': (8, p), 'io_uring_enter': (0, 1, 1, 1, 0, 0), 'io_uring_register': (0, 0, p, 1), 'bpf': (0, p, 72),
    'userfaultfd': (1,), 'perf_event_open': (p, 0, -1, -1, 0)}.items()})
print(E(os.stat, '/dev/userfaultfd'), S('io_setup', 1, p))
`, want: "EPERM\nENOENT ENOSYS"},
	{n: "88", name: "keyrings", code: `
odd('EPERM', {(o, k): S('keyctl', o, k, 0, 0, 0) for o in range(33) for k in (-1, -2, -3, -4, -5)})
print(S('add_key', b'user', b'x', b'y', 1, -5), S('request_key', b'user', b'x', 0, -5), E(open, '/proc/keys'))
`, want: "EPERM\nEPERM EPERM ENOENT"},
	{n: "89", name: "namespaces", code: `
flags = (0x80, 0x20000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000, 0x8000)
odd('EPERM', {(h, f): S('unshare', h | f) for f in flags if f != 0x8000 for h in (0, HIGH)})
odd('EPERM', {(h, f): S('clone', h | f | 17, 0, 0, 0, 0) for f in flags for h in (0, HIGH)})
ns = [os.open('/proc/self/ns/' + n, 0) for n in ('user', 'mnt', 'pid', 'net')] if E(os.open, '/proc/self/ns/user', 0) == 'ok' else [0]
odd('EPERM', {(f, k): S('setns', f, k) for f in ns + [3, R('pidfd_open', 1, 0)] for k in (0, 0x10000000, 0x7e020080)})
print(S('clone3', 0, 0), S('clone3', ctypes.create_string_buffer(struct.pack('QQQQQQQQ', 0x10000000, 0, 0, 0, 17, 0, 0, 0)), 64))
`, want: "EPERM\nEPERM\nEPERM\nENOSYS ENOSYS"},
	{n: "90", name: "mount calls, old and new", code: `
p = ctypes.create_string_buffer(256)
odd('EPERM', {c: S(c, *a) for c, a in {'mount': (b'/', b'/tmp', 0, 0x1000, 0), 'umount2': (b'/tmp', 2), 'pivot_root': (b'.', b'.'), 'open_tree': (-100, b'/', 1),
    'move_mount': (0, b'', -100, b'/tmp', 4), 'fsopen': (b'proc', 0), 'fsconfig': (0, 6, 0, 0, 0), 'fsmount': (0, 0, 0), 'fspick': (-100, b'/', 0),
    'mount_setattr': (-100, b'/', 0, p, 32), 'statmount': (p, p, 256, 0), 'listmount': (p, p, 8, 0), 'open_tree_attr': (-100, b'/', 1, p, 32), 'listns': (p, p, 8, 0)}.items()})
`, want: "EPERM"},
	{n: "91", name: "administration", code: `
odd('EPERM', {c: S(c, *a) for c, a in {'kexec_load': (0, 0, 0, 0), 'kexec_file_load': (0, 0, 0, 0, 0), 'init_module': (0, 0, b''), 'finit_module': (0, b'', 0), 'delete_module': (b'x', 0),
    'reboot': (0xfee1dead, 672274793, 0x1234567, 0), 'swapon': (b'x', 0), 'swapoff': (b'x',), 'quotactl': (0, 0, 0, 0), 'quotactl_fd': (0, 0, 0, 0), 'syslog': (3, 0, 0), 'acct': (0,),
    'vhangup': (), 'fanotify_init': (0, 0), 'lookup_dcookie': (0, 0, 0)}.items()})
if X86: odd('EPERM', {c: S(c, 3, 1, 1) for c in ('iopl', 'ioperm')})
else: print('EPERM')
`, want: "EPERM\nEPERM"},
	{n: "92", name: "the clock and the host's name", code: `
t = ctypes.create_string_buffer(256)
odd('EPERM', {c: S(c, *a) for c, a in {'clock_settime': (0, t), 'settimeofday': (t, 0), 'adjtimex': (t,), 'clock_adjtime': (0, t), 'sethostname': (b'x', 1), 'setdomainname': (b'x', 1)}.items()})
print(os.uname().nodename, E(time.clock_settime, 0, 0))
`, want: "EPERM\ncell EPERM"},
	{n: "93", name: "personality and segments", code: `
odd('EPERM', {p: S('personality', p) for p in (0, 0x0040000, 0x0400000, 0x0008, 0x5)})
print(S('personality', 0xffffffff), S('modify_ldt', 1, ctypes.create_string_buffer(16), 16) if X86 else 'EPERM', S('arch_prctl', 0x1001, 0) if X86 else 'EINVAL')
`, want: "EPERM\nok EPERM EINVAL"},
	{n: "94", name: "x32 numbers and int 0x80", code: `
def int80():
    m = mmap.mmap(-1, 4096, prot=7)
    m.write(b'\xb8\x14\x00\x00\x00\xcd\x80\xc3')  # mov $20 (getpid), %eax; int $0x80; ret
    ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))()
if X86:
    # Where the machine has no such gate, it faults instead.
    print(child(lambda: R(0x40000000 | 39)), child(lambda: R(0x40000000 | 520)), child(int80).replace('SIGSEGV', 'SIGSYS'))
else: print('SIGSYS SIGSYS SIGSYS')
`, want: "SIGSYS SIGSYS SIGSYS"},
	{n: "94", name: "x32 in the REPL itself", code: `
if X86: R(0x40000000 | 39)
else: os.kill(os.getpid(), signal.SIGSYS)
`, verdict: executor.VerdictCrashed, signal: "SIGSYS", lost: true},
	{n: "95", name: "descriptors and memory of another by pidfd", code: `
fd = R('pidfd_open', os.getpid(), 0); one = R('pidfd_open', 1, 0)
odd('EPERM', {(c, f): S(c, *a) for f in (fd, one) for c, a in {'pidfd_getfd': (f, 3, 0), 'process_madvise': (f, 0, 0, 0, 0), 'process_mrelease': (f, 0)}.items()})
print(S('kcmp', 1, os.getpid(), 0, 0, 0), S('kcmp', os.getpid(), os.getpid(), 0, 0, 0))
`, want: "EPERM\nEPERM EPERM"},
	{n: "96", name: "terminals and drivers", code: `
b = ctypes.create_string_buffer(64)
odd('ENOTTY', {(fd, q, h): S('ioctl', fd, h | q, b) for fd in (0, 1, 2, 3, os.open('/dev/null', 2)) for q in (0x5412, 0x541C, 0x5423, 0x540E, 0x5404, 0x4B3A, 0x1277, 0x8927, 0x5452) for h in (0, HIGH)})
print(E(os.open, '/dev/tty', 2), E(os.open, '/dev/ptmx', 2), E(os.open, '/dev/console', 2), os.getsid(0) == os.getpid())
`, want: "ENOTTY\nENOENT ENOENT ENOENT True"},
	{n: "97", name: "prctl", code: `
odd('EPERM', {(h, o): S('prctl', h | o[0], *o[1:]) for h in (0, HIGH) for o in ((35, 1, 0), (0x59616d61, -1), (22, 2, 0), (4, 1), (36, 1), (8, 1), (28, 0), (24, 0), (47, 2, 0), (14, 0), (26, 2), (33, 1), (53, 0, 0), (62, 0, 0), (67, 1), (31, 1))})
print(R('prctl', 3), S('prctl', 4, 0), R('prctl', 3), S('prctl', 38, 1, 0, 0, 0))
print(S('prctl', 4, HIGH | 1), R('prctl', 3))
`, want: "EPERM\n0 ok 0 ok\nEPERM 0"},
	syscallProbe,
	{n: "98", name: "every number in the code of a REPL stays in the cell", code: `
# Random arguments, in children that may die of it.
import random
for seed in range(20):
    pid = os.fork()
    if pid == 0:
        signal.alarm(2); random.seed(seed)
        skip = {NR.get(c) for c in ('exit', 'exit_group', 'pause', 'rt_sigsuspend', 'kill', 'tkill', 'tgkill', 'rt_sigqueueinfo', 'rt_tgsigqueueinfo', 'pidfd_send_signal', 'fork', 'vfork', 'clone', 'alarm', 'setitimer', 'rt_sigprocmask', 'rt_sigaction', 'rt_sigtimedwait')}
        for _ in range(3000):
            n = random.randrange(0, 480)
            if n not in skip:
                R(n, *[ctypes.c_long(random.choice((0, 1, 2, 3, -1, -100, 1 << 12, 1 << 31, random.getrandbits(63)))) for _ in range(6)])
        os._exit(0)
    while True:
        try: os.waitpid(pid, 0); break
        except InterruptedError: pass
print('done')
`, want: "done", within: 60 * time.Second, cfg: func(c *executor.Config) { c.Timeout = testkit.Paced(time.Minute) }, slow: true},
}
