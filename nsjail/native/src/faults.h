/* In a test build (-DCELLBLOCK_FAULTS, tests/faults) one system call of this
 * program fails once: CELLBLOCK_FAULT=role:number:errno in its environment. The
 * roles are o (outer), x (what outer cloned, up to its exec), i (the init) and c
 * (a child of the init, up to its exec); each counts its own calls from 0. With
 * an errno of 255 the call ends the program instead, which shows that the role
 * makes as many. */
static char fault_role, fault_wanted;
static long fault_at, fault_errno, fault_count;

static void fault_look(void) {
	static const char key[] = "CELLBLOCK_FAULT=";
	fault_role = python ? 'i' : 'o';
	for (char **e = env; *e; e++) {
		const char *p = *e, *k = key;
		while (*k && *p == *k) { p++; k++; }
		if (*k || !p[0] || p[1] != ':') continue;
		fault_wanted = *p;
		for (p += 2; *p >= '0' && *p <= '9'; p++) fault_at = fault_at * 10 + *p - '0';
		if (*p) p++;
		for (; *p >= '0' && *p <= '9'; p++) fault_errno = fault_errno * 10 + *p - '0';
	}
}

static long failing6(long n, long a, long b, long c, long d, long e, long f) {
	if (!fault_role) fault_look();
	if (fault_role == fault_wanted && fault_count++ == fault_at) {
		if (fault_errno == 255) for (;;) sys6(__NR_exit_group, 99, 0, 0, 0, 0, 0);
		if (n == __NR_close) sys6(n, a, b, c, d, e, f); /* Linux closes, whatever it says */
		return -fault_errno;
	}
	long r = sys6(n, a, b, c, d, e, f);
	if (n == __NR_clone && r == 0) {
		fault_role = fault_role == 'i' ? 'c' : 'x';
		fault_count = 0;
	}
	return r;
}
#define sys6 failing6
