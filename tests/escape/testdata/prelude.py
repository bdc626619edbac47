"""What the probes are written with. NR, the numbers of the system calls by name, stands before this."""
import ctypes, errno, mmap, os, platform, signal, socket, struct, sys, time

X86 = platform.machine() == 'x86_64'
HIGH = 1 << 32
_libc = ctypes.CDLL(None, use_errno=True)
token = 'alive'
PYTHON = os.path.realpath(sys.executable)


def S(call, *args):
    """A raw system call, by name or number: the error's name, or 'ok'."""
    n = R(call, *args)
    return errno.errorcode.get(-n, str(-n)) if n < 0 else 'ok'


def R(call, *args):
    """The same, with its result; an error as a negative number."""
    number = NR[call] if isinstance(call, str) else call
    args = [ctypes.c_char_p(a) if isinstance(a, bytes) else a if isinstance(a, ctypes._SimpleCData)
            else ctypes.c_long(a) if isinstance(a, int) else a for a in args]
    args += [ctypes.c_long(0)] * (6 - len(args))
    ctypes.set_errno(0)
    _libc.syscall.restype = ctypes.c_long
    n = _libc.syscall(ctypes.c_long(number), *args)
    return -ctypes.get_errno() if n == -1 else n


def E(f, *args, **kw):
    """Calls f: 'ok', the error's name, or the exception's."""
    try:
        f(*args, **kw)
        return 'ok'
    except OSError as e:
        return errno.errorcode.get(e.errno, type(e).__name__)
    except BaseException as e:
        return type(e).__name__


def child(f, *args):
    """Calls f in a child and tells how that ended."""
    pid = os.fork()
    if pid == 0:
        status = 7
        try:
            status = f(*args) or 0
        finally:
            os._exit(status)
    return ended(os.waitpid(pid, 0)[1])


def ended(status):
    if os.WIFSIGNALED(status):
        return signal.Signals(os.WTERMSIG(status)).name
    return 'exit %d' % os.WEXITSTATUS(status)


def odd(want, got):
    """Prints want when every value of got is that, and those that are not otherwise."""
    wants = want.split('/')
    others = {k: v for k, v in got.items() if v not in wants}
    print(others or want)


def status(key, pid='self'):
    for line in open('/proc/%s/status' % pid):
        if line.startswith(key + ':'):
            return line.split(':', 1)[1].strip()
