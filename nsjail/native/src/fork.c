/* The native part of a template, a Python that has imported its modules and
 * from which REPLs are forked into cells that stand already. A module of
 * Python's stable interface, for any version from 3.9 on. Its serve:
 *
 *   host             template                C1                     REPL
 *    | 1 byte + fds --> |
 *    |                  | (1) children are to be born in the cell
 *    |                  | clone VM, VFORK --> |
 *    |                  | (waits)             | (2) enter the group,
 *    |                  |                     |     then the namespaces
 *    |                  |                     | fork, by libc ------> |
 *    |                  | <------------- exit |                       | (3) drop all,
 *    |                  | reap, go home       PPID becomes the init   |     the filters
 *    | <---------------------------------- step, errno, pid --------- |
 *    |                  | …                                           | back to Python
 *
 * C1 exists so that the REPL is a child of its cell's init and page tables are
 * charged to the session; it shares the template's memory, so that making it
 * copies nothing. (1), (2) and (3) are lists of system calls that the host has
 * resolved (nsjail/fork.go); nothing is decided here. Between forks no Python
 * runs in the template: it would copy hundreds of KB of its own pages.
 *
 * A fork costs what its page tables take to copy, and to give back. So before
 * the imports Python's objects are gathered in one place, which then is put into
 * large pages, where the kernel has any: a third of a session with pandas. And
 * what is free between those objects is taken, so that a REPL's own lie together.
 *
 * fds: 0-2 streams, 3 control, 4 the cell's init as a pidfd, then what the
 * plan names. They are the first slots.
 */
#include "calls.h"
#include <linux/audit.h>
#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/filter.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <linux/wait.h>
#define HOST 3
#include "lockfilter.h"
#include "messages.h"
#include "plan.h"

/* ---- what Python and libc have; no header, so as to fit every version ---- */

typedef struct object object;
struct method { const char *name; object *(*call)(object *, object *); int flags; const char *doc; };
struct module {
	long refs; void *type, *init; long index; void *copy; /* PyModuleDef_HEAD_INIT */
	const char *name, *doc; long size; struct method *methods; void *slots, *traverse, *clear, *free;
};
object *PyModule_Create2(struct module *, int);
object *PyLong_FromLong(long);
char *PyBytes_AsString(object *);
long PyBytes_Size(object *);
object *PyBytes_FromStringAndSize(const char *, long);
struct arenas { void *ctx; void *(*alloc)(void *, size_t); void (*free)(void *, void *, size_t); };
void *PyObject_Malloc(size_t);
void *malloc(size_t);
void PyObject_SetArenaAllocator(struct arenas *);
long PyGC_Collect(void);
void PyOS_BeforeFork(void);
void PyOS_AfterFork_Child(void);
extern object *PyExc_OSError;
void PyErr_SetString(object *, const char *);
int fork(void);
int *__errno_location(void);
extern const long __rseq_offset __attribute__((weak));
extern const unsigned __rseq_size __attribute__((weak));

/* ---- where a template's objects lie ---- */

enum { PROT_NONE_ = 0, PROT_RW = 3, MAP_PRIVATE_ = 2, MAP_FIXED_ = 0x10, MAP_ANON = 0x20, MAP_NORESERVE_ = 0x4000, COLLAPSE = 25 };
enum { LARGE = 2 << 20 };

static char *next, *end;    /* of what is reserved */
static char *last, *behind; /* of what Python took last */

static void *arena(void *ctx, size_t n) {
	long p = -1;
	(void)ctx;
	if ((size_t)(end - next) >= n) {
		p = sys(__NR_mmap, next, n, PROT_RW, MAP_PRIVATE_ | MAP_ANON | MAP_FIXED_, -1, 0);
		if (p == (long)next) next += n;
	}
	if (p < 0 && p > -4096) p = sys(__NR_mmap, 0, n, PROT_RW, MAP_PRIVATE_ | MAP_ANON, -1, 0);
	if (p < 0 && p > -4096) return 0;
	last = (char *)p;
	behind = last + n;
	return last;
}

static void give_back(void *ctx, void *p, size_t n) {
	(void)ctx;
	sys(__NR_munmap, p, n);
}

