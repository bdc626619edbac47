/* What a child of the init does to the files of the workspace, for the host. */

/* walk opens the directory that holds the last element of path, below the
 * workspace, making what is missing; a symbolic link on the way is an error.
 * It runs as the code's own user inside the cell, so that nothing it could be
 * tricked into is more than code may do itself. */
static long walk(char *path, char **last, int make) {
	long dir = sys(__NR_openat, AT_FDCWD, "/workspace", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char *start = path;
	for (char *p = path; dir >= 0; p++) {
		if (*p == 0) { *last = start; return dir; }
		if (*p != '/') continue;
		*p = 0;
		if (make) {
			long r = sys(__NR_mkdirat, dir, start, 0755);
			if (r < 0 && r != -EEXIST) return r;
		}
		long next = sys(__NR_openat, dir, start, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		sys(__NR_close, dir);
		dir = next;
		start = p + 1;
	}
	return dir;
}

static long write_file(char *path, int mode, int64_t size, int from) {
	char *last, tmp[] = ".cellblock-upload-00000000";
	long dir = walk(path, &last, 1), f, n, id = sys(__NR_getpid, 0);
	int64_t got = 0;
	if (dir < 0) return dir;
	for (int i = 0; i < 8; i++, id /= 10) tmp[sizeof tmp - 2 - i] = (char)('0' + id % 10);
	sys(__NR_unlinkat, dir, tmp, 0);
	f = sys(__NR_openat, dir, tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	if (f < 0) return f;
	while ((n = sys(__NR_read, from, buffer, sizeof buffer)) > 0) {
		for (long done = 0; done < n;) {
			long w = sys(__NR_write, f, buffer + done, n - done);
			if (w < 0) { sys(__NR_unlinkat, dir, tmp, 0); return w; }
			done += w;
		}
		got += n;
	}
	if (n < 0 || got != size) { sys(__NR_unlinkat, dir, tmp, 0); return n < 0 ? n : -EPIPE; }
	n = sys(__NR_renameat2, dir, tmp, dir, last, 0);
	if (n < 0) sys(__NR_unlinkat, dir, tmp, 0);
	return n;
}

static long file_job(char kind, char *path, int mode, int64_t size, int from) {
	char *last;
	long dir;
	if (kind == 'W') return write_file(path, mode, size, from);
	dir = walk(path, &last, kind == 'M');
	if (dir < 0) return dir;
	if (kind == 'D') {
		long r = sys(__NR_unlinkat, dir, last, 0);
		return r == -EISDIR ? sys(__NR_unlinkat, dir, last, 0x200 /* AT_REMOVEDIR */) : r;
	}
	long r = sys(__NR_mkdirat, dir, last, 0755);
	return r == -EEXIST ? 0 : r;
}
