/* The last filter of a cell: after it, nothing is executed any more.
 *
 *   init                        ld.so                       Python
 *    | filter 1 (package seccomp)
 *    | execve python ------------> | loads this object (ld.so.preload)
 *                                  | lock(): dumpable 0, filter 2
 *                                  | jumps to the program ----> | main
 *
 * Filter 1 must let that one execve through; filter 2 takes it back before
 * Python's main runs. It refuses execve and execveat, and every way to a
 * further filter: one with a listener of its own could answer "continue" to
 * an exec. Of two filters that refuse, the later one's errno is seen.
 *
 * Built without libc, so that it is one small object in the root and can be
 * loaded before, and by, any C library:
 *
 *   gcc -shared -fPIC -O2 -nostdlib -nostartfiles -fno-stack-protector \
 *       -Wall -Wextra -Werror -Wl,-z,relro,-z,now,-z,noexecstack,-z,noseparate-code,--build-id=none \
 *       -s -o lock.so lock.c
 *
 * It does not set no_new_privs (the plan did) and cannot be undone. ld.so
 * goes on without a preloaded object that it cannot load, so the host counts
 * the filters (seccomp.Filters) before it sends any code.
 */
#include <stddef.h>
#include <stdint.h>
#include <asm/unistd.h>
#include <linux/audit.h>
#include <linux/errno.h>
#include <linux/filter.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>

#define EXIT_NOT_LOCKED 125

#if defined(__x86_64__)

#define ARCH AUDIT_ARCH_X86_64
#define X32_BIT 0x40000000 /* __X32_SYSCALL_BIT */

static long call(long nr, long a, long b, long c) {
	long r;
	register long r10 __asm__("r10") = 0;
	register long r8 __asm__("r8") = 0;
	__asm__ volatile("syscall"
	                 : "=a"(r)
	                 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
	                 : "rcx", "r11", "memory");
	return r;
}

#elif defined(__aarch64__)

#define ARCH AUDIT_ARCH_AARCH64

static long call(long nr, long a, long b, long c) {
	register long x8 __asm__("x8") = nr;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = 0;
	register long x4 __asm__("x4") = 0;
	__asm__ volatile("svc 0"
	                 : "+r"(x0)
	                 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4)
	                 : "memory");
	return x0;
}

#else
#error "lock.c knows x86-64 and aarch64"
#endif

#define FIELD(f) ((uint32_t)offsetof(struct seccomp_data, f))
#define LOAD(offset) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (offset))
#define RETURN(action) BPF_STMT(BPF_RET | BPF_K, (action))
/* If the loaded word is v do the next instruction, else skip it. */
#define IF_EQUAL(v) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (v), 0, 1)
#define IF_NOT_EQUAL(v) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (v), 1, 0)

#define REFUSE RETURN(SECCOMP_RET_ERRNO | EPERM)
#define KILL RETURN(SECCOMP_RET_KILL_PROCESS)
#define PASS RETURN(SECCOMP_RET_ALLOW)

static const struct sock_filter filter[] = {
	LOAD(FIELD(arch)),
	IF_NOT_EQUAL(ARCH), KILL,
	LOAD(FIELD(nr)),
	IF_EQUAL(__NR_execve), REFUSE,
	IF_EQUAL(__NR_execveat), REFUSE,
	IF_EQUAL(__NR_seccomp), REFUSE,
	/* prctl takes its option as an int: only the low word counts, which is
	 * the first one in memory, as both machines are little-endian. */
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_prctl, 0, 3),
	LOAD(FIELD(args[0])),
	IF_EQUAL(PR_SET_SECCOMP), REFUSE,
	LOAD(FIELD(nr)), /* also after a prctl of another option: harmless */
#if defined(X32_BIT)
	/* Number -1 has the bit as well. It is no x32 call but a skipped one,
	 * and filter 1 answers it with ENOSYS. */
	IF_EQUAL(0xffffffff), PASS,
	BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, X32_BIT, 0, 1), KILL,
#endif
	PASS,
};

__attribute__((constructor)) static void lock(void) {
	struct sock_fprog program = {
		.len = sizeof filter / sizeof filter[0],
		.filter = (struct sock_filter *)filter,
	};

	/* Dumpable after the exec, for exec sets it again; and before the filter,
	 * so that whoever counts two filters on a process knows that it is not
	 * dumpable either. */
	if (call(__NR_prctl, PR_SET_DUMPABLE, 0, 0) < 0 ||
	    call(__NR_prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, (long)&program) < 0)
		for (;;)
			call(__NR_exit_group, EXIT_NOT_LOCKED, 0, 0);
}
