/* The last filter of a cell, and why it is as it is: see lock.c. */
#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#define X32_BIT 0x40000000 /* __X32_SYSCALL_BIT */
#else
#define ARCH AUDIT_ARCH_AARCH64
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

static const struct sock_filter lock_filter[] = {
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
