package nsjail

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/cellblock/cellblock/cgroup"
	"github.com/cellblock/cellblock/internal/sys"
	"github.com/cellblock/cellblock/nsjail/mount"
	"github.com/cellblock/cellblock/seccomp"
)

// identity is what the kernel must say of one process of a cell.
type identity struct {
	uid, gid int
	caps     uint64 // effective and permitted
	bounding uint64
	seccomp  int // filters
	fds      []int
	threads  int // 0: any number
}

var namespaces = []string{"user", "mnt", "pid", "net", "ipc", "uts", "cgroup"}

// CheckPosture compares what the kernel says of a REPL and of the cell's
// PID 1 with what the cell was to have. Call it after the REPL says that it
// is ready and before it gets the first byte nobody trusts: later checks
// would race with the code. The error is a *PostureError.
func (c *Cell) CheckPosture(p *Process) error {
	f := findings{list: slices.Clone(<-c.standing)}
	c.standing <- f.list // for the cell's next REPL

	repl := strconv.Itoa(p.PID)
	f.identity("repl", repl, identity{uid: c.hostID(c.host.code), gid: c.hostGID(c.host.code), seccomp: seccomp.Filters, fds: []int{0, 1, 2, 3}})
	f.initDescriptors(c)
	f.kinds(repl, []string{"pipe:", "pipe:", "pipe:", "socket:"})
	f.sameNamespaces(repl, c.namespaces)
	f.root(repl, c.spec.Root)
	f.limits(repl, limits(c.spec))
	f.mappings(repl)
	if c.group != nil {
		f.groups(repl, c.group.Paths())
		f.groupLimits(c.group, c.spec.Limits)
	}
	if !c.host.rootless {
		// A process that is not dumpable belongs, in /proc, to the root of its
		// user namespace. Rootless, that is the same id.
		owner := c
		if p.forked {
			owner = c.nest.cell // where its memory was made
		}
		f.owner(repl, owner.hostID(initID))
	}
	if fault := c.Fault(); fault != nil {
		return hostStep("posture", fault) // it was ended while it was looked at
	}
	if left := weakenPosture(f.list); len(left) > 0 {
		return &PostureError{left}
	}
	return nil
}

// initDescriptors: those of the init, while nobody sends it any.
func (f *findings) initDescriptors(c *Cell) {
	c.ask.Lock()
	defer c.ask.Unlock()
	c.awaitRest()
	f.descriptors("init", strconv.Itoa(c.process.Pid), []int{0, 1, 2, 3, 4})
}

// awaitRest waits until the init has closed what it got for REPLs and uploads:
// until then it holds more descriptors than it may.
func (c *Cell) awaitRest() {
	c.mu.Lock()
	rest := c.rest
	c.mu.Unlock()
	if rest == nil {
		return
	}
	select {
	case <-rest:
	case <-c.ended:
	}
}

// lookAtInit is the part of the posture that no REPL can change: PID 1, its
// namespaces and its mounts. It is read while the first REPL starts.
func (c *Cell) lookAtInit() {
	var f findings
	pid := strconv.Itoa(c.process.Pid)
	want := identity{uid: c.hostID(initID), gid: c.hostGID(initID), caps: keptCaps, threads: 1}
	if c.host.nest {
		want.caps, want.bounding = nestCaps, nestCaps
	}
	f.identity("init", pid, want)
	c.namespaces = f.namespaces(pid)
	f.mounts(pid, c.wantedMounts())
	c.standing <- f.list
}

func (c *Cell) hostID(inner int) int {
	if c.host.rootless {
		return os.Geteuid()
	}
	return c.slot.initUID() + inner
}

func (c *Cell) hostGID(inner int) int {
	if c.host.rootless {
		return os.Getegid()
	}
	return c.slot.initUID() + inner
}

type findings struct{ list []string }

func (f *findings) add(format string, a ...any) { f.list = append(f.list, fmt.Sprintf(format, a...)) }

func (f *findings) read(path string) string {
	text, err := sys.ReadControl(path)
	if err != nil {
		f.add("%v", err)
	}
	return text
}

