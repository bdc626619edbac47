package nsjail

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"github.com/cellblock/cellblock/cgroup"
	"github.com/cellblock/cellblock/internal/handover"
	"github.com/cellblock/cellblock/internal/sys"
)

// TakeOver makes a Cell of one that another process has handed over, with its REPLs;
// nest is the one that it stands in, if any. What can be had from the kernel is compared
// with the state: the lock and its record, the group, the init with its namespaces and
// mounts. On an error the cell ends, and its record is left for Sweep.
func TakeOver(ctx context.Context, s CellState, repls []ProcessState, nest *Nest, a *handover.Arrived) (_ *Cell, _ []*Process, err error) {
	host, err := hostOnce()
	if err != nil {
		return nil, nil, hostStep("look-at-host", err)
	}
	host.nest, host.nested, host.mknod = s.Nest, s.Nested, s.Mknod
	c := &Cell{
		spec: s.Spec, host: host, nest: nest, looking: true, ended: make(chan struct{}), exits: map[int32]chan Exit{}, reply: make(chan answer, 1), standing: make(chan []string, 1),
	}
	var procs []*Process
	defer func() {
		if err != nil {
			c.abandon(procs)
			err = fmt.Errorf("cannot take over a cell: %w", err)
		}
	}()
	if s.Nested != (nest != nil) {
		return nil, nil, errors.New("it stands in a nest, or says so, and there is none")
	}
	if err := c.unload(s, a); err != nil {
		return nil, nil, err
	}
	if err := c.claim(ctx, s); err != nil {
		return nil, nil, err
	}
	if err := c.sameWorkspace(); err != nil {
		return nil, nil, err
	}
	c.lookAtInit()
	found := <-c.standing
	c.standing <- found
	if len(found) > 0 {
		return nil, nil, &PostureError{found}
	}
	for _, r := range repls {
		p, err := c.takeREPL(r, a)
		if err != nil {
			return nil, nil, err
		}
		procs = append(procs, p)
	}
	for _, p := range procs {
		c.expect(p.inner)
	}
	go c.listen()
	for _, p := range procs {
		go p.watch(c.exit(p.inner))
	}
	return c, procs, nil
}

// TakeOverNest is TakeOver for a nest.
func TakeOverNest(ctx context.Context, s CellState, a *handover.Arrived) (*Nest, error) {
	if !s.Nest {
		return nil, errors.New("cannot take over a nest: it is an ordinary cell")
	}
	c, _, err := TakeOver(ctx, s, nil, nil, a)
	if err != nil {
		return nil, err
	}
	return &Nest{c}, nil
}

// unload takes the cell's descriptors.
func (c *Cell) unload(s CellState, a *handover.Arrived) (err error) {
	var record, pidfd, socket *os.File
	for _, d := range []struct {
		number   int
		to       **os.File
		optional bool
	}{{s.Record, &record, false}, {s.Socket, &socket, false}, {s.Init, &pidfd, false}, {s.Workspace, &c.workspace, false}, {s.Ruleset, &c.ruleset, true}} {
		if *d.to, err = a.Take(d.number); err == nil && *d.to == nil && !d.optional {
			err = errors.New("it lacks a descriptor")
		}
		if err != nil {
			break
		}
	}
	if record != nil {
		c.slot = &slot{n: s.Slot, file: record}
	}
	if pidfd != nil {
		c.process = &process{Pid: s.PID, pidfd: pidfd, nested: true}
	}
	if socket != nil {
		c.socket = sys.NewPacket(socket)
	}
	return err
}

// claim compares the cell's record, group and init with the state, and writes this
// process into the record.
func (c *Cell) claim(ctx context.Context, s CellState) error {
	file, err := c.slot.claim(s)
	if err != nil {
		return err
	}
	c.slot.file.Close()
	c.slot.file = file
	pid, err := pidOf(c.process.pidfd)
	if err != nil || pid != s.PID {
		return fmt.Errorf("its init was process %d and is %d: %w", s.PID, pid, errors.Join(err, ErrClosed))
	}
	if c.spec.without(LayerCgroup) {
		return nil
	}
	host, _, err := ownGroups.find(ctx, false)
	if err != nil {
		return hostStep("group", err)
	}
	if c.group, err = host.Adopt(s.Groups, s.Identities, c.spec.Limits); err != nil {
		return err
	}
	var f findings
	f.groups(strconv.Itoa(s.PID), s.Groups)
	f.groupLimits(c.group, c.spec.Limits)
	if len(f.list) > 0 {
		return &PostureError{f.list}
	}
	return c.slot.write(record{Groups: s.Groups, Identities: s.Identities})
}

