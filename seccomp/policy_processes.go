package seccomp

// Flags of clone that are refused. CLONE_NEWTIME is a bit of the exit signal
// here, and means a namespace for clone3 and unshare only; no signal has
// that bit, so refusing it costs nothing and keeps the answer uniform.
const (
	cloneNewtime   = 0x00000080
	cloneParent    = 0x00008000
	cloneNewns     = 0x00020000
	cloneNewcgroup = 0x02000000
	cloneNewuts    = 0x04000000
	cloneNewipc    = 0x08000000
	cloneNewuser   = 0x10000000
	cloneNewpid    = 0x20000000
	cloneNewnet    = 0x40000000

	cloneRefused = cloneNewtime | cloneParent | cloneNewns | cloneNewcgroup | cloneNewuts | cloneNewipc | cloneNewuser | cloneNewpid | cloneNewnet
)

// Options of prctl that are allowed. PR_SET_SECCOMP is among them: the last
// filter, loaded before Python's main, is installed with it and refuses it.
var prctlAllowed = []uint32{
	1, 2, // PR_SET_PDEATHSIG PR_GET_PDEATHSIG
	3,      // PR_GET_DUMPABLE
	5,      // PR_GET_UNALIGN
	7,      // PR_GET_KEEPCAPS
	13,     // PR_GET_TIMING
	15, 16, // PR_SET_NAME PR_GET_NAME
	21, 22, // PR_GET_SECCOMP PR_SET_SECCOMP
	23,     // PR_CAPBSET_READ
	25,     // PR_GET_TSC
	27,     // PR_GET_SECUREBITS
	29, 30, // PR_SET_TIMERSLACK PR_GET_TIMERSLACK
	34,     // PR_MCE_KILL_GET
	37,     // PR_GET_CHILD_SUBREAPER
	38, 39, // PR_SET_NO_NEW_PRIVS PR_GET_NO_NEW_PRIVS
	40,     // PR_GET_TID_ADDRESS
	41, 42, // PR_SET_THP_DISABLE PR_GET_THP_DISABLE
	46,         // PR_GET_FP_MODE
	51,         // PR_SVE_GET_VL
	52,         // PR_GET_SPECULATION_CTRL
	56,         // PR_GET_TAGGED_ADDR_CTRL
	64,         // PR_SME_GET_VL
	66,         // PR_GET_MDWE
	68,         // PR_GET_MEMORY_MERGE
	74,         // PR_GET_SHADOW_STACK_STATUS
	0x53564d41, // PR_SET_VMA: a name for a mapping
	0x41555856, // PR_GET_AUXV
}

const prSetDumpable = 4

