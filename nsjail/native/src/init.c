/* PID 1 of a cell: a static program of a few KB without libc. It is started
 * twice. First as "outer", an ordinary child of the host:
 *
 *   host                                outer
 *    | <---------- u: in a new user namespace
 *    | m: the id maps are written ------> |  become its root, clone the init
 *    | <---------- c + pidfd, pid         |  (as the host's own child), exit
 *
 * then, by that clone, as the init of the new namespaces:
 *
 *   host                                init                  code (cell uid 1)
 *    | the plan: a list of calls, and
 *    | the filter of the code ----------> |  do them one by one
 *    | <----- e + step, errno             |  … one failed: exit
 *    | <----- p, answered by p + fd       |  (where the host must make /proc)
 *    | <----- w + fd: the workspace       |  (where the init had to make it)
 *    | <----- r: the cell stands          |
 *    | S + 4 fds: start a REPL  --------> |  fork, drop, filter, exec -----> |
 *    | <----- s + pidfd, or s + step, errno
 *    | <----- q: at rest, what was passed is closed
 *    | <----- x pid status usage          | <------------- a REPL ends ----- |
 *    | W + pipe: write a file ----------> |  fork, drop, write -> x; q as well
 *    | D, M: delete, make directory ----> |  fork, drop, do it -> x
 *    | A + pid: adopt a REPL that a template forked (fork.c) -> s + pidfd
 *    | K: kill all code ----------------> |  kill(-1, SIGKILL)
 *    | <----- k, when no child is left    |
 *    | G + pid: kill one REPL's group --> |  kill(-pid, SIGKILL) -> x
 *    | (end of file: the owner is gone)   |  exit, and the kernel ends the cell
 *
 * It decides nothing: which calls build the cell, and in which order, the host
 * resolved before (nsjail/steps.go). It reads nothing that code in the cell
 * wrote. Started once more as "helper" it carries out a plan in a given PID
 * namespace and exits: that is how /proc is made where the cell may not.
 *
 * argv: outer | init UID python arg… | nest UID python arg… | helper
 * fds: 3 = host, 4 = this program, then what the plan names.
 */
#include "calls.h"
#include <linux/capability.h>
#include <linux/fcntl.h>
#include <linux/filter.h>
#include <linux/poll.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <linux/signal.h>
#include <linux/socket.h>
#include <linux/stat.h>
#include <linux/wait.h>
#include <linux/resource.h>
#include <linux/errno.h>

#define HOST 3
#define SELF 4
#define MAX_FILTER 4096
#define MAX_KNOWN 64
#define MAX_MSG (128 << 10)

/* ---- what the linker and gcc want ---- */

#if defined(CELLBLOCK_DECODE)
/* decode.c is a program of its own */
#elif defined(__x86_64__)
__asm__(".globl _start\n_start: xor %ebp,%ebp\n mov %rsp,%rdi\n and $-16,%rsp\n call start_here\n hlt\n");
#elif defined(__aarch64__)
__asm__(".globl _start\n_start: mov x0, sp\n bl start_here\n");
#endif

/* gcc may call these for struct copies and clearing. */
void *memset(void *p, int c, size_t n) {
	unsigned char *q = p;
	while (n--) { *q++ = (unsigned char)c; __asm__ volatile("" ::: "memory"); }
	return p;
}
void *memcpy(void *d, const void *s, size_t n) {
	unsigned char *q = d;
	const unsigned char *p = s;
	while (n--) { *q++ = *p++; __asm__ volatile("" ::: "memory"); }
	return d;
}

#include "messages.h"
#include "plan.h"

static struct sock_filter filter[MAX_FILTER];
static struct { unsigned short len; struct sock_filter *filter; } program;
static int known[MAX_KNOWN];
static char msg[MAX_MSG + 1] __attribute__((aligned(8)));
static long code_uid;
static char **args, **python, **env;
static char buffer[1 << 16];
static int nest; /* this is the init of one */

#ifdef CELLBLOCK_FAULTS
#include "faults.h"
#endif

__attribute__((noreturn)) static void die(int status) { for (;;) sys(__NR_exit_group, status); }

/* ---- messages: packets of a SOCK_SEQPACKET pair ---- */

struct reply {              /* to the host, fixed size, native byte order */
	uint8_t kind, step; uint16_t pad; int32_t pid; int32_t status; int32_t err;
	int64_t utime_us, stime_us, maxrss_kb;
};