// identity looks at every thread, and lists them a second time: the set must
// not have changed meanwhile.
func (f *findings) identity(who, pid string, want identity) {
	before := f.names("/proc/" + pid + "/task")
	if want.threads != 0 && len(before) != want.threads {
		f.add("%s has %d threads, not %d", who, len(before), want.threads)
	}
	for _, tid := range before {
		f.status(who, f.read("/proc/"+pid+"/task/"+tid+"/status"), want)
	}
	if after := f.names("/proc/" + pid + "/task"); !slices.Equal(before, after) {
		f.add("%s changed its threads while it was looked at", who)
	}
	if want.fds != nil {
		f.descriptors(who, pid, want.fds)
	}
}

func (f *findings) descriptors(who, pid string, want []int) {
	var fds []int
	for _, n := range f.names("/proc/" + pid + "/fd") {
		fd, _ := strconv.Atoi(n)
		fds = append(fds, fd)
	}
	slices.Sort(fds)
	if !slices.Equal(fds, want) {
		f.add("%s has descriptors %v, not %v", who, fds, want)
	}
}

// kinds of the descriptors from 0 on.
func (f *findings) kinds(pid string, want []string) {
	for fd, kind := range want {
		if l, err := sys.Readlink("/proc/" + pid + "/fd/" + strconv.Itoa(fd)); err != nil || !strings.HasPrefix(l, kind) {
			f.add("descriptor %d of the REPL is %q (%v), no %s", fd, l, err, strings.TrimSuffix(kind, ":"))
		}
	}
}

// groupLimits are read back from the kernel.
func (f *findings) groupLimits(g *cgroup.Group, want cgroup.Limits) {
	got, err := g.Limits()
	if err != nil {
		f.add("limits of the group: %v", err)
		return
	}
	if want.MemoryBytes > 0 && (got.MemoryBytes <= 0 || got.MemoryBytes > want.MemoryBytes) {
		f.add("the group's memory limit is %d, not %d", got.MemoryBytes, want.MemoryBytes)
	}
	if want.PIDs > 0 && (got.PIDs <= 0 || got.PIDs > want.PIDs) {
		f.add("the group's limit of processes is %d, not %d", got.PIDs, want.PIDs)
	}
	if want.CPUWeight > 0 && got.CPUWeight != want.CPUWeight {
		f.add("the group's weight of CPU is %d, not %d", got.CPUWeight, want.CPUWeight)
	}
}

func (f *findings) names(dir string) []string {
	names, err := sys.Names(dir)
	if err != nil {
		f.add("%v", err)
	}
	slices.Sort(names)
	return names
}

func (f *findings) status(who, text string, want identity) {
	hex := func(v uint64) string { return fmt.Sprintf("%016x", v) }
	four := func(id int) string { return strings.TrimSuffix(strings.Repeat(strconv.Itoa(id)+"\t", 4), "\t") }
	groups := ""
	if gids, err := os.Getgroups(); err == nil && os.Geteuid() != 0 && len(gids) > 0 {
		groups = "*" // rootless, setgroups is denied and the caller's own stay
	}
	inherited, err := hostFilters()
	if err != nil {
		f.add("%v", err)
	}
	seccompMode, filters := "0", want.seccomp+inherited
	if filters > 0 {
		seccompMode = "2"
	}
	expected := map[string]string{
		"Uid": four(want.uid), "Gid": four(want.gid), "Groups": groups,
		"CapInh": hex(0), "CapPrm": hex(want.caps), "CapEff": hex(want.caps), "CapBnd": hex(want.bounding), "CapAmb": hex(0),
		"NoNewPrivs": "1", "Seccomp": seccompMode, "Seccomp_filters": strconv.Itoa(filters),
	}
	seen := 0
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(line, ":")
		wanted, ok := expected[key]
		if !ok {
			continue
		}
		seen++
		if value = strings.TrimSpace(value); value != wanted && wanted != "*" {
			f.add("%s has %s %q, not %q", who, key, value, wanted)
		}
	}
	if seen != len(expected) {
		f.add("the kernel tells %d of %d facts of %s", seen, len(expected), who)
	}
}

// hostFilters is how many seccomp filters this process has, from systemd or from a
// container's runtime: all that it starts has them too, beside its own.
var hostFilters = onceGood(func() (int, error) {
	status, err := sys.ReadControl("/proc/self/status")
	if err != nil {
		return 0, err
	}
	_, rest, ok := strings.Cut(status, "\nSeccomp_filters:\t")
	line, _, _ := strings.Cut(rest, "\n")
	n, err := strconv.Atoi(line)
	if !ok || err != nil {
		return 0, errors.New("the kernel does not tell how many filters this process has")
	}
	return n, nil
})