// processes: starting, ending and looking after processes of the cell.
func processes() []Row {
	prctl := append(oneOf(0, prctlAllowed...), Match{{0, low32, prSetDumpable}, {1, all64, 0}})
	return []Row{
		{
			Calls: "clone", Do: Allow, When: none(0, cloneRefused), Else: NotPermitted,
			Why: "threads and fork; no namespaces, and no sibling by CLONE_PARENT, which would be a child of init that init never started",
		},
		{Calls: "clone3", Do: NoCall, Why: "its flags lie in memory, where the filter cannot look; the C library then uses clone"},
		{Calls: "fork vfork", Do: Allow, Missing: "arm64", Why: "older forms of clone; pids.max counts them"},
		{Calls: "execve", Do: Allow, Why: "the one exec, of Python itself; the last filter (nsjail/native/src/lock.c) refuses it before Python's main"},
		{Calls: "execveat", Do: NotPermitted, Why: "Python is not started with it, and nothing else may be"},
		{Calls: "exit exit_group wait4 waitid", Do: Allow, Why: "ending, and waiting for children"},
		{Calls: "restart_syscall", Do: Allow, Why: "the kernel resumes an interrupted sleep with it"},
		{
			Calls: "prctl", Do: Allow, When: prctl, Else: NotPermitted,
			Why: "names, reading, and giving up; dumpable can only be cleared; no PR_SET_MM, PR_SET_PTRACER, no subreaper, no merging of pages",
		},
		{
			Calls: "arch_prctl", Do: Allow, Else: Invalid, Missing: "arm64",
			When: oneOf(0, 0x1002, 0x1003, 0x1021, 0x1022, 0x1023), // ARCH_SET_FS ARCH_GET_FS, ARCH_{GET_XCOMP_SUPP,GET_XCOMP_PERM,REQ_XCOMP_PERM}
			Why:  "thread-local storage at start, and AMX for BLAS; an unknown code is EINVAL",
		},
		{Calls: "getpid getppid gettid getpgid getsid setpgid setsid set_tid_address", Do: Allow, Why: "process ids, groups and sessions of the PID namespace"},
		{Calls: "getpgrp", Do: Allow, Missing: "arm64", Why: "older form of getpgid"},
		{Calls: "pidfd_open pidfd_send_signal", Do: Allow, Why: "asyncio watches children with a pidfd; only processes of the PID namespace"},
		{Calls: "futex futex_waitv futex_wake futex_wait futex_requeue set_robust_list get_robust_list rseq membarrier", Do: Allow, Why: "locks and threads"},
		{Calls: "sched_yield sched_getaffinity sched_setaffinity sched_getparam sched_getscheduler sched_getattr sched_get_priority_max sched_get_priority_min sched_rr_get_interval getcpu", Do: Allow, Why: "os.cpu_count, BLAS and OpenMP; cpu.max limits what is used"},
		{Calls: "sched_setscheduler sched_setparam sched_setattr ioprio_set", Do: NotPermitted, Why: "no other scheduling class, realtime above all"},
		{Calls: "getpriority setpriority ioprio_get", Do: Allow, Why: "os.nice; the kernel refuses to go below what one has"},
		{Calls: "getrlimit setrlimit getrusage", Do: Allow, Why: "resource; the kernel refuses to raise a hard limit"},
		{Calls: "prlimit64", Do: Allow, When: oneOf(0, 0), Else: NotPermitted, Why: "the same for oneself; not for another process"},
		{Calls: "uname sysinfo getrandom", Do: Allow, Why: "platform, memory sizes, os.urandom"},
		{Calls: "personality", Do: Allow, When: oneOf(0, 0xffffffff), Else: NotPermitted, Why: "asking only; a change would turn off address randomisation or make pages executable"},
	}
}

// signalsAndTime: a signal reaches this session only, and init has another
// uid; clocks are read, never set.
func signalsAndTime() []Row {
	return []Row{
		{Calls: "rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigsuspend rt_sigtimedwait sigaltstack", Do: Allow, Why: "handling signals"},
		{Calls: "kill tkill tgkill rt_sigqueueinfo rt_tgsigqueueinfo", Do: Allow, Why: "os.kill; the PID namespace and init's own uid say whom"},
		{Calls: "nanosleep clock_nanosleep clock_gettime clock_getres gettimeofday times getitimer setitimer", Do: Allow, Why: "time and sleeping"},
		{Calls: "timer_create timer_settime timer_gettime timer_getoverrun timer_delete", Do: Allow, Why: "POSIX timers"},
		{Calls: "time alarm pause", Do: Allow, Missing: "arm64", Why: "older forms of the same"},
	}
}

// identity: who one is can be asked and not changed.
func identity() []Row {
	return []Row{
		{Calls: "getuid geteuid getgid getegid getresuid getresgid getgroups capget", Do: Allow, Why: "who am I"},
		{
			Calls: "setuid setgid setreuid setregid setresuid setresgid setfsuid setfsgid setgroups capset", Do: NotPermitted,
			Why: "without a capability they could only set what is set already; with one, won by a hole, they would make code init's equal",
		},
	}
}
