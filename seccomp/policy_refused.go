package seccomp

// refused are the calls that untrusted code has no business with. Most would
// fail for want of a capability anyway; this keeps the kernel's code behind
// them out of reach.
func refused() []Row {
	return []Row{
		{Calls: "seccomp", Do: NotPermitted, Why: "a later filter with a listener of its own could wave an exec through; the last filter is loaded with prctl"},
		{Calls: "unshare setns", Do: NotPermitted, Why: "a new user namespace would give capabilities, and with them most of the kernel"},
		{
			Calls: "mount umount2 pivot_root chroot open_tree move_mount fsopen fsconfig fsmount fspick mount_setattr open_tree_attr statmount listmount listns",
			Do:    NotPermitted, Why: "mounts are made before code runs, and never after; the new calls list what mountinfo may not show",
		},
		{Calls: "ptrace process_vm_readv process_vm_writev process_madvise process_mrelease kcmp pidfd_getfd", Do: NotPermitted, Why: "reaching into another process"},
		{Calls: "bpf perf_event_open userfaultfd", Do: NotPermitted, Why: "programs, counters and stalls in the kernel: the usual parts of an exploit"},
		{Calls: "io_uring_setup io_uring_enter io_uring_register", Do: NotPermitted, Why: "a second way to nearly every call, past this filter"},
		{Calls: "add_key request_key keyctl", Do: NotPermitted, Why: "keyrings are not namespaced"},
		{Calls: "name_to_handle_at open_by_handle_at", Do: NotPermitted, Why: "a handle names a file past the mount table (CVE-2014-3519)"},
		{Calls: "memfd_secret", Do: NotPermitted, Why: "memory that cannot be reclaimed and blocks hibernation"},
		{Calls: "init_module finit_module delete_module kexec_load kexec_file_load reboot", Do: NotPermitted, Why: "the kernel itself"},
		{Calls: "swapon swapoff quotactl quotactl_fd acct syslog vhangup fanotify_init fanotify_mark lookup_dcookie", Do: NotPermitted, Why: "administration of the host"},
		{Calls: "settimeofday clock_settime adjtimex clock_adjtime sethostname setdomainname", Do: NotPermitted, Why: "the clock and the host's name"},
		{Calls: "iopl ioperm modify_ldt", Do: NotPermitted, Missing: "arm64", Why: "ports and segments: hardware, and a history of holes (CVE-2017-17053)"},
		{Calls: "lsm_get_self_attr lsm_set_self_attr lsm_list_modules", Do: NotPermitted, Why: "security modules of the host"},
	}
}

// absent are calls that a program asks for and does without. They answer as
// a kernel that never had them, which is also the answer to unknown numbers:
// no instruction is spent on them, the rows say that it is meant.
func absent() []Row {
	return []Row{
		{Calls: "io_setup io_submit io_getevents io_pgetevents io_cancel io_destroy", Do: NoCall, Why: "the old asynchronous I/O; nothing here needs it"},
		{Calls: "landlock_create_ruleset landlock_add_rule landlock_restrict_self", Do: NoCall, Why: "the cell restricts before code runs; more layers of the code's own are kernel memory only"},
		{Calls: "vmsplice tee", Do: NoCall, Why: "pages of a process in a pipe (CVE-2008-0600); os has no name for them"},
		{Calls: "file_getattr file_setattr", Do: NoCall, Why: "inode flags; as an older kernel"},
		{
			Calls: "uselib ustat sysfs _sysctl create_module get_kernel_syms query_module nfsservctl getpmsg putpmsg afs_syscall tuxcall security vserver epoll_ctl_old epoll_wait_old set_thread_area get_thread_area",
			Do:    NoCall, Why: "gone from the kernel, or about to go",
		},
	}
}