// hostNamespaces are those of this process, read once.
var hostNamespaces = onceGood(func() (map[string]string, error) {
	var f findings
	links := f.links("self")
	if len(f.list) > 0 {
		return nil, errors.New(strings.Join(f.list, "; "))
	}
	return links, nil
})

func (f *findings) links(pid string) map[string]string {
	m := map[string]string{}
	for _, ns := range namespaces {
		l, err := sys.Readlink("/proc/" + pid + "/ns/" + ns)
		if err != nil {
			f.add("%v", err)
		}
		m[ns] = l
	}
	return m
}

// namespaces of the init: none may be the host's.
func (f *findings) namespaces(pid string) map[string]string {
	own := f.links(pid)
	host, err := hostNamespaces()
	if err != nil {
		f.add("the host's own namespaces: %v", err)
	}
	for _, ns := range namespaces {
		if own[ns] == host[ns] {
			f.add("the cell has the host's %s namespace", ns)
		}
	}
	return own
}

// sameNamespaces: the REPL is where the init is.
func (f *findings) sameNamespaces(pid string, want map[string]string) {
	for ns, l := range f.links(pid) {
		if l != want[ns] {
			f.add("the REPL's %s namespace is not the cell's", ns)
		}
	}
}

// wantedMount is a line of mountinfo as the plan means it.
type wantedMount struct {
	fstype  string
	options string // sorted, without atime settings
	super   []string
	root    string // suffix of the path within its file system
}

func (c *Cell) wantedMounts() map[string]wantedMount {
	const scratch = "nodev,noexec,nosuid,rw"
	size := func(n int64) string { return fmt.Sprintf("size=%dk", (n+4095)/4096*4) }
	m := map[string]wantedMount{
		"/":          {options: "nodev,nosuid,ro", root: c.spec.Root},
		"/dev":       {fstype: "tmpfs", options: "noexec,nosuid,ro"},
		"/workspace": {fstype: "tmpfs", options: scratch, super: []string{size(c.spec.WorkspaceBytes), fmt.Sprintf("nr_inodes=%d", c.spec.WorkspaceFiles)}},
		"/tmp":       {fstype: "tmpfs", options: scratch, super: []string{size(c.spec.TmpBytes)}},
		"/dev/shm":   {fstype: "tmpfs", options: scratch, super: []string{size(c.spec.TmpBytes)}},
		"/proc":      {fstype: "proc", options: "nodev,noexec,nosuid,ro", super: []string{"subset=pid"}},
	}
	if c.host.nest {
		m["/proc"] = wantedMount{fstype: "proc", options: scratch, super: []string{"subset=pid"}}
	}
	if c.host.rootless || !c.host.mknod {
		for _, d := range mount.Devices {
			m["/dev/"+d.Name] = wantedMount{options: "*"} // the host's flags
		}
	}
	for _, in := range c.spec.Inputs {
		m["/workspace/"+in.Name] = wantedMount{options: "nodev,noexec,nosuid,ro"}
	}
	return m
}

func (f *findings) mounts(pid string, want map[string]wantedMount) {
	seen := map[string]bool{}
	for line := range strings.Lines(f.read("/proc/" + pid + "/mountinfo")) {
		fields := strings.Fields(line)
		dash := slices.Index(fields, "-")
		if len(fields) < 6 || dash < 0 || dash+3 >= len(fields) {
			f.add("mountinfo has the line %q", line)
			continue
		}
		root, point, fstype, super := fields[3], fields[4], fields[dash+1], fields[dash+3]
		w, ok := want[point]
		if !ok || seen[point] {
			f.add("%s is mounted at %s", fstype, point)
			continue
		}
		seen[point] = true
		if dash != 6 {
			f.add("the mount at %s propagates: %s", point, strings.Join(fields[6:dash], " "))
		}
		if got := plainOptions(fields[5]); got != w.options && w.options != "*" {
			f.add("%s is mounted %s, not %s", point, got, w.options)
		}
		if w.fstype != "" && fstype != w.fstype {
			f.add("%s is a %s, not a %s", point, fstype, w.fstype)
		}
		for _, o := range w.super {
			if !slices.Contains(strings.Split(super, ","), o) {
				f.add("the file system at %s has %s, without %s", point, super, o)
			}
		}
		if w.root != "" && !strings.HasSuffix(w.root, root) {
			// The path may itself be below a mount of something with another name, as a
			// container's volume is.
			if want := shownAs(f.read("/proc/self/mountinfo"), w.root); root != want {
				f.add("%s shows %s, not %s", point, root, want)
			}
		}
	}
	for point := range want {
		if !seen[point] {
			f.add("nothing is mounted at %s", point)
		}
	}
}

