package escape

import "testing"

func TestExec(t *testing.T) { table(t, execProbes) }

var execProbes = []probe{
	{n: "7", name: "subprocess", code: "import subprocess\nsubprocess.run([sys.executable, '-c', 'print(1)'])", exc: "PermissionError"},
	{n: "7", name: "os.system", code: `print(os.waitstatus_to_exitcode(os.system('true')))`, want: "127"},
	{n: "7", name: "posix_spawn, popen, pty, execv", code: `
import subprocess, pty
exe = '/proc/self/exe'
print(E(os.posix_spawn, exe, ['x'], {}), E(os.posix_spawnp, 'python3', ['x'], {}))
print(E(subprocess.Popen, [exe], close_fds=False), E(subprocess.Popen, 'true', shell=True), E(subprocess.check_output, [exe], preexec_fn=int))
print(E(os.execv, exe, ['x']), E(os.execve, exe, ['x'], {}), E(os.execvp, 'python3', ['x']))
print(E(os.execve, os.open(exe, os.O_RDONLY), ['x'], {}))
`, want: "EPERM EPERM\nEPERM EPERM EPERM\nEPERM EPERM EPERM\nEPERM"},
	{n: "7", name: "multiprocessing spawn and forkserver", code: `
import multiprocessing as m
p = m.get_context('spawn').Process(target=print); p.start(); p.join(); print('spawn', p.exitcode)
print('forkserver', E(m.get_context('forkserver').Process(target=print).start))
p = m.get_context('fork').Process(target=print, args=('forked',), kwargs={'flush': True}); p.start(); p.join()
`, want: "spawn 255\nforkserver EAFNOSUPPORT\nforked"},
	{n: "8", name: "execveat of each descriptor", code: `
argv = (ctypes.c_char_p * 2)(b'x', None)
exe = os.open('/proc/self/exe', os.O_RDONLY); path = os.open('/proc/self/exe', os.O_PATH)
name = os.path.realpath(sys.executable).encode()
odd('EPERM', {fd: S('execveat', fd, b'', argv, 0, 0x1000) for fd in range(-1, 4096)})
odd('EPERM', {fd: S('execveat', fd, name, argv, 0, 0) for fd in range(-1, 4096)})
odd('EPERM', {fd: S('execveat', fd, b'/proc/self/fd/%d' % exe, argv, 0, 0) for fd in (-100, exe, path)})
odd('EPERM', {fd: S('execve', b'/proc/self/fd/%d' % fd, argv, 0) for fd in range(4096)})
odd('EPERM', {n: S('execveat', HIGH | exe, b'', argv, 0, n) for n in (0x1000, HIGH | 0x1000, 0x1100)})
`, want: "EPERM\nEPERM\nEPERM\nEPERM\nEPERM"},
	{n: "9", name: "memfd_create", code: `
argv = (ctypes.c_char_p * 2)(b'x', None)
m = os.memfd_create('x', 0); os.write(m, open('/proc/self/exe', 'rb').read())
print(S('execveat', m, b'', argv, 0, 0x1000), S('execve', b'/proc/self/fd/%d' % m, argv, 0))
print(S('memfd_create', b'x', 4), S('memfd_secret', 0))
`, want: "EPERM EPERM\nEPERM EPERM"},
	{n: "10", name: "ld.so, a script, a binfmt file", code: `
import glob
open('script', 'w').write('#!' + sys.executable + '\nprint(1)\n'); os.chmod('script', 0o755)
open('java', 'wb').write(b'\xca\xfe\xba\xbe' + bytes(60)); os.chmod('java', 0o755)
loaders = glob.glob('/lib*/ld-linux*') + glob.glob('/usr/lib/*/ld-linux*')
print(len(loaders) > 0)
odd('EPERM', {p: E(os.execv, p, ['x', sys.executable]) for p in loaders + ['./script', '/workspace/script', './java', '/nothing/there']})
`, want: "True\nEPERM"},
	{n: "11", name: "a filter or listener of its own", code: `
class Fprog(ctypes.Structure):
    _fields_ = [('n', ctypes.c_ushort), ('f', ctypes.c_char_p)]
p = ctypes.addressof(Fprog(1, struct.pack('<HBBI', 6, 0, 0, 0x7fff0000)))
odd('EPERM', {n: S('seccomp', *n, p) for n in ((0, 0), (1, 0), (1, 1), (1, 8), (1, 16), (2, 0), (3, 0), (HIGH | 1, HIGH | 8))})
odd('EPERM', {n: S('prctl', *n, p, 0, 0) for n in ((22, 1), (22, 2), (HIGH | 22, 2), (HIGH | 22, HIGH | 2))})
print(status('Seccomp_filters'), status('Seccomp'), status('NoNewPrivs'))
`, want: "EPERM\nEPERM\n2 2 1"},
	{n: "12", name: "a library from where it can write", code: `
so = open('/cellblock/lock.so', 'rb').read()
for d in ('/workspace', '/tmp', '/dev/shm'):
    open(d + '/x.so', 'wb').write(so); os.chmod(d + '/x.so', 0o755)
    try:
        ctypes.CDLL(d + '/x.so'); print('loaded')
    except OSError as e:
        print('failed to map' in str(e), E(mmap.mmap, os.open(d + '/x.so', 0), 4096, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC))
`, want: "True EPERM\nTrue EPERM\nTrue EPERM"},
	{n: "13", name: "exec from a thread, a fork, a vfork child", code: `
import threading
argv = (ctypes.c_char_p * 2)(b'x', None)
exe = os.path.realpath(sys.executable).encode()
def go(): return S('execve', exe, argv, 0)
def tell(): os.write(1, go().encode() + b'\n')
def spread(work, *a):
    t = threading.Thread(target=work, args=a); t.start(); t.join()
spread(tell); child(tell); child(child, tell)
spread(child, tell)
if X86:
    # vfork through libc would return into Python twice; CLONE_VM|CLONE_VFORK is what posix_spawn does.
    print(E(os.posix_spawn, exe, ['x'], {}))
else:
    print('EPERM')
`, want: "EPERM\nEPERM\nEPERM\nEPERM\nEPERM"},
}
