/* The init's reader of plans, without the kernel: for tests and fuzzing. It takes
 * messages (u32 length, bytes) on stdin and says on stdout (u32 length, text) what
 * the init would do with each. A call of the plan gets the result 100 + its place
 * in the list, or -ENOSYS where its number is 1000 or more; model in
 * nsjail/decode_test.go does the same. Built with -fsanitize=address,undefined. */
#define CELLBLOCK_DECODE
#define memset init_memset
#define memcpy init_memcpy
static long sys6(long n, long a, long b, long c, long d, long e, long f);
#include "init.c"
#undef memset
#undef memcpy

extern long read(int, void *, unsigned long), write(int, const void *, unsigned long);
extern int snprintf(char *, unsigned long, const char *, ...);

static char text[1 << 20];
static unsigned long length;
static const char *message;
static long left, calls;
static void *ended[5];

#define say(...) (length += (unsigned long)snprintf(text + length, sizeof text - length, __VA_ARGS__))

static long host(long n, long a, struct msghdr_ *m) {
	(void)a;
	if (n == __NR_exit_group) {
		say("exit %ld\n", a);
		__builtin_longjmp(ended, 1);
	}
	if (n == __NR_sendmsg) {
		struct reply *r = m->iov->base;
		say("tell %c %d %d %d\n", r->kind, r->pid, r->err, m->control ? ((struct cmsg_ *)m->control)->fd[0] : -1);
		return 1;
	}
	if (!message) { /* a descriptor that the plan asks for */
		((struct cmsg_ *)m->control)->fd[0] = 77;
		return 1;
	}
	init_memcpy(m->iov->base, message, (size_t)left);
	message = 0;
	m->controllen = 0;
	return left;
}

/* An argument is told as its place in the message, if it points there. */
static void argument(long a) {
	long at = a - (long)msg;
	if (at >= 0 && at < (long)sizeof msg) say(" @%ld", at);
	else say(" %ld", a);
}

static long sys6(long n, long a, long b, long c, long d, long e, long f) {
	if (a == HOST && (n == __NR_sendmsg || n == __NR_recvmsg)) return host(n, a, (struct msghdr_ *)b);
	if (n == __NR_exit_group) return host(n, a, 0);
	say("call %ld", n);
	argument(a); argument(b); argument(c); argument(d); argument(e); argument(f);
	say("\n");
	return n < 1000 ? 100 + calls++ : -ENOSYS;
}

static int all(int fd, char *p, unsigned long n) {
	for (long r; n; p += r, n -= (unsigned long)r)
		if ((r = fd ? write(fd, p, n) : read(fd, p, n)) <= 0) return 0;
	return 1;
}

int main(void) {
	static char in[MAX_MSG];
	uint32_t n;
	while (all(0, (char *)&n, sizeof n) && n <= sizeof in && all(0, in, n)) {
		length = 0, calls = 0;
		message = in, left = n;
		init_memset(msg, 0, sizeof msg);
		init_memset(slot, 0, sizeof slot);
		if (!__builtin_setjmp(ended)) {
			carry_out();
			say("filter %d\n", program.len);
		}
		uint32_t out = (uint32_t)length;
		if (!all(1, (char *)&out, sizeof out) || !all(1, text, length)) return 1;
	}
	return 0;
}
