/* A plan: system calls whose arguments are numbers, pointers into the data
 * behind the list, or results of earlier calls. What runs it decides nothing;
 * nsjail/program.go wrote it. */
#define SLOTS 64

enum { CALL, RECEIVE_FD, SEND_FD, POKE, FILTER, LOCK }; /* what an instruction does */
enum { IMMEDIATE, POINTER, SLOT };                      /* what an argument is */

struct insn {
	uint16_t nr, tolerate;          /* system call; an errno that is no failure */
	uint8_t what, save;             /* slot + 1 for the result, 0: forget it */
	uint8_t kind[6];
	uint32_t step;                  /* of the plan, for the error */
	uint64_t arg[6];
};

static long slot[SLOTS];

/* arguments of one instruction, as numbers. */
static long arguments(const struct insn *in, char *data, size_t size, long *a) {
	for (int i = 0; i < 6; i++) {
		a[i] = (long)in->arg[i];
		if (in->kind[i] == POINTER) {
			if (in->arg[i] >= size) return -EFAULT;
			a[i] = (long)(data + in->arg[i]);
		} else if (in->kind[i] == SLOT) {
			if (in->arg[i] >= SLOTS) return -EFAULT;
			a[i] = slot[in->arg[i]];
		}
	}
	return 0;
}
