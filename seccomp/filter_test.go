package seccomp_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cellblock/cellblock/seccomp"
	"github.com/cellblock/cellblock/seccomp/bpf"
)

const high = 1 << 32 // a bit that the kernel does not look at in an int

// What an attack or a library asks for, and what it must get. Numbers in
// parentheses of the comments are flags or options by name.
var table = []struct {
	call any
	args []uint64
	want seccomp.Action
}{
	// Everyday life.
	{"read", []uint64{0}, seccomp.Allow},
	{"write", []uint64{1}, seccomp.Allow},
	{"openat", []uint64{0xffffff9c}, seccomp.Allow},
	{"openat2", nil, seccomp.Allow},
	{"newfstatat", nil, seccomp.Allow},
	{"statx", nil, seccomp.Allow},
	{"getrandom", nil, seccomp.Allow},
	{"futex", nil, seccomp.Allow},
	{"rseq", nil, seccomp.Allow},
	{"set_robust_list", nil, seccomp.Allow},
	{"epoll_pwait2", nil, seccomp.Allow},
	{"fork", nil, seccomp.Allow},
	{"vfork", nil, seccomp.Allow},
	{"copy_file_range", nil, seccomp.Allow},
	{"fchmodat2", nil, seccomp.Allow},
	{"mseal", nil, seccomp.Allow},
	{"fchdir", nil, seccomp.Allow},
	{"fsync", []uint64{3}, seccomp.Pretend},
	{"sync", nil, seccomp.Pretend},
	{"fadvise64", []uint64{3, 0, 0, 4}, seccomp.Pretend},
	{"getxattr", nil, seccomp.NotSupported},
	{"setxattrat", nil, seccomp.NotSupported},

	// Network (probes 1–4).
	{"socket", []uint64{1, 1, 0}, seccomp.NoFamily},
	{"socket", []uint64{2, 1, 0}, seccomp.NoFamily},
	{"socket", []uint64{high | 40, 1, 0}, seccomp.NoFamily},
	{"socketpair", []uint64{1, 1, 0}, seccomp.Allow},
	{"socketpair", []uint64{1, 0x80801, 0}, seccomp.Allow},
	{"socketpair", []uint64{high | 1, 1, 0}, seccomp.Allow},
	{"socketpair", []uint64{0, 1, 0}, seccomp.NoFamily},
	{"socketpair", []uint64{2, 1, 0}, seccomp.NoFamily},
	{"socketpair", []uint64{3, 1, 0}, seccomp.NoFamily},
	{"socketpair", []uint64{30, 1, 0}, seccomp.NoFamily},
	{"socketpair", []uint64{high | 40, 1, 0}, seccomp.NoFamily},
	{"sendmsg", nil, seccomp.NotPermitted},
	{"recvmsg", nil, seccomp.NotPermitted},
	{"sendmmsg", nil, seccomp.NotPermitted},
	{"recvmmsg", nil, seccomp.NotPermitted},
	{"connect", nil, seccomp.NotPermitted},
	{"bind", nil, seccomp.NotPermitted},
	{"listen", nil, seccomp.NotPermitted},
	{"accept4", nil, seccomp.NotPermitted},
	{"sendto", []uint64{3, 4096, 1, 0, 0, 0}, seccomp.Allow},
	{"sendto", []uint64{3, 4096, 1, 0x4000, 0, 0}, seccomp.Allow},
	{"sendto", []uint64{3, 4096, 1, 1, 0, 0}, seccomp.NotPermitted},
	{"sendto", []uint64{3, 4096, 1, 0, 4096, 16}, seccomp.NotPermitted},
	{"sendto", []uint64{3, 4096, 1, 0, high, 16}, seccomp.NotPermitted},
	{"recvfrom", []uint64{3, 4096, 1, 0x40}, seccomp.Allow},
	{"recvfrom", []uint64{3, 4096, 1, high | 1}, seccomp.NotPermitted},
	{"getsockopt", []uint64{3, 1, 3}, seccomp.Allow},
	{"getsockopt", []uint64{3, 1, 77}, seccomp.NoOption}, // SO_PEERPIDFD
	{"getsockopt", []uint64{3, high | 1, high | 77}, seccomp.NoOption},
	{"setsockopt", []uint64{3, 1, 7}, seccomp.Allow},
	{"setsockopt", []uint64{3, 1, 26}, seccomp.NoOption}, // SO_ATTACH_FILTER
	{"setsockopt", []uint64{3, 6, 7}, seccomp.NoOption},

	// Exec and filters (probes 7–13): execve is the last filter's.
	{"execve", nil, seccomp.Allow},
	{"execveat", []uint64{3, 4096, 0, 0, 0x1000}, seccomp.NotPermitted},
	{"seccomp", []uint64{1}, seccomp.NotPermitted},
	{"seccomp", []uint64{1, 8}, seccomp.NotPermitted},
	{"memfd_create", []uint64{4096, 1}, seccomp.Allow},
	{"memfd_create", []uint64{4096, 4}, seccomp.NotPermitted}, // MFD_HUGETLB
	{"memfd_secret", nil, seccomp.NotPermitted},

	// Files (probes 20–24).
	{"mknodat", []uint64{3, 4096, 0o010600}, seccomp.Allow},
	{"mknodat", []uint64{3, 4096, 0o100600}, seccomp.Allow},
	{"mknodat", []uint64{3, 4096, 0o600}, seccomp.Allow},
	{"mknodat", []uint64{3, 4096, 0o020600, 0x101}, seccomp.NotPermitted},
	{"mknodat", []uint64{3, 4096, 0o060600, 0x800}, seccomp.NotPermitted},
	{"mknodat", []uint64{3, 4096, high | 0o020600}, seccomp.NotPermitted},
	{"mknodat", []uint64{3, 4096, 0o140600}, seccomp.NotPermitted},
	{"mknod", []uint64{4096, 0o020600}, seccomp.NotPermitted},
	{"mknod", []uint64{4096, 0o010600}, seccomp.Allow},
	{"name_to_handle_at", nil, seccomp.NotPermitted},
	{"open_by_handle_at", nil, seccomp.NotPermitted},
	{"chroot", nil, seccomp.NotPermitted},
	{"inotify_init1", []uint64{0}, seccomp.NoCall},
	{"inotify_add_watch", []uint64{3, 4096, 0x2}, seccomp.NoCall},
	{"mmap", []uint64{0, 4096, 3, 0x122}, seccomp.NoMemory}, // MAP_GROWSDOWN
	{"fcntl", []uint64{3, 3}, seccomp.Allow},
	{"fcntl", []uint64{3, 1030}, seccomp.Allow},
	{"fcntl", []uint64{3, 5}, seccomp.Allow},   // F_GETLK
	{"fcntl", []uint64{3, 6}, seccomp.Pretend}, // F_SETLK
	{"fcntl", []uint64{3, 7}, seccomp.Pretend},
	{"fcntl", []uint64{3, high | 38}, seccomp.Pretend}, // F_OFD_SETLKW
	{"fcntl", []uint64{3, 1024}, seccomp.Invalid},      // F_SETLEASE
	{"fcntl", []uint64{3, high | 1024}, seccomp.Invalid},
	{"fcntl", []uint64{3, 1026}, seccomp.Invalid}, // F_NOTIFY

	// Processes (probes 49–55).
	{"kill", []uint64{1, 9}, seccomp.Allow},
	{"ptrace", nil, seccomp.NotPermitted},
	{"process_vm_readv", nil, seccomp.NotPermitted},
	{"process_vm_writev", nil, seccomp.NotPermitted},
	{"sched_setscheduler", []uint64{0, 1}, seccomp.NotPermitted},
	{"sched_setattr", nil, seccomp.NotPermitted},
	{"prlimit64", []uint64{0, 4}, seccomp.Allow},
	{"prlimit64", []uint64{high, 4}, seccomp.Allow},
	{"prlimit64", []uint64{1, 4}, seccomp.NotPermitted},
	{"setuid", []uint64{0}, seccomp.NotPermitted},
	{"setresuid", []uint64{0, 0, 0}, seccomp.NotPermitted},
	{"capset", nil, seccomp.NotPermitted},
	{"mlockall", []uint64{3}, seccomp.NotPermitted},

	// Memory.
	{"mmap", []uint64{0, 4096, 3, 0x22}, seccomp.Allow},
	{"mmap", []uint64{0, 4096, 3, 0x40022}, seccomp.NoMemory},
	{"madvise", []uint64{0, 0, 4}, seccomp.Allow},
	{"madvise", []uint64{0, 0, 8}, seccomp.Allow},
	{"madvise", []uint64{0, 0, 14}, seccomp.Allow},
	{"madvise", []uint64{0, 0, 12}, seccomp.Invalid}, // MADV_MERGEABLE
	{"madvise", []uint64{0, 0, 100}, seccomp.Invalid},
	{"mbind", nil, seccomp.NotPermitted},
	{"shmget", nil, seccomp.NoCall},

	// Kernel surface (probes 87–97).
	{"io_uring_setup", nil, seccomp.NotPermitted},
	{"io_uring_enter", nil, seccomp.NotPermitted},
	{"bpf", nil, seccomp.NotPermitted},
	{"userfaultfd", nil, seccomp.NotPermitted},
	{"perf_event_open", nil, seccomp.NotPermitted},
	{"keyctl", nil, seccomp.NotPermitted},
	{"add_key", nil, seccomp.NotPermitted},
	{"unshare", []uint64{0x10000000}, seccomp.NotPermitted},
	{"setns", nil, seccomp.NotPermitted},
	{"clone3", nil, seccomp.NoCall},
	{"clone", []uint64{17}, seccomp.Allow},
	{"clone", []uint64{0x1200011}, seccomp.Allow},
	{"clone", []uint64{0x3d0f00}, seccomp.Allow},                  // pthread_create
	{"clone", []uint64{0x00004111}, seccomp.Allow},                // posix_spawn
	{"clone", []uint64{0x00020011}, seccomp.NotPermitted},         // CLONE_NEWNS
	{"clone", []uint64{0x02000011}, seccomp.NotPermitted},         // CLONE_NEWCGROUP
	{"clone", []uint64{0x04000011}, seccomp.NotPermitted},         // CLONE_NEWUTS
	{"clone", []uint64{0x08000011}, seccomp.NotPermitted},         // CLONE_NEWIPC
	{"clone", []uint64{0x10000011}, seccomp.NotPermitted},         // CLONE_NEWUSER
	{"clone", []uint64{0x20000011}, seccomp.NotPermitted},         // CLONE_NEWPID
	{"clone", []uint64{0x40000011}, seccomp.NotPermitted},         // CLONE_NEWNET
	{"clone", []uint64{0x00000091}, seccomp.NotPermitted},         // CLONE_NEWTIME
	{"clone", []uint64{0x00008011}, seccomp.NotPermitted},         // CLONE_PARENT
	{"clone", []uint64{0xffffffff10000011}, seccomp.NotPermitted}, // high bits do not hide it
	{"clone", []uint64{high | 17}, seccomp.Allow},                 // and do not matter
	{"mount", nil, seccomp.NotPermitted},
	{"umount2", nil, seccomp.NotPermitted},
	{"pivot_root", nil, seccomp.NotPermitted},
	{"fsopen", nil, seccomp.NotPermitted},
	{"mount_setattr", nil, seccomp.NotPermitted},
	{"statmount", nil, seccomp.NotPermitted},
	{"listmount", nil, seccomp.NotPermitted},
	{"open_tree_attr", nil, seccomp.NotPermitted},
	{"kexec_load", nil, seccomp.NotPermitted},
	{"init_module", nil, seccomp.NotPermitted},
	{"reboot", nil, seccomp.NotPermitted},
	{"swapon", nil, seccomp.NotPermitted},
	{"quotactl", nil, seccomp.NotPermitted},
	{"syslog", nil, seccomp.NotPermitted},
	{"iopl", []uint64{3}, seccomp.NotPermitted},
	{"clock_settime", nil, seccomp.NotPermitted},
	{"adjtimex", nil, seccomp.NotPermitted},
	{"sethostname", nil, seccomp.NotPermitted},
	{"personality", []uint64{0xffffffff}, seccomp.Allow},
	{"personality", []uint64{high | 0xffffffff}, seccomp.Allow},
	{"personality", []uint64{0x0040000}, seccomp.NotPermitted}, // ADDR_NO_RANDOMIZE
	{"modify_ldt", nil, seccomp.NotPermitted},
	{"pidfd_getfd", nil, seccomp.NotPermitted},
	{"process_madvise", nil, seccomp.NotPermitted},
	{"kcmp", nil, seccomp.NotPermitted},
	{"ioctl", []uint64{0, 0x5401}, seccomp.Allow},
	{"ioctl", []uint64{0, 0x5421}, seccomp.Allow},
	{"ioctl", []uint64{0, 0x5412}, seccomp.NoTerminal}, // TIOCSTI
	{"ioctl", []uint64{0, high | 0x5412}, seccomp.NoTerminal},
	{"ioctl", []uint64{0, 0x541c}, seccomp.NoTerminal},        // TIOCLINUX
	{"ioctl", []uint64{0, high | 0x5423}, seccomp.NoTerminal}, // TIOCSETD
	{"prctl", []uint64{15, 4096}, seccomp.Allow},
	{"prctl", []uint64{22, 2}, seccomp.Allow}, // PR_SET_SECCOMP: the last filter's
	{"prctl", []uint64{4, 0}, seccomp.Allow},
	{"prctl", []uint64{4, 1}, seccomp.NotPermitted},
	{"prctl", []uint64{high | 4, 1}, seccomp.NotPermitted},
	{"prctl", []uint64{4, high}, seccomp.NotPermitted},
	{"prctl", []uint64{35, 1}, seccomp.NotPermitted},         // PR_SET_MM
	{"prctl", []uint64{0x59616d61, 1}, seccomp.NotPermitted}, // PR_SET_PTRACER
	{"prctl", []uint64{36, 1}, seccomp.NotPermitted},         // PR_SET_CHILD_SUBREAPER
	{"prctl", []uint64{67, 1}, seccomp.NotPermitted},         // PR_SET_MEMORY_MERGE
	{"prctl", []uint64{0x53564d41, 0}, seccomp.Allow},
	{"arch_prctl", []uint64{0x1002}, seccomp.Allow},
	{"arch_prctl", []uint64{0x1012}, seccomp.Invalid}, // ARCH_SET_CPUID

	// Unknown numbers, the last word of each range, and x32.
	{uint32(335), nil, seccomp.NoCall},
	{uint32(423), nil, seccomp.NoCall},
	{uint32(471), nil, seccomp.NoCall},
	{uint32(1023), nil, seccomp.NoCall},
	{uint32(0x3fffffff), nil, seccomp.NoCall},
	{uint32(0xffffffff), nil, seccomp.NoCall},
	{uint32(0x40000000), nil, seccomp.KillProcess},
	{uint32(0x40000000 | 520), nil, seccomp.KillProcess},
	{uint32(0xfffffffe), nil, seccomp.KillProcess},
	{"landlock_create_ruleset", nil, seccomp.NoCall},
}

