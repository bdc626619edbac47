//go:build cellblock_weaken

package escape

import (
	"bytes"
	"encoding/binary"
	"strings"

	"github.com/cellblock/cellblock/rootfs"
	"github.com/cellblock/cellblock/seccomp"
	"github.com/cellblock/cellblock/seccomp/bpf"
)

// A mutant is Cellblock with a layer left out, the probe that must notice, and
// what must be seen when it does.
type mutant struct {
	layer string
	// How: switches of package weaken, changes of the C programs' source, of
	// the table of system calls, of the compiled filter, of the root.
	switches string
	init     []change
	lock     []change
	policy   func([]seccomp.Row)
	filter   func([]byte) []byte
	root     func(*rootfs.Spec)
	forked   bool // in sessions that are forked from a template

	probe   string // n/name
	shows   string // a pattern that the failure's text holds
	posture string // what the posture check says, in part, before any code runs
	unseen  string // or why it says nothing
}

// A change of source text, which must be there once.
type change struct{ was, now string }

const (
	filters  = "it counts the filters"
	noProbe  = "no cell is built"
	byPlan   = "it compares with the plan"
	hostSide = "it is on the host's side"
	notAsked = "the kernel does not tell"
)

// without is a change that takes a piece of source out.
func without(piece string) []change { return []change{{piece, ""}} }

// allow lets calls pass whatever their arguments.
func allow(names ...string) func([]seccomp.Row) {
	wanted := map[string]bool{}
	for _, n := range names {
		wanted[n] = true
	}
	return func(rows []seccomp.Row) {
		for i, row := range rows {
			for _, n := range row.Names() {
				if wanted[n] {
					rows[i].Do, rows[i].When, rows[i].Feign, rows[i].Else = seccomp.Allow, nil, nil, 0
				}
			}
		}
	}
}

// unlocked is a root in which ld.so preloads nothing.
func unlocked(s *rootfs.Spec) { delete(s.Support, "/etc/ld.so.preload") }

// alike is a root whose forked REPLs keep the template's random numbers.
func alike(s *rootfs.Spec) {
	s.Packages = []string{"numpy"}
	const call = "    reseed()\n"
	s.Support["/cellblock/repl.py"] = bytes.Replace(s.Support["/cellblock/repl.py"], []byte(call), nil, 1)
}

func sameRoot(*rootfs.Spec) {}

const (
	cloneFlags  = "	long flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS |"
	closeOthers = "	sys(__NR_close_range, nest ? SELF + 1 : SELF, ~0U, 0); /* also what the plan opened */\n"
	closeAll    = "	if ((r = sys(__NR_close_range, 5, ~0U, 0)) < 0) { step = S_CLOSE; goto failed; }\n"
	setFilter   = "	if (!nest && (r = sys(__NR_prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) < 0) { step = S_FILTER; goto failed; }\n"
	undumpable  = "	if (sys(__NR_prctl, PR_SET_DUMPABLE, 0) < 0 ||\n	    sys("
)

func noNamespace(flag string) []change {
	return []change{{cloneFlags, strings.Replace(cloneFlags, "| "+flag+" ", "", 1)}}
}

// allowAll is a filter of one instruction.
func allowAll([]byte) []byte {
	b := binary.LittleEndian.AppendUint16(nil, bpf.Return)
	return binary.LittleEndian.AppendUint32(append(b, 0, 0), uint32(seccomp.Allow))
}

// spare has every call that would be killed refused instead.
func spare(filter []byte) []byte {
	end := func(a seccomp.Action) []byte {
		b := binary.LittleEndian.AppendUint16(nil, bpf.Return)
		return binary.LittleEndian.AppendUint32(append(b, 0, 0), uint32(a))
	}
	return bytes.ReplaceAll(filter, end(seccomp.KillProcess), end(seccomp.NoCall))
}