static long cloned; /* by outer: it holds the host's socket open as well */

static void tell(struct reply *r, int fd) {
	struct iovec_ v = { r, sizeof *r };
	struct { size_t len; int level, type; int fd, pad; } c = { 20, 1 /* SOL_SOCKET */, 1 /* SCM_RIGHTS */, fd, 0 };
	struct msghdr_ m = { 0, 0, &v, 1, fd < 0 ? 0 : &c, fd < 0 ? 0 : sizeof c, 0 };
	long n;
	do n = sys(__NR_sendmsg, HOST, &m, 0x4000 /* MSG_NOSIGNAL */); while (n == -EINTR);
	/* The owner is gone, or would wait without end for what cannot be told. */
	if (n < 0) {
		if (cloned) sys(__NR_kill, cloned, 9);
		die(115);
	}
}

/* receive waits for one message of the host, with at most one descriptor. */
static long receive(char *buf, size_t size, int *fd) {
	struct iovec_ v = { buf, size };
	struct cmsg_ c;
	struct msghdr_ m = { 0, 0, &v, 1, &c, sizeof c, 0 };
	long n = sys(__NR_recvmsg, HOST, &m, 0x40000000 /* MSG_CMSG_CLOEXEC */);
	if (fd) *fd = m.controllen >= offsetof(struct cmsg_, fd) + sizeof(int) ? c.fd[0] : -1;
	return n;
}

/* ---- in the children ---- */

/* step names what failed; the host has the same list. */
enum { S_OK, S_SETSID, S_FDS, S_CLOSE, S_AMBIENT, S_GID, S_UID, S_CAPS, S_DUMPABLE, S_FILTER, S_EXEC, S_CLONE };

static int drop(void) {
	struct __user_cap_header_struct h = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct d[2] = { { 0, 0, 0 }, { 0, 0, 0 } };
	if (sys(__NR_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL) < 0) return S_AMBIENT;
	if (sys(__NR_setresgid, code_uid, code_uid, code_uid) < 0) return S_GID;
	if (sys(__NR_setresuid, code_uid, code_uid, code_uid) < 0) return S_UID;
	if (sys(__NR_capset, &h, d) < 0) return S_CAPS;
	if (sys(__NR_prctl, PR_SET_DUMPABLE, 0) < 0) return S_DUMPABLE;
	return S_OK;
}

static void unblock(void) {
	uint64_t none = 0;
	sys(__NR_rt_sigprocmask, SIG_SETMASK, &none, 0, 8);
}

/* drop_in_nest: a template stays the root of its user namespace, and keeps the
 * one capability with which its children enter cells. */
static int drop_in_nest(void) {
	struct __user_cap_header_struct h = { _LINUX_CAPABILITY_VERSION_3, 0 };
	uint32_t admin = 1U << CAP_SYS_ADMIN;
	struct __user_cap_data_struct d[2] = { { admin, admin, 0 }, { 0, 0, 0 } };
	return sys(__NR_capset, &h, d) < 0 ? S_CAPS : S_OK;
}