func TestTable(t *testing.T) {
	f := load(t, "amd64")
	for _, row := range table {
		if got := f.ask(t, row.call, row.args...); got != row.want {
			t.Errorf("%v(%#x) = %v, want %v", row.call, row.args, got, row.want)
		}
	}
	t.Logf("%d rows", len(table))
}

func TestForeignArchitecturesAreKilled(t *testing.T) {
	for arch, foreign := range map[string]uint32{"amd64": bpf.ArchI386, "arm64": bpf.ArchARM} {
		f := load(t, arch)
		for number := range uint32(1024) {
			got, err := f.Run(bpf.Call{Number: number, Arch: foreign})
			if err != nil || got != seccomp.KillProcess {
				t.Fatalf("%s: number %d of a foreign architecture: %v, %v", arch, number, got, err)
			}
		}
	}
}

// The program and the policy must agree on every number, with arguments that
// fulfil each alternative, that miss it by one bit, and that are random; and
// with that, every instruction of the program must have run at least once.
func TestFilterIsThePolicy(t *testing.T) {
	for arch := range bpf.Arch {
		t.Run(arch, func(t *testing.T) {
			f := load(t, arch)
			random := rand.New(rand.NewPCG(1, 2))
			asked := 0
			for _, number := range everyNumber() {
				for _, args := range arguments(f.rows[number], random) {
					c := bpf.Call{Number: number, Arch: bpf.Arch[arch], Args: args}
					got, err := f.Run(c)
					if err != nil {
						t.Fatal(err)
					}
					asked++
					if want := f.wanted(c); got != want {
						t.Fatalf("number %d (%s) with %#x: the filter says %v, the policy %v", number, f.rows[number].Calls, args, got, want)
					}
				}
			}
			if _, err := f.Run(bpf.Call{Arch: bpf.ArchI386}); err != nil {
				t.Fatal(err)
			}
			if rest := f.Unreached(); rest != "" {
				t.Errorf("no call reaches these instructions:\n%s", rest)
			}
			t.Logf("%d calls, %d instructions", asked, f.Size())
		})
	}
}

