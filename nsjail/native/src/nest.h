/* The init of a nest: a user namespace without a capability on the host, which
 * holds a template and the cells of what is forked from it. Beside what every
 * init does it builds cells, for only a process in here may write the id maps
 * of user namespaces nested in it:
 *
 *   host                                a child of the nest's init
 *    | C + socket, ways into the group,
 *    |     what the plan names -------> |  enter the group, clone the cell's
 *    |                                  |  init, write its id maps, exit
 *    | <----- c + pidfd (on the socket) |
 *    | the plan --------------------->  the cell's init, as for any other cell
 */

/* The steps that can fail; the host has the same list behind outer's. */
enum { N_FDS = 6, N_PIPE, N_MAP };

/* put writes text into a file that exists. */
static long put(const char *path, const char *text, size_t len) {
	long f = sys(__NR_openat, AT_FDCWD, path, O_WRONLY | O_CLOEXEC), r;
	if (f < 0) return f;
	r = sys(__NR_write, f, text, len);
	sys(__NR_close, f);
	return r < 0 ? r : 0;
}

/* map writes /proc/PID/uid_map or gid_map. */
static long map(long pid, char kind, const char *text, size_t len) {
	char path[] = "/proc/0000000000/uid_map";
	for (int i = 0; i < 10; i++, pid /= 10) path[15 - i] = (char)('0' + pid % 10);
	char *p = path + 6; /* proc knows no leading zeros */
	while (*p == '0') p++;
	for (char *q = path + 6; (*q++ = *p++);) {}
	for (p = path; *p; p++)
		if (*p == 'u' && p[1] == 'i') *p = kind;
	return put(path, text, len);
}

/* build: body is one byte, the number of ways into the group, and the text of
 * the id map; fd the socket, the ways, and what the plan names. */
static void build(const char *body, size_t len, const int *fd, int fds, char **argv) {
	struct reply r = { .kind = 'c' };
	int ways = body[0], pidfd = -1, gate[2], high[MAX_FDS];
	long e;
	/* Away from where they are to be. */
	for (int i = 0; i < fds; i++)
		if ((high[i] = (int)sys(__NR_fcntl, fd[i], F_DUPFD_CLOEXEC, 256)) < 0) die(115);
	sys(__NR_dup3, high[0], HOST, 0);
	for (int i = 1; i <= ways; i++)
		if ((e = sys(__NR_write, high[i], "0", 1)) < 0) fail(5, e);
	for (int i = 1 + ways; i < fds; i++)
		if ((e = sys(__NR_dup3, high[i], SELF + i - ways, 0)) < 0) fail(N_FDS, e);
	if ((e = sys(__NR_close_range, SELF + fds - ways, ~0U, 0)) < 0) fail(N_FDS, e);
	if ((e = sys(__NR_pipe2, gate, O_CLOEXEC)) < 0) fail(N_PIPE, e);
	long flags = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_PARENT | CLONE_PIDFD;
	long pid = sys(__NR_clone, flags | 17 /* SIGCHLD */, 0, &pidfd, 0, 0);
	if (pid == 0) {
		char go;
		sys(__NR_close, gate[1]);
		if (sys(__NR_read, gate[0], &go, 1) != 1) die(121);
		sys(__NR_setgroups, 0, 0);
		if ((e = sys(__NR_setresgid, 0, 0, 0)) < 0) fail(2, e);
		if ((e = sys(__NR_setresuid, 0, 0, 0)) < 0) fail(3, e);
		unblock();
		argv[0] = "init";
		sys(__NR_execveat, SELF, "", argv, env, AT_EMPTY_PATH);
		die(117);
	}
	if (pid < 0) fail(4, pid);
	if ((e = map(pid, 'u', body + 1, len - 1)) < 0 || (e = map(pid, 'g', body + 1, len - 1)) < 0) {
		sys(__NR_kill, pid, 9);
		fail(N_MAP, e);
	}
	r.pid = (int32_t)pid;
	tell(&r, pidfd);
	sys(__NR_write, gate[1], "g", 1);
	die(0);
}
