/* Writes the last filter as the kernel reads it, for one architecture or, with
 * ARM64 defined, for the other one. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <linux/audit.h>
#include <linux/errno.h>
#include <linux/filter.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>
#ifdef ARM64
#include <asm-generic/unistd.h>
#undef __x86_64__
#else
#include <asm/unistd.h>
#define __x86_64__ 1
#endif
#include "lockfilter.h"

int main(void) {
	return fwrite(lock_filter, sizeof lock_filter, 1, stdout) != 1;
}
