"""Attacks on the filters, run under both. Prints one JSON list: [name, got, want].

argv: the list of system call numbers, a directory to write to.
"""
import ctypes, errno, json, mmap, os, platform, signal, socket, subprocess, sys, threading

NR = {name: int(number) for number, name in (line.split() for line in open(sys.argv[1]))}
HOME = sys.argv[2]
X86 = platform.machine() == "x86_64"
libc = ctypes.CDLL(None, use_errno=True)
HIGH = 1 << 32
rows = []


def S(name, *args):
    """A raw system call: the error's name, or "ok"."""
    number = NR[name] if isinstance(name, str) else name
    args = [ctypes.c_char_p(a) if isinstance(a, bytes) else ctypes.c_long(a) for a in args]
    args += [ctypes.c_long(0)] * (6 - len(args))
    ctypes.set_errno(0)
    if libc.syscall(ctypes.c_long(number), *args) == -1:
        return errno.errorcode[ctypes.get_errno()]
    return "ok"


def raised(f, *args, **kw):
    try:
        f(*args, **kw)
        return "ok"
    except OSError as e:
        return errno.errorcode.get(e.errno, repr(e))
    except Exception as e:
        return type(e).__name__


def row(name, got, want):
    rows.append([name, got, want])


def died(f):
    """Runs f in a child and tells how that ended."""
    pid = os.fork()
    if pid == 0:
        try:
            f()
        finally:
            os._exit(7)
    _, status = os.waitpid(pid, 0)
    return signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else "exit %d" % os.WEXITSTATUS(status)


# Network, 1–4.
row("socket.socket", raised(socket.socket), "EAFNOSUPPORT")
for family in range(46):
    for kind in (1, 2, 3, 5):
        if (got := S("socket", family, kind, 0)) != "EAFNOSUPPORT":
            row("socket %d %d" % (family, kind), got, "EAFNOSUPPORT")
        if family != 1 and (got := S("socketpair", family, kind, 0, 0)) != "EAFNOSUPPORT":
            row("socketpair %d %d" % (family, kind), got, "EAFNOSUPPORT")
row("vsock with high bits", S("socket", HIGH | 40, 1, 0), "EAFNOSUPPORT")
row("vsock pair with high bits", S("socketpair", HIGH | 40, 1, 0, 0), "EAFNOSUPPORT")
a, b = socket.socketpair()
a.send(b"x")
row("a pair works", b.recv(1).decode(), "x")
row("send_fds", raised(socket.send_fds, a, [b"x"], [0]), "EPERM")
row("recv_fds", raised(socket.recv_fds, b, 1, 1), "EPERM")
row("out of band", raised(a.send, b"x", socket.MSG_OOB), "EPERM")
d, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
row("a datagram elsewhere", raised(d.sendto, b"x", "\0elsewhere"), "EPERM")
row("connect", raised(a.connect, "\0elsewhere"), "EPERM")
row("bind", raised(a.bind, "\0here"), "EPERM")
row("SO_PEERPIDFD", raised(a.getsockopt, 1, 77), "ENOPROTOOPT")
row("SO_ATTACH_FILTER", raised(a.setsockopt, 1, 26, b"\0" * 16), "ENOPROTOOPT")

# Exec, 7–13.
TRUE = "/bin/true"
script = os.path.join(HOME, "script")
with open(script, "w") as f:
    f.write("#!/bin/sh\n")
os.chmod(script, 0o755)
row("subprocess", raised(subprocess.run, [TRUE]), "EPERM")
row("subprocess with a shell", raised(subprocess.run, "true", shell=True), "EPERM")
row("os.system", str(os.waitstatus_to_exitcode(os.system("true"))), "127")
row("posix_spawn", raised(os.posix_spawn, TRUE, ["true"], {}), "EPERM")
row("execv", raised(os.execv, TRUE, ["true"]), "EPERM")
row("execv of a script", raised(os.execv, script, ["x"]), "EPERM")
row("execv of the loader", raised(os.execv, "/lib64/ld-linux-x86-64.so.2" if X86 else "/lib/ld-linux-aarch64.so.1", ["ld", TRUE]), "EPERM")
row("execv of an fd", raised(os.execve, os.open(TRUE, os.O_RDONLY), ["true"], {}), "EPERM")
m = os.memfd_create("x")
os.write(m, open(TRUE, "rb").read())
row("execveat of a memfd", S("execveat", m, b"", 0, 0, 0x1000), "EPERM")
for fd in range(4096):
    if (got := S("execveat", fd, b"", 0, 0, 0x1000)) != "EPERM":
        row("execveat of fd %d" % fd, got, "EPERM")
    if (got := S("execveat", fd, TRUE.encode(), 0, 0, 0)) != "EPERM":
        row("execveat by path, fd %d" % fd, got, "EPERM")
row("execveat of /proc/self/fd", S("execveat", -100, b"/proc/self/fd/%d" % m, 0, 0, 0), "EPERM")
results = []
thread = threading.Thread(target=lambda: results.append(raised(os.execv, TRUE, ["true"])))
thread.start(); thread.join()
row("execv in a thread", results[0], "EPERM")
row("execv in a fork", died(lambda: os._exit(0 if raised(os.execv, TRUE, ["true"]) == "EPERM" else 1)), "exit 0")