// escaped is how mountinfo writes what would end a field.
var escaped = strings.NewReplacer(`\`, `\134`, " ", `\040`, "\t", `\011`, "\n", `\012`)

// shownAs is what mountinfo calls a path of this process: its path within the
// file system that is mounted there.
func shownAs(mountinfo, path string) string {
	path = escaped.Replace(path)
	shown, longest := path, -1
	for line := range strings.Lines(mountinfo) {
		f := strings.Fields(line)
		if len(f) < 5 || len(f[4]) < longest { // of two at one place, the later is to be seen
			continue
		}
		if rest, below := strings.CutPrefix(path, strings.TrimSuffix(f[4], "/")); below && (rest == "" || rest[0] == '/') {
			shown, longest = filepath.Join(f[3], rest), len(f[4])
		}
	}
	return shown
}

func plainOptions(s string) string {
	list := slices.DeleteFunc(strings.Split(s, ","), func(o string) bool { return strings.HasSuffix(o, "atime") })
	slices.Sort(list)
	return strings.Join(list, ",")
}

// root compares what / of the REPL is with the prepared tree, by inode.
func (f *findings) root(pid, tree string) {
	var in, out syscall.Stat_t
	if err := sys.Stat("/proc/"+pid+"/root/", &in); err != nil {
		f.add("root of the REPL: %v", err)
	}
	if err := sys.Stat(tree, &out); err != nil {
		f.add("prepared root: %v", err)
	}
	if in.Dev != out.Dev || in.Ino != out.Ino {
		f.add("the REPL's root is not the prepared root")
	}
	if cwd, err := sys.Readlink("/proc/" + pid + "/cwd"); err != nil || cwd != "/workspace" {
		f.add("the REPL works in %q (%v), not in /workspace", cwd, err)
	}
}

func (f *findings) limits(pid string, want []resource) {
	n, err := strconv.Atoi(pid)
	if err != nil {
		f.add("%v", err)
		return
	}
	for _, r := range want {
		got, err := sys.Prlimit(n, r.id, nil)
		if err != nil {
			f.add("limit %d: %v", r.id, err)
			continue
		}
		if got.Soft > r.soft || got.Hard > r.hard {
			f.add("resource limit %d is %d/%d, not %d/%d", r.id, got.Soft, got.Hard, r.soft, r.hard)
		}
	}
}

// mappings: memory that is shared and writable would be a way to siblings.
func (f *findings) mappings(pid string) {
	where, err := sys.SharedWritable(pid)
	if err != nil {
		f.add("memory of the REPL: %v", err)
	}
	if where != "" {
		f.add("the REPL has the shared writable mapping %s", where)
	}
}

// groups: the REPL is in the cell's group of every hierarchy that has one.
func (f *findings) groups(pid string, paths []string) {
	text := f.read("/proc/" + pid + "/cgroup")
	found := 0
	for _, p := range paths {
		name := p[strings.LastIndexByte(p, '/')+1:]
		for line := range strings.Lines(text) {
			if _, own, ok := strings.Cut(strings.TrimSpace(line), ":"); ok && strings.HasSuffix(own, "/"+name) {
				found++
				break
			}
		}
	}
	if n := strings.Count(text, "/cellblock-"); n < len(paths) || found != len(paths) {
		f.add("the REPL is in %d of the cell's %d groups", n, len(paths))
	}
}

func (f *findings) owner(pid string, uid int) {
	var st syscall.Stat_t
	if err := sys.Stat("/proc/"+pid+"/environ", &st); err != nil {
		f.add("owner of the REPL: %v", err)
		return
	}
	if int(st.Uid) != uid {
		f.add("the REPL is dumpable (its /proc files belong to %d, not to %d)", st.Uid, uid)
	}
}