var mutants = []mutant{
	// Namespaces.
	{layer: "user namespace", switches: "user-namespace", init: without("	if ((e = sys(__NR_unshare, CLONE_NEWUSER)) < 0) fail(1, e);\n"),
		probe: "25/the ids of the host", shows: `output "0 0`, posture: "the host's user namespace"},
	{layer: "PID namespace", switches: "pid-namespace", init: noNamespace("CLONE_NEWPID"),
		probe: "49/signals to the host's processes", shows: `EPERM`, posture: "the host's pid namespace"},
	{layer: "network namespace", init: noNamespace("CLONE_NEWNET"),
		probe: "6/no interface but its own loopback", shows: `'lo', .*True`, posture: "the host's net namespace"},
	{layer: "network namespace, filter, Landlock", switches: "landlock", init: noNamespace("CLONE_NEWNET"), filter: allowAll,
		probe: "6/listeners of the host", shows: `output .*ok ok.*reached`, posture: "the host's net namespace"},
	{layer: "IPC namespace, filter", init: noNamespace("CLONE_NEWIPC"), filter: allowAll,
		probe: "65/shared memory of the host", shows: `output "ok ok`, posture: "the host's ipc namespace"},
	{layer: "UTS namespace", switches: "hostname", init: noNamespace("CLONE_NEWUTS"),
		probe: "92/the clock and the host's name", shows: `output "EPERM\\n`, posture: "the host's uts namespace"},
	{layer: "cgroup namespace", switches: "cgroup-namespace",
		probe: "18/no path of the host in /proc", shows: `cellblock-`, posture: "the host's cgroup namespace"},

	// Mounts.
	{layer: "mount isolation", switches: "detach-old-root",
		probe: "14/files of the host", shows: `output .*ok False`, posture: "is mounted at"},
	{layer: "read-only root", switches: "read-only-root", root: sameRoot,
		probe: "15/write, chmod, unlink, link in every directory of the root", shows: `False`, posture: "not nodev,nosuid,ro"},
	{layer: "noexec of scratch mounts", switches: "noexec",
		probe: "12/a library from where it can write", shows: `status 125|loaded`, posture: "is mounted nodev,nosuid,rw"},
	{layer: "nosuid", switches: "nosuid",
		probe: "25/set-id bits and file capabilities", shows: `False False`, posture: "is mounted nodev,"},
	{layer: "nodev", switches: "nodev",
		probe: "28/flags of every mount", shows: `/workspace noexec,nosuid,rw`, posture: "is mounted noexec,nosuid,rw"},
	{layer: "size of the workspace", switches: "tmpfs-size",
		probe: "26/a full workspace", shows: `EFBIG`, posture: "without size="},
	{layer: "number of files", switches: "tmpfs-inodes",
		probe: "27/ten million files", shows: `out-of-memory`, posture: "without nr_inodes="},
	{layer: "proc masked", switches: "proc-subset",
		probe: "19/the rest of /proc, and /sys", shows: `'ok'`, posture: "without subset=pid"},
	{layer: "proc read-only", switches: "proc-read-only",
		probe: "52/a name that looks like the rest of a line", shows: `False`, posture: "not nodev,noexec,nosuid,ro"},
	{layer: "proc read-only, Landlock", switches: "proc-read-only,landlock",
		probe: "52/its own name by a file", shows: `'timerslack_ns': 'ok'`, posture: "not nodev,noexec,nosuid,ro"},

	// Rights.
	{layer: "capabilities of the init", switches: "capabilities",
		probe: "25/set-id bits and file capabilities", shows: `False 41`, posture: "CapBnd"},
	{layer: "capabilities of code", switches: "capabilities", init: []change{{"	if ((step = nest ? drop_in_nest() : drop())) {", "	if (nest && (step = drop_in_nest())) {"}},
		probe: "25/set-id bits and file capabilities", shows: `'0', '0', '0', '0'.*False 41`, posture: "CapEff"},
	{layer: "no_new_privs", switches: "no-new-privs",
		probe: "25/no new privileges", shows: `seccomp-filter: operation not permitted|seccomp-filter: permission denied`, unseen: noProbe},
	{layer: "no_new_privs, both filters", switches: "no-new-privs", init: without(setFilter), root: unlocked,
		probe: "25/no new privileges", shows: `output "0 0`, posture: "NoNewPrivs"},
	{layer: "two ids", switches: "two-ids",
		probe: "49/signals to PID 1", shows: `15: 'ok'`, unseen: byPlan},
	{layer: "dumpable off", lock: []change{{undumpable, "	if (sys("}}, root: sameRoot,
		probe: "51/ptrace and the memory of others", shows: `exit 7 1`, posture: "is dumpable"},
	{layer: "descriptors closed", init: append(without(closeOthers), change{closeAll, ""}),
		probe: "22/only four descriptors, no directory among them", shows: `True`, posture: "has descriptors"},
	{layer: "own session (setsid)", init: without("	if ((r = sys(__NR_setsid, 0)) < 0) { step = S_SETSID; goto failed; }\n"),
		probe: "96/terminals and drivers", shows: `ENOENT False`, unseen: notAsked},

	// The filters.
	{layer: "filter", init: without(setFilter), root: unlocked,
		probe: "1/socket", shows: `output "ok`, posture: "Seccomp"},
	{layer: "filter's content", filter: allowAll,
		probe: "89/namespaces", shows: `131072\): 'ok'`, unseen: filters},
	{layer: "arguments in the filter", policy: func(rows []seccomp.Row) {
		for i := range rows {
			rows[i].When, rows[i].Else = nil, 0
		}
	}, probe: "89/namespaces", shows: `268435456\): 'ok'`, unseen: filters},
	{layer: "socket refused", policy: allow("socket"),
		probe: "1/socket", shows: `output "ok`, unseen: filters},
	{layer: "clone3 refused", policy: allow("clone3"),
		probe: "89/namespaces", shows: `EINVAL`, unseen: filters},
	{layer: "unshare refused", policy: allow("unshare"),
		probe: "89/namespaces", shows: `\(0, 268435456\): 'ok'|\(0, 268435456\): 'EINVAL'`, unseen: filters},
	{layer: "sendmsg, recvmsg refused", policy: allow("sendmsg", "recvmsg"),
		probe: "4/no descriptor crosses a pair", shows: `output "ok ok`, unseen: filters},
	{layer: "io_uring refused", policy: allow("io_uring_setup"),
		probe: "87/io_uring, bpf, userfaultfd, perf", shows: `io_uring_setup`, unseen: filters},
	{layer: "keyctl refused", policy: allow("keyctl"),
		probe: "88/keyrings", shows: `ENOKEY|'ok'`, unseen: filters},
	{layer: "inotify refused", policy: allow("inotify_init1"),
		probe: "65/quotas per user", shows: `False`, unseen: filters},
	{layer: "ioctl's requests", policy: allow("ioctl"),
		probe: "96/terminals and drivers", shows: `EBADF|EINVAL|EFAULT|'ok'`, unseen: filters},
	{layer: "leases refused", policy: allow("fcntl"),
		probe: "34/a lease does not stall the host", shows: `output "ok`, unseen: filters},
	{layer: "record locks pretended", policy: allow("fcntl"),
		probe: "65/record locks, which are charged to nobody", shows: `locks of the cell`, unseen: filters},
	{layer: "foreign calls killed", filter: spare, lock: without("	BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, X32_BIT, 0, 1), KILL,\n"), root: sameRoot,
		probe: "94/x32 numbers and int 0x80", shows: `exit 0|exit 218`, unseen: filters},
	{layer: "lock (the last filter)", root: unlocked,
		probe: "7/subprocess", shows: `verdict ok .*output "1`, posture: "Seccomp_filters"},
	{layer: "exec refused by the lock", lock: without("	IF_EQUAL(__NR_execve), REFUSE,\n"), root: sameRoot,
		probe: "7/subprocess", shows: `verdict ok .*want error PermissionError`, unseen: filters},
	{layer: "filters refused by the lock", lock: without("	IF_EQUAL(PR_SET_SECCOMP), REFUSE,\n"), root: sameRoot,
		probe: "11/a filter or listener of its own", shows: `\(22, 2\): 'EINVAL'`, unseen: filters},

	// Limits.
	{layer: "memory", switches: "memory",
		probe: "56/shared pages beyond the limit", shows: `survived`, unseen: byPlan},
	{layer: "RLIMIT_DATA", switches: "rlimit-data",
		probe: "56/growth that touches pages", shows: `verdict out-of-memory`, unseen: "it is set afterwards"},
	{layer: "processes", switches: "pids",
		probe: "43/a fork bomb", shows: `EAGAIN False`, unseen: byPlan},
	{layer: "CPU", switches: "cpu",
		probe: "66/spinning threads and processes stay in the quota", shows: `no group has a quota of 0.3`, unseen: byPlan},
	{layer: "resource limits", switches: "rlimit",
		probe: "55/limits and priorities up", shows: `'RLIMIT_CORE': 'ok'`, posture: "resource limit"},
	{layer: "size of a file", switches: "rlimit 1",
		probe: "35/a sparse giant", shows: `output "ok`, posture: "resource limit 1 "},
	{layer: "open files", switches: "rlimit 7",
		probe: "65/quotas per user", shows: `EMFILE False`, posture: "resource limit 7 "},
	{layer: "first to go (oom_score_adj)", switches: "oom-score",
		probe: "55/first to go when the machine is short of memory", shows: `output "0`, unseen: notAsked},

	// The host's side.
	{layer: "no links (O_NOFOLLOW, RESOLVE_*)", switches: "resolve,nofollow",
		probe: "30/links in the folder itself", shows: `canary .*secret|canary .*other`, unseen: hostSide},
	{layer: "RESOLVE_* alone", switches: "resolve",
		probe: "30/links in the folder itself", shows: `canary .*other`, unseen: hostSide},
	{layer: "sum of what is copied out", switches: "copy-limit",
		probe: "42/one file under ten thousand names", shows: `bytes came out of a workspace`, unseen: hostSide},
	{layer: "output kept", switches: "output-limit",
		probe: "69/gigabytes on both streams", shows: `kept 4194304 and 4194304 bytes`, unseen: hostSide},
	{layer: "numbers of replies", switches: "reply-number",
		probe: "76/a forged end with another number", shows: `verdict ok`, unseen: hostSide},
	{layer: "lifeline", init: append(without("	if (n <= 0) die(0); /* the lifeline is cut */\n"), change{"		die(115);\n", ""}),
		probe: "owner killed", shows: `after its owner`, unseen: hostSide},
	{layer: "posture check", root: unlocked,
		probe: "13/exec from a thread, a fork, a vfork child", shows: `verdict exit`, posture: "Seccomp_filters"},

	// What a template does for a forked session: each is a step of that plan.
	{layer: "fork: system call filter", switches: "fork-seccomp-filter", forked: true,
		probe: "1/socket", shows: `output "ok`, posture: "Seccomp_filters"},
	{layer: "fork: lock on exec", switches: "fork-lock", forked: true,
		probe: "7/subprocess", shows: `verdict ok .*output "1`, posture: "Seccomp_filters"},
	{layer: "fork: no capability", switches: "fork-drop-capabilities", forked: true,
		probe: "49/signals to PID 1", shows: `15: 'ok'`, posture: "CapPrm"},
	{layer: "fork: empty bounding set", switches: "fork-bounding-set", forked: true,
		probe: "25/set-id bits and file capabilities", shows: `41`, posture: "CapBnd"},
	{layer: "fork: descriptors closed", switches: "fork-close-descriptors", forked: true,
		probe: "22/only four descriptors, no directory among them", shows: `output`, posture: "has descriptors"},
	{layer: "fork: group", switches: "fork-enter-group", forked: true,
		probe: "56/shared pages beyond the limit", shows: `survived`, posture: "of the cell's"},
	{layer: "fork: group before the fork", switches: "fork-late-group", forked: true,
		probe: "62/a fork is charged to the session", shows: `template's group grew`, unseen: "in the end the group is the same"},
	{layer: "fork: chance is new", root: alike, forked: true,
		probe: "62/chance differs between siblings", shows: `same 0\.`, unseen: "it is memory"},
}