/* gather makes Python take memory for objects from one place from now on. */
static object *gather(object *self, object *none) {
	static struct arenas arenas = { 0, arena, give_back };
	const size_t most = 4UL << 30;
	(void)self, (void)none;
	long p = sys(__NR_mmap, 0, most, PROT_NONE_, MAP_PRIVATE_ | MAP_ANON | MAP_NORESERVE_, -1, 0);
	if (p > 0) {
		next = (char *)((p + LARGE - 1) & ~(long)(LARGE - 1));
		end = (char *)p + most;
		PyObject_SetArenaAllocator(&arenas);
	}
	return PyLong_FromLong(p > 0);
}

/* collapse puts the memory between two addresses into large pages, as far as the
 * kernel can. */
static object *collapse(object *self, object *range) {
	unsigned long *r = (unsigned long *)PyBytes_AsString(range), done = 0;
	(void)self;
	if (!r || PyBytes_Size(range) != 16) return PyLong_FromLong(-1);
	for (unsigned long a = (r[0] + LARGE - 1) & ~(LARGE - 1UL); a + LARGE <= r[1]; a += LARGE)
		done += sys(__NR_madvise, a, LARGE, COLLAPSE) == 0;
	return PyLong_FromLong((long)done);
}

/* fill puts chance between two addresses. */
static object *fill(object *self, object *range) {
	unsigned long *r = (unsigned long *)PyBytes_AsString(range);
	(void)self;
	if (!r || PyBytes_Size(range) != 16) return PyLong_FromLong(-1);
	for (unsigned long a = r[0]; a < r[1];) {
		long n = sys(__NR_getrandom, a, r[1] - a, 0);
		if (n > 0) a += (unsigned long)n;
		else if (n != -EINTR) for (;;) sys(__NR_exit_group, 126);
	}
	return PyLong_FromLong(0);
}

/* peek returns what lies between two addresses. */
static object *peek(object *self, object *range) {
	unsigned long *r = (unsigned long *)PyBytes_AsString(range);
	(void)self;
	if (!r || PyBytes_Size(range) != 16) return PyLong_FromLong(-1);
	return PyBytes_FromStringAndSize((const char *)r[0], (long)(r[1] - r[0]));
}

/* use_up takes, for good, what is free between the objects: a REPL that got a
 * place there would copy a page for nearly every object, and others for Python's
 * and malloc's lists of such places. After that Python goes on in a new arena,
 * and malloc at the end of the heap. */
static void use_up(void) {
	enum { SMALL = 512, IN_BINS = 1032 }; /* Python's largest, the largest that malloc keeps by size */
	char *top = (char *)sys(__NR_brk, 0), *p;
	long most = 64L << 20; /* a few MB are usual */
	last = behind = 0;
	for (size_t n = SMALL; n >= 16; n -= 16)
		while (most > 0 && (p = PyObject_Malloc(n)) && (p < last || p >= behind)) most -= (long)n;
	for (size_t n = 64 << 10; n >= 24; n = n <= IN_BINS ? n - 16 : n / 2 > IN_BINS ? n / 2 : IN_BINS)
		while (most > 0 && (p = malloc(n)) && p < top) most -= (long)n;
}

/* ---- the plan ---- */

enum { IN_TEMPLATE, IN_C1, IN_REPL, PARTS };
enum { STEP_FORK = 0xffff, STEP_CLONE = 0xfffe };

static struct insn *part[PARTS + 1]; /* where each begins, and the last ends */
static char *data;
static size_t size;
static uint32_t step;