// sameWorkspace says whether the workspace that came is what the cell has there.
func (c *Cell) sameWorkspace() error {
	var ours, theirs syscall.Stat_t
	path := "/proc/" + strconv.Itoa(c.process.Pid) + "/root/workspace"
	if err := errors.Join(sys.Fstat(int(c.workspace.Fd()), &ours), sys.Stat(path, &theirs)); err != nil {
		return err
	}
	if ours.Dev != theirs.Dev || ours.Ino != theirs.Ino {
		return errors.New("its workspace is another's")
	}
	return nil
}

// claim says whether the slot's file is the record of the number, holds its lock, and
// is about these groups. The file that it returns has the record's path as its name,
// and replaces the slot's.
func (s *slot) claim(state CellState) (_ *os.File, err error) {
	if s.host, err = hostIDs(); err != nil {
		return nil, err
	}
	if s.n < 0 || s.n >= s.host.slots {
		return nil, fmt.Errorf("it has the number %d, which none can have here", s.n)
	}
	cells, err := openRuntimeDir(state.Spec.RuntimeDir)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(cells, strconv.Itoa(s.n))
	fd := int(s.file.Fd())
	if err := again(func() error { return sys.Flock(fd, syscall.LOCK_EX|syscall.LOCK_NB) }); err != nil {
		return nil, fmt.Errorf("the lock on its record %q is another's: %w", path, err)
	}
	var held, named syscall.Stat_t
	if err := errors.Join(sys.Fstat(fd, &held), sys.Lstat(path, &named)); err != nil {
		return nil, err
	}
	if held.Ino != named.Ino || held.Dev != named.Dev {
		return nil, fmt.Errorf("its record is no longer %q", path)
	}
	text, err := sys.ReadControl(path)
	if err != nil {
		return nil, err
	}
	var r record
	if err := json.Unmarshal([]byte(text), &r); err != nil && text != "" {
		return nil, fmt.Errorf("record %q: %w", path, err)
	}
	if !slices.Equal(r.Groups, state.Groups) || !slices.Equal(r.Identities, state.Identities) {
		return nil, fmt.Errorf("its record %q is of the groups %q, and not of %q", path, r.Groups, state.Groups)
	}
	if state.Groups != nil {
		if err := sameGroups(state); err != nil {
			return nil, err
		}
	}
	dup, err := sys.DupFD(fd)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(dup), path), nil
}

// sameGroups says whether the groups that are there are those of the state.
func sameGroups(s CellState) error {
	now, err := cgroup.Identities(s.Groups)
	if err != nil {
		return err
	}
	if !slices.Equal(now, s.Identities) {
		return fmt.Errorf("the groups %q are others than its", s.Groups)
	}
	return nil
}

// takeREPL makes a Process. One that has ended meanwhile is told by the init.
func (c *Cell) takeREPL(s ProcessState, a *handover.Arrived) (_ *Process, err error) {
	p := &Process{PID: s.PID, inner: s.Inner, forked: s.Forked, cell: c, ended: make(chan struct{})}
	defer func() {
		if err != nil {
			p.Close()
		}
	}()
	for _, d := range []struct {
		number int
		to     **os.File
	}{{s.Pidfd, &p.pidfd}, {s.Control, &p.Control}, {s.Stdin, &p.Stdin}, {s.Stdout, &p.Stdout}, {s.Stderr, &p.Stderr}} {
		if *d.to, err = a.Take(d.number); err != nil {
			return nil, err
		}
		if *d.to == nil && d.to != &p.Stdin {
			return nil, errors.New("a REPL of it lacks a descriptor")
		}
	}
	if s.Inner <= 1 {
		return nil, fmt.Errorf("a REPL of it is process %d", s.Inner)
	}
	if pid, err := pidOf(p.pidfd); err == nil {
		if pid != s.PID {
			return nil, fmt.Errorf("a REPL of it was process %d and is %d", s.PID, pid)
		}
		if c.group != nil {
			var f findings
			f.groups(strconv.Itoa(pid), c.group.Paths())
			if _, err := pidOf(p.pidfd); err == nil && len(f.list) > 0 {
				return nil, &PostureError{f.list}
			}
		}
	}
	return p, nil
}

// abandon ends a cell that could not be taken over. Its record stays, unlocked: only
// the sweep knows what to do with groups that may be others by now.
func (c *Cell) abandon(procs []*Process) {
	for _, p := range procs {
		p.Close()
	}
	if c.socket != nil {
		c.socket.Close() // the lifeline
	}
	if c.process != nil {
		_ = c.process.Kill()
		c.process.Close()
	}
	files := []*os.File{c.workspace, c.ruleset}
	if c.slot != nil {
		files = append(files, c.slot.file)
	}
	for _, f := range files {
		if f != nil {
			f.Close()
		}
	}
}
