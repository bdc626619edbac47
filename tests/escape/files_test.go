package escape

import (
	"testing"

	"github.com/cellblock/cellblock/executor"
)

func TestFilesInside(t *testing.T) { table(t, fileProbes) }

var fileProbes = []probe{
	{n: "14", name: "files of the host", code: `
odd('ENOENT', {p: E(os.stat, p) for p in ('@CANARY@', '@CANARY@/secret', '/etc/shadow', '/root', '/home/root', '/home/user/.ssh', '/var/run', '/run/cellblock',
    '/run/docker.sock', '/var/lib/cellblock', '/work', '/sys', '/boot', '/bin/sh', '/usr/bin/gcc', '/usr/bin/apt')})
print(E(os.stat, '/workspace/../..@CANARY@/secret'), os.path.samefile('/..', '/'))
print(os.listdir('/home'), os.path.samefile('/home/user', '/workspace'), E(os.stat, '/home/user/../..@CANARY@/secret'), E(os.unlink, '/home/user'), E(os.symlink, '/', '/home/x'))
`, want: "ENOENT\nENOENT True\n['user'] True ENOENT EROFS EROFS"},
	{n: "14", name: "no secret in the environment", code: `
print(sorted(k for k in os.environ if k not in ('HOME USER PATH TMPDIR LANG TZ MPLBACKEND MPLCONFIGDIR OPENBLAS_NUM_THREADS OMP_NUM_THREADS MKL_NUM_THREADS OPENBLAS_CORETYPE OPENBLAS_L2_SIZE').split()))
`, want: "[]"},
	{n: "15", name: "write, chmod, unlink, link in every directory of the root", code: `
got = {}
skip = ('/proc', '/workspace', '/tmp', '/dev/shm')
for top, dirs, files in os.walk('/'):
    dirs[:] = [d for d in dirs if os.path.join(top, d) not in skip]
    new = os.path.join(top, 'planted')
    got[top] = {E(open, new, 'w'), E(os.mkdir, new), E(os.chmod, top, 0o777), E(os.symlink, 'x', new), E(os.utime, top), E(os.rename, top, new)}
    for f in files[:2]:
        p = os.path.join(top, f)
        if os.path.isfile(p):
            got[top] |= {E(os.unlink, p), E(os.chmod, p, 0o777), E(open, p, 'r+'), E(os.truncate, p, 0), E(os.link, p, new)}
print(len(got) > 20, sorted(set().union(*got.values()) - {'EBUSY', 'EINVAL', 'EXDEV'}))
print(E(os.mkdir, '/usr/planted'), E(os.chmod, '/usr', 0o777), E(os.unlink, sys.executable), bool(os.statvfs('/').f_flag & os.ST_RDONLY))
`, want: "True ['EACCES', 'EROFS']\nEROFS EROFS EROFS True"},
	{n: "16", name: "what belongs to PID 1", code: `
print(E(os.readlink, '/proc/1/root'), E(os.readlink, '/proc/1/cwd'), E(os.readlink, '/proc/1/exe'), E(os.listdir, '/proc/1/fd'), E(os.listdir, '/proc/1/root/'))
print(E(open, '/proc/1/environ'), E(open, '/proc/1/mem'), E(open, '/proc/1/maps'), E(open, '/proc/1/auxv'), E(open, '/proc/1/syscall'), E(open, '/proc/1/stack'))
print(E(os.readlink, '/proc/1/ns/mnt'), E(os.listdir, '/proc/1/map_files'))
`, want: "EACCES EACCES EACCES EACCES EACCES\nEACCES EACCES EACCES EACCES EACCES EACCES\nEACCES EACCES"},
	{n: "17", name: "its own program opened for writing", code: `
import hashlib
exe = '/proc/self/exe'
was = hashlib.sha256(open(PYTHON, 'rb').read()).hexdigest()
print(E(open, exe, 'r+b'), E(os.open, exe, os.O_WRONLY), E(os.truncate, PYTHON, 0).replace('EROFS', 'EACCES'), E(os.open, '/cellblock/lock.so', os.O_RDWR)) # whichever layer the kernel asks first
held = os.open(PYTHON, os.O_RDONLY); path = os.open(PYTHON, os.O_PATH)
print(E(os.open, '/proc/self/fd/%d' % held, os.O_RDWR), E(os.open, '/proc/self/fd/%d' % path, os.O_WRONLY), E(os.ftruncate, held, 0))
print(was == hashlib.sha256(open(PYTHON, 'rb').read()).hexdigest())
`, want: "EACCES EACCES EACCES EACCES\nEACCES EACCES EINVAL\nTrue"},
	{n: "17", name: "memory of its own process by a file", code: `
print(E(open, '/proc/self/mem', 'r+b'), E(open, '/proc/self/environ'), E(open, '/proc/self/auxv'), E(os.readlink, '/proc/self/root'))
`, want: "EACCES EACCES EACCES ok"},
	{n: "18", name: "no path of the host in /proc", code: `
import re
lines = open('/proc/self/mountinfo').read().splitlines()
roots = [l.split()[3] for l in lines]
print(len(lines), sorted(set(r for r in roots if r != '/')) == sorted(r for r in roots if re.search(r'/roots/[0-9a-f]{32}/tree$', r)))
print([l.split()[4] for l in lines])
print(sorted(set(l.rsplit(':', 1)[1] for l in open('/proc/self/cgroup').read().split())))
print('@CANARY@' in open('/proc/self/cmdline').read() + open('/proc/self/mountinfo').read())
print('work' in open('/proc/1/cmdline').read().replace('/workspace', ''))
`, want: "6 True\n['/', '/dev', '/workspace', '/tmp', '/dev/shm', '/proc']\n['/']\nFalse\nFalse"},
	{n: "19", name: "the rest of /proc, and /sys", code: `
odd('ENOENT', {p: E(os.stat, p) for p in ['/sys'] + ['/proc/' + f for f in 'kcore keys key-users sysrq-trigger sys sys/kernel/core_pattern sys/kernel/hostname kallsyms kmsg modules timer_list sched_debug config.gz interrupts scsi acpi bus fs irq driver vmallocinfo kpageflags mounts net cpuinfo meminfo cgroups'.split()]})
print(sorted(f for f in os.listdir('/proc') if not f.isdigit()))
print(sorted(int(f) for f in os.listdir('/proc') if f.isdigit()) == [1, os.getpid()])
`, want: "ENOENT\n['self', 'thread-self']\nTrue"},
	{n: "20", name: "device nodes", code: `
odd('EPERM', {(d, k): E(os.mknod, d + '/node', k | 0o666, os.makedev(*n)) for d in ('/workspace', '/tmp', '/dev/shm') for k in (0o020000, 0o060000) for n in ((1, 1), (1, 3), (8, 0), (10, 200))})
odd('EPERM', {k: S('mknodat', -100, b'/workspace/node', k, 0x101) for k in (0o020666, HIGH | 0o020666, 0o060666, 0o140666)})
print(sorted(os.listdir('/dev')))
`, want: "EPERM\nEPERM\n['fd', 'full', 'null', 'random', 'shm', 'stderr', 'stdin', 'stdout', 'urandom', 'zero']"},
	{n: "21", name: "file handles", code: `
h = ctypes.create_string_buffer(struct.pack('Ii', 128, 0) + bytes(128)); m = ctypes.c_int()
print(S('name_to_handle_at', -100, b'/', h, ctypes.byref(m), 0), S('name_to_handle_at', 3, b'', h, ctypes.byref(m), 0x1000))
print(S('open_by_handle_at', -100, h, 0), S('open_by_handle_at', HIGH | 3, h, 0))
`, want: "EPERM EPERM\nEPERM EPERM"},
	{n: "22", name: "only four descriptors, no directory among them", code: `
import stat
fds = {}
for fd in range(4096):
    try: fds[fd] = stat.S_IFMT(os.fstat(fd).st_mode)
    except OSError: pass
print(sorted(fds), any(stat.S_ISDIR(m) for m in fds.values()))
odd('ENOTDIR/EBADF', {fd: S('openat', fd, b'../../etc/shadow', 0, 0) for fd in range(4096)})
print(S('openat', os.open('/workspace', 0), b'../../../../../..@CANARY@/secret', 0, 0))
`, want: "[0, 1, 2, 3] False\nENOTDIR/EBADF\nENOENT"},
	{n: "23", name: "chroot, pivot_root, fchdir", code: `
os.mkdir('x'); d = os.open('/', os.O_RDONLY)
print(E(os.chroot, 'x'), S('pivot_root', b'.', b'.'), E(os.fchdir, d), S('openat', d, b'..@CANARY@', 0, 0))
os.chdir('/workspace')
os.rename('x', '/workspace/y'); print(sorted(os.listdir('/..')) == sorted(os.listdir('/')))
`, want: "EPERM EPERM ok ENOENT\nTrue"},
	{n: "24", name: "hard links to files of the root", code: `
print(E(os.link, PYTHON, '/workspace/p'), E(os.link, PYTHON, '/usr/bin/p'), E(os.link, '/proc/self/exe', '/tmp/p', follow_symlinks=True))
print(S('linkat', os.open(PYTHON, 0), b'', -100, b'/workspace/p', 0x1000))
`, want: "EXDEV EROFS EXDEV\nEXDEV"},
	{n: "25", name: "set-id bits and file capabilities", code: `
print(status('Uid').split(), status('Gid').split(), status('Groups'))
print([status(k) for k in ('CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb')] == ['0' * 16] * 5, sum(R('prctl', 23, c) for c in range(41)))
print(E(os.setuid, 0), E(os.setgid, 0), E(os.setgroups, [0]), S('capset', 0, 0), S('setfsuid', 0))
open('s', 'w').close(); os.chmod('s', 0o6755)
print(E(os.setxattr, 's', 'security.capability', b'x'), E(os.chown, 's', 0, 0), bool(os.statvfs('.').f_flag & os.ST_NOSUID), bool(os.statvfs('/').f_flag & os.ST_NOSUID))
`, want: "['1', '1', '1', '1'] ['1', '1', '1', '1'] \nTrue 0\nEPERM EPERM EPERM EPERM EPERM\nENOTSUP EPERM True True"},
	{n: "25", name: "the ids of the host", code: `
print(os.stat('/').st_uid, os.stat('/').st_gid)
for kind in ('uid', 'gid'):
    inner, outer, n = map(int, open('/proc/self/%s_map' % kind).read().split())
    print(inner, outer >= 0x70000000, n)
print(E(open, '/proc/self/setgroups', 'w'), E(open, '/proc/self/uid_map', 'w'))
`, want: "65534 65534\n0 True 2\n0 True 2\nEROFS EROFS"},
	{n: "25", name: "no new privileges", code: `print(status('NoNewPrivs'), R('prctl', 39, 0, 0, 0, 0))`, want: "1 1"},
	{n: "26", name: "a full workspace", code: `
n = 0
try:
    with open('big', 'wb', 0) as f:
        while True: n += f.write(bytes(1 << 20))
except OSError as e: print(errno.errorcode[e.errno], n == 16 << 20)
try:
    os.remove('big')
    for i in range(8):
        with open('part%d' % i, 'wb', 0) as f:
            while f.tell() < 4 << 20: f.write(bytes(1 << 20))
except OSError as e: print(errno.errorcode[e.errno])
import glob
for f in glob.glob('part*'): os.remove(f)
`, want: "ENOSPC True\nENOSPC"},
	{n: "27", name: "ten million files", code: `
n = 0
try:
    for n in range(10_000_000): os.close(os.open('f%d' % n, os.O_CREAT))
except OSError as e: print(errno.errorcode[e.errno], n < 2000)
for d in ('/tmp', '/dev/shm'):
    n = 0
    try:
        for n in range(10_000_000): os.mkdir(d + '/d%d' % n)
    except OSError as e: print(errno.errorcode[e.errno], n < 5000)
`, want: "ENOSPC True\nENOSPC True\nENOSPC True"},
	{n: "28", name: "an unlinked open file is still charged", code: `
f = open('/workspace/x', 'wb', 0); os.unlink('x')
try:
    while True: f.write(bytes(1 << 20))
except OSError as e: print(errno.errorcode[e.errno])
print(os.statvfs('/workspace').f_bfree)
`, want: "ENOSPC\n0"},
	{n: "28", name: "remounting", code: `
odd('EPERM', {p: S('mount', b'none', p, b'tmpfs', f, b'size=1g') for p in (b'/workspace', b'/tmp', b'/', b'/dev', b'/proc') for f in (0x20, 0x20 | 0x1000, 0, 0x1000, 0x40000)})
odd('EPERM', {p: S('umount2', p, 2) for p in (b'/workspace', b'/proc', b'/')})
print(S('mount_setattr', -100, b'/', 0x8000, ctypes.create_string_buffer(struct.pack('QQQQ', 0, 9, 0, 0)), 32), S('fsopen', b'tmpfs', 0), S('open_tree', -100, b'/', 1))
`, want: "EPERM\nEPERM\nEPERM EPERM EPERM"},
	{n: "28", name: "flags of every mount", code: `
for l in open('/proc/self/mountinfo'):
    f = l.split()
    print(f[4], ','.join(sorted(o for o in f[5].split(',') if 'atime' not in o)), f[6])
`, want: "/ nodev,nosuid,ro -\n/dev noexec,nosuid,ro -\n/workspace nodev,noexec,nosuid,rw -\n/tmp nodev,noexec,nosuid,rw -\n/dev/shm nodev,noexec,nosuid,rw -\n/proc nodev,noexec,nosuid,ro -"},
	{n: "28", name: "files of all places are one limit", code: `
for d in ('/workspace', '/tmp', '/dev/shm'):
    try:
        for i in range(1000):
            with open(d + '/%d' % i, 'wb', 0) as f: f.write(bytes(1 << 20))
    except OSError as e: print(errno.errorcode[e.errno])
print('survived')
`, want: "ENOSPC", verdict: executor.VerdictOutOfMemory, lost: true, match: true, cfg: func(c *executor.Config) { c.MaxMemoryMB = 64 }},
}