static long load(const void *rules, long count) {
	struct { unsigned short len; const void *filter; } program = { (unsigned short)count, rules };
	return sys(__NR_prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

static long run(int which) {
	for (struct insn *in = part[which]; in < part[which + 1]; in++) {
		long a[6], r = arguments(in, data, size, a);
		step = in->step;
		if (r == 0) switch (in->what) {
		case CALL: r = sys6(in->nr, a[0], a[1], a[2], a[3], a[4], a[5]); break;
		case FILTER: r = load((const void *)a[0], a[1]); break;
		case LOCK: r = load(lock_filter, sizeof lock_filter / sizeof lock_filter[0]); break;
		default: r = -ENOSYS;
		}
		if (r < 0 && -r != in->tolerate) return r;
	}
	return 0;
}

/* tell_host goes over the control channel, under the number it has by then. */
static void tell_host(uint32_t at, long err) {
	int32_t out[3] = { (int32_t)at, (int32_t)-err, (int32_t)sys(__NR_getpid, 0) };
	if (sys(__NR_write, slot[3], out, sizeof out) < 0) sys(__NR_write, HOST, out, sizeof out);
}

/* Restartable sequences are registered for a thread; one that shares memory,
 * as C1 does, and its children start without. libc counts on them. */
static void register_rseq(void) {
	if (!&__rseq_offset || !&__rseq_size || !__rseq_size) return;
	sys(__NR_rseq, (char *)__builtin_thread_pointer() + __rseq_offset, __rseq_size < 32 ? 32 : __rseq_size, 0, 0x53053053);
}

/* enter is C1's part, and then the REPL's, who returns 1. */
static __attribute__((noinline)) int enter(void) {
	long e = run(IN_C1);
	if (e < 0) { tell_host(step, e); return 0; }
	int pid = fork();
	if (pid < 0) tell_host(STEP_FORK, -*__errno_location());
	if (pid != 0) return 0;
	register_rseq();
	if ((e = run(IN_REPL)) < 0) { tell_host(step, e); return 0; }
	tell_host(0, 0);
	return 1;
}

static int receive_fds(void) {
	char byte;
	struct iovec_ v = { &byte, 1 };
	struct cmsg_ c;
	for (;;) {
		struct msghdr_ m = { 0, 0, &v, 1, &c, sizeof c, 0 };
		long n = sys(__NR_recvmsg, HOST, &m, 0x40000000 /* MSG_CMSG_CLOEXEC */);
		if (n == -EINTR) continue;
		if (n <= 0) return -1; /* the host is gone, or retires this template */
		int fds = m.controllen >= offsetof(struct cmsg_, fd) ? (int)((c.len - offsetof(struct cmsg_, fd)) / sizeof(int)) : 0;
		for (int i = 0; i < SLOTS; i++) slot[i] = i < fds ? c.fd[i] : -1;
		return fds;
	}
}

/* serve forks a REPL for each message and returns in the REPLs only. */
static object *serve(object *self, object *plan) {
	char *p = PyBytes_AsString(plan);
	long length = PyBytes_Size(plan), home = sys(__NR_openat, AT_FDCWD, "/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
	uint32_t *count = (uint32_t *)p, total = 0;
	(void)self;
	if (!p || length < 16 || home < 0) goto broken;
	for (int i = 0; i < PARTS; i++) {
		part[i] = (struct insn *)(p + 16) + total;
		total += count[i];
	}
	if (total > (length - 16) / sizeof(struct insn)) goto broken;
	part[PARTS] = (struct insn *)(p + 16) + total;
	data = (char *)part[PARTS];
	size = (size_t)(p + length - data);
	PyOS_BeforeFork(); /* once for all that follow: no Python runs here in between */
	PyGC_Collect(); /* also what types keep for their next objects, wherever it lies */
	use_up();
	end = next; /* what the REPLs take is theirs, and counts as such */
	for (;;) {
		int fds = receive_fds();
		if (fds < 0) for (;;) sys(__NR_exit_group, 0);
		long e = run(IN_TEMPLATE);
		if (e < 0) {
			tell_host(step, e);
		} else {
			/* On one stack: enter has a frame of its own below this one, and
			 * the template runs on only when C1 is gone. */
			long pid = sys(__NR_clone, CLONE_VM | CLONE_VFORK | 17 /* SIGCHLD */, 0, 0, 0, 0);
			if (pid == 0) {
				if (enter()) break;
				for (;;) sys(__NR_exit_group, 0);
			}
			if (pid < 0) tell_host(STEP_CLONE, pid);
			else sys(__NR_wait4, pid, 0, __WALL, 0);
		}
		if (sys(__NR_setns, home, CLONE_NEWPID) < 0) for (;;) sys(__NR_exit_group, 125);
		for (int i = 0; i < fds; i++) sys(__NR_close, slot[i]);
	}
	PyOS_AfterFork_Child();
	return PyLong_FromLong(0);
broken:
	PyErr_SetString(PyExc_OSError, "the plan of a template is malformed");
	return 0;
}

static struct method methods[] = {
	{ "gather", gather, 4 /* METH_NOARGS */, 0 }, { "collapse", collapse, 8 /* METH_O */, 0 },
	{ "fill", fill, 8, 0 }, { "peek", peek, 8, 0 },
	{ "serve", serve, 8, 0 }, { 0, 0, 0, 0 }
};
static struct module definition = { .refs = 1, .name = "cellblock_fork", .size = -1, .methods = methods };

__attribute__((visibility("default"))) object *PyInit_cellblock_fork(void) {
	return PyModule_Create2(&definition, 3 /* the stable interface */);
}