class Fprog(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


allow = Fprog(1, (0x06).to_bytes(2, "little") + b"\0\0" + (0x7FFF0000).to_bytes(4, "little"))
p = ctypes.addressof(allow)
row("seccomp strict", S("seccomp", 0, 0, 0), "EPERM")
row("seccomp filter", S("seccomp", 1, 0, p), "EPERM")
row("seccomp listener", S("seccomp", 1, 8, p), "EPERM")
row("seccomp with high bits", S("seccomp", HIGH | 1, HIGH, p), "EPERM")
row("PR_SET_SECCOMP", S("prctl", 22, 2, p), "EPERM")
row("PR_SET_SECCOMP with high bits", S("prctl", HIGH | 22, 2, p), "EPERM")
row("PR_SET_SECCOMP strict", S("prctl", 22, 1, 0), "EPERM")

# Files, 20–23.
node = os.path.join(HOME, "node").encode()
row("mknod of a device", S("mknodat", -100, node, 0o020600, 0x103), "EPERM")
row("mknod with high bits", S("mknodat", -100, node, HIGH | 0o060600, 0x103), "EPERM")
row("mkfifo", raised(os.mkfifo, node), "ok")
row("name_to_handle_at", S("name_to_handle_at", -100, b"/", 0, 0, 0), "EPERM")
row("open_by_handle_at", S("open_by_handle_at", -100, 0, 0), "EPERM")
row("chroot", raised(os.chroot, "/"), "EPERM")
row("a lease", S("fcntl", m, 1024, 1), "EINVAL")
row("an instance of inotify", S("inotify_init1", 0), "ENOSYS")
row("a mapping that grows as a stack", S("mmap", 0, 4096, 3, 0x122, -1, 0), "ENOMEM")
row("getxattr", raised(os.getxattr, script, "user.x"), "ENOTSUP")

# Processes, 49–55.
row("ptrace", S("ptrace", 0, 0, 0, 0), "EPERM")
row("process_vm_readv", S("process_vm_readv", os.getpid(), 0, 0, 0, 0, 0), "EPERM")
row("realtime", raised(os.sched_setscheduler, 0, os.SCHED_FIFO, os.sched_param(1)), "EPERM")
row("limits of another", S("prlimit64", os.getppid(), 7, 0, 0), "EPERM")
row("setuid", raised(os.setuid, 0), "EPERM")

# Kernel surface, 87–97.
for name in """io_uring_setup io_uring_enter io_uring_register bpf userfaultfd perf_event_open keyctl add_key request_key
    unshare setns mount umount2 pivot_root open_tree move_mount fsopen fsconfig fsmount fspick mount_setattr statmount
    listmount open_tree_attr kexec_load kexec_file_load init_module finit_module delete_module reboot swapon swapoff
    quotactl quotactl_fd syslog clock_settime settimeofday adjtimex clock_adjtime sethostname setdomainname pidfd_getfd
    process_madvise kcmp memfd_secret acct vhangup fanotify_init mlockall capset""".split():
    row(name, S(name, -1, -1, -1, -1, -1, -1), "EPERM")
if X86:
    for name in ("iopl", "ioperm", "modify_ldt"):
        row(name, S(name, 3, 1, 1), "EPERM")
for flag in (0x80, 0x20000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000):
    row("clone %#x" % flag, S("clone", flag | 17), "EPERM")
    row("clone %#x with high bits" % flag, S("clone", HIGH | flag | 17), "EPERM")
    row("unshare %#x" % flag, S("unshare", flag), "EPERM")
row("clone3", S("clone3", 0, 0), "ENOSYS")
row("a number of tomorrow", S(1000), "ENOSYS")
row("personality", S("personality", 0x0040000), "EPERM")
row("personality, asked", S("personality", 0xFFFFFFFF), "ok")
for request in (0x5412, 0x541C, 0x5423):
    row("ioctl %#x" % request, S("ioctl", 0, request, 0), "ENOTTY")
    row("ioctl %#x with high bits" % request, S("ioctl", 0, HIGH | request, 0), "ENOTTY")
row("PR_SET_MM", S("prctl", 35, 1, 0), "EPERM")
row("PR_SET_PTRACER", S("prctl", 0x59616D61, -1), "EPERM")
row("PR_SET_DUMPABLE", S("prctl", 4, 1), "EPERM")
row("PR_GET_DUMPABLE", str(libc.prctl(3)), "0")
row("huge pages", raised(mmap.mmap, -1, 2 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40000), "ENOMEM")
if X86:
    row("x32", died(lambda: S(0x40000000 | 39)), "SIGSYS")

    def int80():
        code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        code.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")  # mov $20 (getpid), %eax; int $0x80; ret
        ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))()

    # A machine without that gate faults instead, whatever the filter says.
    end = died(int80)
    row("int 0x80", "SIGSYS" if end == "SIGSEGV" else end, "SIGSYS")

status = dict(line.split(":", 1) for line in open("/proc/self/status"))
row("Seccomp_filters", status["Seccomp_filters"].strip(), "2")
row("NoNewPrivs", status["NoNewPrivs"].strip(), "1")
print(json.dumps(rows))
