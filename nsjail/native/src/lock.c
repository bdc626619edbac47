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
 * A Python that has no filter yet is a template, in a nest and not in a cell:
 * the object leaves it alone, and what is forked from it loads both filters by
 * itself (fork.c).
 *
 * It does not set no_new_privs (the plan did) and cannot be undone. ld.so
 * goes on without a preloaded object that it cannot load, so the host counts
 * the filters (seccomp.Filters) before it sends any code.
 */
#include "calls.h"
#include <linux/audit.h>
#include <linux/errno.h>
#include <linux/filter.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>

#define EXIT_NOT_LOCKED 125
#include "lockfilter.h"

__attribute__((constructor)) static void lock(void) {
	struct sock_fprog program = {
		.len = sizeof lock_filter / sizeof lock_filter[0],
		.filter = (struct sock_filter *)lock_filter,
	};

	if (sys(__NR_prctl, PR_GET_SECCOMP) == 0)
		return;
	/* Dumpable after the exec, for exec sets it again; and before the filter,
	 * so that whoever counts two filters on a process knows that it is not
	 * dumpable either. */
	if (sys(__NR_prctl, PR_SET_DUMPABLE, 0) < 0 ||
	    sys(__NR_prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
		for (;;)
			sys(__NR_exit_group, EXIT_NOT_LOCKED);
}