// everyNumber is what the kernel knows, what it may know one day, and the ends
// of the ranges above.
func everyNumber() []uint32 {
	numbers := []uint32{0x3fffffff, 0x40000000, 0x40000001, 0x40000208, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff}
	for n := range uint32(1024) {
		numbers = append(numbers, n)
	}
	return numbers
}

// arguments are telling ones for a row: for every alternative, arguments
// that fulfil it and those that differ in a single bit, each also with the
// unmasked bits at random.
func arguments(row seccomp.Row, random *rand.Rand) [][6]uint64 {
	list := [][6]uint64{{}}
	for range 20 {
		var args [6]uint64
		for i := range args {
			args[i] = random.Uint64()
		}
		list = append(list, args)
	}
	list = append(list, [6]uint64{^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0)})
	for _, match := range slices.Concat(row.When, row.Feign) {
		var plain, noisy [6]uint64
		for i := range noisy {
			noisy[i] = random.Uint64()
		}
		for _, c := range match {
			plain[c.Arg] = c.Want
			noisy[c.Arg] = noisy[c.Arg]&^c.Mask | c.Want
		}
		list = append(list, plain, noisy)
		for _, c := range match {
			for bit := range 64 {
				a, b := plain, noisy
				a[c.Arg] ^= 1 << bit
				b[c.Arg] ^= 1 << bit
				list = append(list, a, b)
			}
		}
	}
	return list
}
