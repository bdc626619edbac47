package seccomp

// From the kernel's memory headers.
const (
	mapGrowsdown = 0x100
	mapHugetlb   = 0x40000
	mfdHugetlb   = 0x4
)

// memory: the group's limit decides how much. What is refused reaches past
// the group: the host's pool of huge pages, pages merged across cells.
func memory() []Row {
	return []Row{
		{Calls: "brk munmap mprotect mremap msync mincore", Do: Allow, Why: "memory of the process itself"},
		{Calls: "mmap", Do: Allow, When: none(3, mapHugetlb|mapGrowsdown), Else: NoMemory, Why: "mapping; not from the pool of huge pages, which the group does not limit, and no further stacks, which RLIMIT_DATA does not count"},
		{
			Calls: "madvise", Do: Allow, Else: Invalid,
			// 0–4, 8–11, 13–25 of asm-generic/mman-common.h, and the guards.
			When: []Match{
				{{2, low32 &^ 3, 0}}, // NORMAL RANDOM SEQUENTIAL WILLNEED
				{{2, low32, 4}},      // DONTNEED
				{{2, low32 &^ 3, 8}}, // FREE REMOVE DONTFORK DOFORK
				{{2, low32 &^ 1, 14}},
				{{2, low32, 13}},
				{{2, low32 &^ 7, 16}},  // DONTDUMP … POPULATE_WRITE
				{{2, low32 &^ 1, 24}},  // DONTNEED_LOCKED COLLAPSE
				{{2, low32 &^ 1, 102}}, // GUARD_INSTALL GUARD_REMOVE
			},
			Why: "allocators; not MADV_MERGEABLE, whose merging tells one cell of another's pages, and no poisoning",
		},
		{Calls: "memfd_create", Do: Allow, When: none(1, mfdHugetlb), Else: NotPermitted, Why: "memory as a file, charged to the group; it cannot be executed, for exec is gone; not from the pool of huge pages"},
		{Calls: "mseal", Do: Allow, Why: "newer C libraries seal their own text"},
		{Calls: "munlock munlockall", Do: Allow, Why: "undoing what was never done"},
		{Calls: "mlock mlock2 mlockall", Do: NotPermitted, Why: "pinned pages cannot be reclaimed under the group's limit"},
		{Calls: "mbind set_mempolicy get_mempolicy set_mempolicy_home_node migrate_pages move_pages", Do: NotPermitted, Why: "placement of pages is the host's; OpenBLAS and libnuma take EPERM as no NUMA, as in any container"},
		{Calls: "pkey_alloc pkey_free pkey_mprotect remap_file_pages map_shadow_stack cachestat", Do: NoCall, Why: "not needed; programs ask and do without"},
		{Calls: "shmget shmat shmdt shmctl semget semop semtimedop semctl msgget msgsnd msgrcv msgctl", Do: NoCall, Why: "System V objects outlive their processes; multiprocessing uses /dev/shm"},
		{Calls: "mq_open mq_unlink mq_timedsend mq_timedreceive mq_notify mq_getsetattr", Do: NoCall, Why: "message queues outlive their processes"},
	}
}