static void run_python(const int *fd, int report) {
	long r = 0;
	int step;
	if ((r = sys(__NR_setsid, 0)) < 0) { step = S_SETSID; goto failed; }
	for (int i = 0; i < 4; i++)
		if ((r = sys(__NR_dup3, fd[i], i, 0)) < 0) { step = S_FDS; goto failed; }
	/* report is above every passed descriptor; keep it alone, it closes on exec */
	if ((r = sys(__NR_dup3, report, 4, O_CLOEXEC)) < 0) { step = S_FDS; goto failed; }
	report = 4;
	if ((r = sys(__NR_close_range, 5, ~0U, 0)) < 0) { step = S_CLOSE; goto failed; }
	if ((step = nest ? drop_in_nest() : drop())) { r = -EPERM; goto failed; }
	unblock();
	/* The filter comes last: it allows execve once more, which the lock that
	 * ld.so preloads into Python takes away before Python's main runs. */
	if (!nest && (r = sys(__NR_prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) < 0) { step = S_FILTER; goto failed; }
	r = sys(__NR_execve, python[0], python, env);
	step = S_EXEC;
failed:;
	int32_t out[2] = { step, (int32_t)-r };
	sys(__NR_write, report, out, sizeof out);
	die(125);
}

#include "jobs.h"

/* ---- the parent ---- */

/* full: what cannot be remembered is not started, for its end would be told
 * to nobody. */
static int full(void) {
	for (int i = 0; i < MAX_KNOWN; i++)
		if (!known[i]) return 0;
	return 1;
}

static void remember(int pid) {
	for (int i = 0; i < MAX_KNOWN; i++)
		if (!known[i]) { known[i] = pid; return; }
}

static int forget(int pid) {
	for (int i = 0; i < MAX_KNOWN; i++)
		if (known[i] == pid) { known[i] = 0; return 1; }
	return 0;
}

static long fork_with_pidfd(int *pidfd) {
#if defined(__x86_64__)
	return sys(__NR_clone, CLONE_PIDFD | 17 /* SIGCHLD */, 0, pidfd, 0, 0);
#else
	return sys(__NR_clone, CLONE_PIDFD | 17, 0, pidfd, 0, 0);
#endif
}

static void start_repl(const int *fd) {
	int report[2], pidfd = -1;
	int32_t failure[2] = { S_OK, 0 };
	struct reply r = { .kind = 's' };
	long e = full() ? -EAGAIN : sys(__NR_pipe2, report, O_CLOEXEC);
	long pid = e < 0 ? e : fork_with_pidfd(&pidfd);
	if (pid == 0) run_python(fd, report[1]);
	if (pid < 0) {
		r.step = S_CLONE;
		r.err = (int32_t)-pid;
		pidfd = -1; /* the kernel may have written one that it took back */
		if (e >= 0) {
			sys(__NR_close, report[0]);
			sys(__NR_close, report[1]);
		}
	} else {
		remember((int)pid);
		sys(__NR_close, report[1]);
		/* ends when the child execs (the pipe closes) or says what failed */
		long n = sys(__NR_read, report[0], failure, sizeof failure);
		if (n == sizeof failure) { r.step = (uint8_t)failure[0]; r.err = failure[1]; }
		sys(__NR_close, report[0]);
	}
	r.pid = (int32_t)pid;
	tell(&r, pidfd);
	if (pidfd >= 0) sys(__NR_close, pidfd);
}

/* adopt a REPL that a template forked into this cell: it is a child of this
 * process since the one that forked it ended. */
static void adopt(const char *body) {
	struct reply r = { .kind = 's' };
	int32_t pid;
	memcpy(&pid, body, 4);
	long pidfd = full() ? -EAGAIN : sys(__NR_pidfd_open, pid, 0);
	r.pid = pid;
	if (pidfd < 0) {
		r.step = S_CLONE;
		r.err = (int32_t)-pidfd;
		pidfd = -1;
	} else {
		remember(pid);
	}
	tell(&r, (int)pidfd);
	if (pidfd >= 0) sys(__NR_close, pidfd);
}

/* kill_group ends a REPL with what has stayed in its process group. What the
 * host names is a process of this namespace; never all of them (-1). */
static void kill_group(const char *body) {
	int32_t pid;
	memcpy(&pid, body, 4);
	if (pid > 1) sys(__NR_kill, -(long)pid, 9);
}

/* job: kind, u32 mode, i64 size, path */
static void job(char kind, char *body, long len, int from) {
	int32_t mode;
	int64_t size;
	struct reply r = { .kind = 'j' };
	memcpy(&mode, body, 4);
	memcpy(&size, body + 4, 8);
	body[len] = 0;
	long pid = full() ? -EAGAIN : sys(__NR_clone, 17 /* SIGCHLD */, 0, 0, 0, 0);
	if (pid == 0) {
		sys(__NR_close, HOST);
		int step = drop();
		unblock();
		long e = step ? -EPERM : file_job(kind, body + 12, mode, size, from);
		die(e < 0 ? (int)(-e & 0xff) : 0);
	}
	r.pid = (int32_t)pid;
	r.err = pid < 0 ? (int32_t)-pid : 0;
	if (pid > 0) remember((int)pid);
	tell(&r, -1);
}

static void fail(int step, long r) {
	struct reply e = { .kind = 'o', .step = (uint8_t)step, .err = (int32_t)-r };
	tell(&e, -1);
	die(118);
}

#include "nest.h"

static int killing;

static void reap(void) {
	for (;;) {
		int status;
		struct rusage u;
		long pid = sys(__NR_wait4, -1, &status, WNOHANG | __WALL, &u);
		if (pid > 0) {
			if (!forget((int)pid)) continue;
			struct reply r = { .kind = 'x', .pid = (int32_t)pid, .status = status,
				.utime_us = u.ru_utime.tv_sec * 1000000L + u.ru_utime.tv_usec,
				.stime_us = u.ru_stime.tv_sec * 1000000L + u.ru_stime.tv_usec,
				.maxrss_kb = u.ru_maxrss };
			tell(&r, -1);
			continue;
		}
		/* Without the ends of its children it is of no use. */
		if (pid < 0 && pid != -ECHILD) die(114);
		if (pid == -ECHILD && killing) {
			struct reply r = { .kind = 'k' };
			killing = 0;
			tell(&r, -1);
		}
		return;
	}
}

static void hear(void) {
	struct iovec_ v = { msg, MAX_MSG };
	struct cmsg_ c;
	struct msghdr_ m = { 0, 0, &v, 1, &c, sizeof c, 0 };
	long n = sys(__NR_recvmsg, HOST, &m, 0x40000000 /* MSG_CMSG_CLOEXEC */);
	if (n == -EINTR || n == -EAGAIN) return;
	if (n <= 0) die(0); /* the lifeline is cut */
	int fds = m.controllen >= offsetof(struct cmsg_, fd) ? (int)((c.len - offsetof(struct cmsg_, fd)) / sizeof(int)) : 0;
	switch (msg[0]) {
	case 'S':
		if (fds == 4) start_repl(c.fd);
		break;
	case 'A':
		if (n == 5) adopt(msg + 1);
		break;
	case 'G':
		if (n == 5) kill_group(msg + 1);
		break;
	case 'C':
		if (nest && n > 2 && fds > msg[1] && sys(__NR_clone, 17 /* SIGCHLD */, 0, 0, 0, 0) == 0)
			build(msg + 1, (size_t)n - 1, c.fd, fds, args);
		break;
	case 'W': case 'D': case 'M':
		if (n > 13) job(msg[0], msg + 1, n - 1, fds ? c.fd[0] : -1);
		break;
	case 'K':
		killing = 1;
		sys(__NR_kill, -1, 9);
		reap();
		break;
	}
	for (int i = 0; i < fds; i++) sys(__NR_close, c.fd[i]);
	if (msg[0] == 'S' || msg[0] == 'A' || msg[0] == 'W') {
		struct reply rest = { .kind = 'q' };
		tell(&rest, -1);
	}
}

/* ---- the plan ---- */

static long one(const struct insn *in, char *data, size_t size) {
	long a[6];
	struct reply r = { 0 };
	int fd = -1;
	if (arguments(in, data, size, a) < 0) return -EFAULT;
	switch (in->what) {
	case CALL:
		return sys6(in->nr, a[0], a[1], a[2], a[3], a[4], a[5]);
	case RECEIVE_FD:
		r.kind = 'p';
		tell(&r, -1);
		if (receive(buffer, sizeof buffer, &fd) <= 0 || fd < 0) return -EPIPE;
		return fd;
	case SEND_FD: /* a[1]: as what */
		r.kind = (uint8_t)a[1];
		tell(&r, (int)a[0]);
		return 0;
	case POKE: /* a descriptor that belongs into a structure */
		if (in->kind[1] != POINTER || size - in->arg[1] < 4) return -EFAULT;
		memcpy((void *)a[1], &a[0], 4);
		return 0;
	}
	return -ENOSYS;
}

/* carry_out does the calls of the plan; on the first failure it says which
 * step that was, and ends. */
static void carry_out(void) {
	long n = receive(msg, MAX_MSG, 0);
	uint32_t count, rules, i;
	if (n <= 0) die(121); /* the host is gone */
	memcpy(&count, msg, 4);
	memcpy(&rules, msg + 4, 4);
	struct insn *in = (struct insn *)(msg + 8);
	if (n < 8 || count > (unsigned long)(n - 8) / sizeof *in) die(120);
	char *data = (char *)(in + count);
	size_t size = (size_t)(msg + n - data);
	if (rules > MAX_FILTER || rules * sizeof filter[0] > size) die(124);
	size -= rules * sizeof filter[0];
	memcpy(filter, data + size, rules * sizeof filter[0]);
	program.len = (unsigned short)rules;
	program.filter = filter;
	for (i = 0; i < count; i++) {
		long r = one(&in[i], data, size);
		if (r < 0 && -r != in[i].tolerate) {
			struct reply e = { .kind = 'e', .pid = (int32_t)in[i].step, .err = (int32_t)-r };
			tell(&e, -1);
			die(119);
		}
		if (in[i].save) slot[(in[i].save - 1) % SLOTS] = r;
	}
}

/* outer enters a user namespace, waits for its id maps, and clones the init
 * into all the others. It starts by exec, so that the host need not copy its
 * page tables as a fork would; CLONE_PARENT makes the init the host's child. */
static void outer(char **argv) {
	struct reply r = { .kind = 'u' };
	int pidfd = -1;
	char go;
	long e;
	/* "outer-FF-NN": NN descriptors from FF on, each a way into the group; one
	 * letter more for a nest. A literal 0 is the writer itself, for which the kernel waits for nobody. */
	int first = (argv[0][6] - '0') * 10 + argv[0][7] - '0', n = (argv[0][9] - '0') * 10 + argv[0][10] - '0';
	if (first < SELF || n < 0 || n > 99) die(116);
	for (int i = 0; i < n; i++)
		if ((e = sys(__NR_write, first + i, "0", 1)) < 0) fail(5, e);
	/* The kernel counts pinned memory and queued signals of a user namespace's
	 * processes against its maker, too: cells of one nest would share a limit of
	 * his. Each has one of its own. */
	if (argv[0][11]) {
		struct rlimit64 none = { ~0ULL, ~0ULL };
		sys(__NR_prlimit64, 0, RLIMIT_MEMLOCK, &none, 0);
		sys(__NR_prlimit64, 0, RLIMIT_SIGPENDING, &none, 0);
	}
	if ((e = sys(__NR_unshare, CLONE_NEWUSER)) < 0) fail(1, e);
	tell(&r, -1);
	if (receive(&go, 1, 0) <= 0) die(121);
	/* Where setgroups is denied (rootless) the caller's groups stay. */
	sys(__NR_setgroups, 0, 0);
	if ((e = sys(__NR_setresgid, 0, 0, 0)) < 0) fail(2, e);
	if ((e = sys(__NR_setresuid, 0, 0, 0)) < 0) fail(3, e);
	long flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_PARENT | CLONE_PIDFD;
	long pid = sys(__NR_clone, flags | 17 /* SIGCHLD */, 0, &pidfd, 0, 0);
	if (pid == 0) {
		/* A fresh image: what /proc shows of it belongs to the cell's root. */
		argv[0] = argv[0][11] ? "nest" : "init";
		sys(__NR_execveat, SELF, "", argv, env, AT_EMPTY_PATH);
		die(117);
	}
	if (pid < 0) fail(4, pid);
	cloned = pid;
	r.kind = 'c';
	r.pid = (int32_t)pid;
	tell(&r, pidfd);
	die(0);
}

__attribute__((noreturn)) static void serve(void) {
	uint64_t child = 1UL << (17 - 1);
	struct reply ready = { .kind = 'r' };
	long e = sys(__NR_rt_sigprocmask, SIG_BLOCK, &child, 0, 8);
	long sfd = e < 0 ? e : sys(__NR_signalfd4, -1, &child, 8, O_CLOEXEC | O_NONBLOCK);
	if (sfd < 0) die(122);
	tell(&ready, -1);
	for (;;) {
		struct pollfd p[2] = { { HOST, POLLIN, 0 }, { (int)sfd, POLLIN, 0 } };
		sys(__NR_ppoll, p, 2, 0, 0, 8);
		if (p[1].revents) {
			sys(__NR_read, sfd, buffer, 128);
			reap();
		}
		if (p[0].revents) hear();
	}
}

__attribute__((noreturn, used)) void start_here(long *stack) {
	long argc = stack[0];
	char **argv = (char **)(stack + 1);
	env = argv + argc + 1;
	if (argc < 1) die(123);
	if (argv[0][0] == 'o') outer(argv);
	nest = argv[0][0] == 'n';
	args = argv;
	if (argv[0][0] == 'h') {
		carry_out();
		die(0);
	}
	if (argc < 3) die(123);
	for (const char *p = argv[1]; *p; p++) code_uid = code_uid * 10 + (*p - '0');
	python = argv + 2;
	sys(__NR_prctl, PR_SET_DUMPABLE, 0);
	sys(__NR_prctl, PR_SET_NAME, "cell-init");
	carry_out();
	if (!program.len && !nest) die(124);
	sys(__NR_close_range, nest ? SELF + 1 : SELF, ~0U, 0); /* also what the plan opened */
	serve();
}
