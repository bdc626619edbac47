package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/cellblock/cellblock/internal/sys"
)

// Destroy kills what is in the group and removes it. It returns when the group
// is gone, or with what kept it when ctx ends; it can then be called again. No
// other method does anything from the first call on.
func (g *Group) Destroy(ctx context.Context) error {
	g.life.Lock()
	defer g.life.Unlock()
	if !g.dying {
		g.dying = true
		// Before the removal, which would wake the watch for nothing.
		g.events.stop()
		g.figures.close()
	}
	if err := remove(ctx, g.paths()); err != nil {
		return fmt.Errorf("cannot destroy the group: %w", err)
	}
	g.nodes = nil
	if g.dirFD >= 0 {
		syscall.Close(g.dirFD)
		g.dirFD = -1
	}
	return nil
}

// undo removes what a failed Create had made; nothing can be inside.
func (g *Group) undo() {
	for _, n := range g.nodes {
		if sys.Rmdir(n.dir) != nil {
			sys.Rmdir(n.dir) // a shortage passes, a group would stay
		}
	}
	if g.dirFD >= 0 {
		syscall.Close(g.dirFD)
	}
}

// Identities tell groups, by their directories, from later ones of the same name:
// the kernel gives no inode number twice.
func Identities(paths []string) ([]uint64, error) {
	ids := make([]uint64, len(paths))
	for i, p := range paths {
		var st syscall.Stat_t
		if err := sys.Lstat(p, &st); err != nil {
			return nil, err
		}
		ids[i] = st.Ino
	}
	return ids, nil
}

// RemoveRecorded kills and removes the groups whose directories, and their
// identities, a process that died had recorded. It leaves a group of another
// identity alone, which somebody else has made since. Where no identities were
// recorded (nil), the process died before anything could be in a group of its, so
// that only what is empty is removed.
//
// It refuses a path that is not a directory in a cgroup file system or whose last
// element does not start with "cellblock-" or is a unit of systemd's, before it
// touches any. What is gone already is fine. It gives up after ten seconds.
func RemoveRecorded(paths []string, ids []uint64) error {
	if ids != nil && len(ids) != len(paths) {
		return fmt.Errorf("cannot remove groups: %d identities for %d of them", len(ids), len(paths))
	}
	var there []string
	for i, p := range paths {
		err := checkRemovable(p)
		if errors.Is(err, syscall.ENOENT) {
			continue
		}
		if err != nil {
			return err
		}
		if ids != nil {
			now, err := Identities(paths[i : i+1])
			if err == nil && now[0] != ids[i] || errors.Is(err, syscall.ENOENT) {
				continue
			}
			if err != nil {
				return err
			}
		}
		there = append(there, p)
	}
	if ids == nil {
		for _, p := range there {
			_ = sys.Rmdir(p) // who has anything in it will remove it
		}
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := remove(ctx, there); err != nil {
		return fmt.Errorf("cannot remove the groups of a process that died: %w", err)
	}
	return nil
}

func checkRemovable(p string) error {
	if !filepath.IsAbs(p) || filepath.Clean(p) != p || !strings.HasPrefix(filepath.Base(p), namePrefix) || isUnit(p) {
		return fmt.Errorf("cannot remove %q: not the absolute path of a group called %s…", p, namePrefix)
	}
	fd, err := sys.OpenControl(p, syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW)
	if err != nil {
		return fmt.Errorf("cannot remove the group: %w", err)
	}
	defer syscall.Close(fd)
	var fs syscall.Statfs_t
	if err := sys.Fstatfs(fd, &fs); err != nil {
		return fmt.Errorf("cannot tell the file system of %q: %w", p, err)
	}
	const cgroupMagic, cgroup2Magic = 0x27e0eb, 0x63677270 // linux/magic.h
	if fs.Type != cgroupMagic && fs.Type != cgroup2Magic {
		return fmt.Errorf("cannot remove %q: not in a cgroup file system", p)
	}
	return nil
}

// remove ends the groups. In the usual case everything inside is dead already
// and one rmdir for each is all.
func remove(ctx context.Context, dirs []string) error {
	for attempt := 0; ; attempt++ {
		var busy error
		dirs = slices.DeleteFunc(slices.Clone(dirs), func(dir string) bool {
			err := sys.Rmdir(dir)
			if err != nil && !errors.Is(err, syscall.ENOENT) && !errors.Is(err, syscall.ENODEV) {
				busy = err
				return false
			}
			return true
		})
		if len(dirs) == 0 {
			return nil
		}
		if !errors.Is(busy, syscall.EBUSY) {
			if attempt == 0 {
				continue // a shortage passes
			}
			return busy
		}
		if err := ctx.Err(); err != nil {
			return errors.Join(busy, err)
		}
		for _, dir := range dirs {
			lift(dir) // what has to die may need CPU that its group owes
		}
		for _, dir := range dirs {
			if err := end(ctx, dir); err != nil && attempt > 0 {
				return errors.Join(busy, err)
			}
		}
		if attempt > 0 { // what was killed and waited for was not all of it
			backoff(ctx, attempt)
		}
	}
}

// end kills what is in a directory and its descendants and waits for its death.
func end(ctx context.Context, dir string) error {
	if err := remove(ctx, childrenOf(dir)); err != nil {
		return err
	}
	switch err := sys.WriteControl(dir+"/cgroup.kill", "1"); {
	case err == nil:
		return awaitEmpty(ctx, dir)
	case errors.Is(err, syscall.ENODEV):
		return nil
	case !errors.Is(err, syscall.ENOENT):
		return fmt.Errorf("cannot kill what is in the group: %w", err)
	}
	// Not v2, or before Linux 5.14: one by one. With no room for another
	// process the ones that fork without end cannot run away from it.
	sys.WriteControl(dir+"/pids.max", "0")
	return killEach(ctx, dir)
}

// childrenOf lists the groups below one. A cell cannot make any, an operator can.
func childrenOf(dir string) (children []string) {
	names, _ := sys.Directories(dir) // gone meanwhile, or the rmdir to come says what is wrong
	for _, n := range names {
		children = append(children, filepath.Join(dir, n))
	}
	return children
}

// backoff waits a little longer on each attempt: the last process may be dead
// and still on its way out of the kernel, for which v1 has no event.
func backoff(ctx context.Context, attempt int) {
	pause := time.NewTimer(min(100*time.Microsecond<<min(attempt, 10), 10*time.Millisecond))
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-ctx.Done():
	}
}

// awaitEmpty waits until no process is in a v2 group.
func awaitEmpty(ctx context.Context, dir string) error {
	f, err := openPolled(dir + "/cgroup.events")
	if err != nil {
		if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ENODEV) {
			return nil
		}
		return err
	}
	defer f.Close()
	stop := context.AfterFunc(ctx, func() { f.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	if await(f, func(fd int) bool { return keyed(readAll(fd), "populated") <= 0 }) != nil {
		return ctx.Err()
	}
	return nil
}

// killEach kills the processes in a v1 group and waits for their ends. It never
// kills this process.
func killEach(ctx context.Context, dir string) error {
	// A number may be another process's by the time it is used. So: take hold
	// of each process, then read again; who is listed still is the one held.
	held := make(map[string]*os.File)
	defer func() {
		for _, f := range held {
			f.Close()
		}
	}()
	first, err := processesIn(dir)
	if err != nil {
		return err
	}
	for _, pid := range first {
		n, err := strconv.Atoi(pid)
		if err != nil || n <= 0 || n == os.Getpid() {
			continue
		}
		if fd, err := sys.OpenPidfd(n); err == nil {
			held[pid] = os.NewFile(uintptr(fd), "pidfd of "+pid)
		}
	}
	second, err := processesIn(dir)
	if err != nil {
		return err
	}
	var waits []*os.File
	for _, pid := range second {
		f := held[pid]
		if f == nil {
			continue
		}
		c, err := f.SyscallConn()
		if err != nil {
			continue
		}
		c.Control(func(fd uintptr) {
			if sys.PidfdSignal(int(fd), syscall.SIGKILL) == nil {
				waits = append(waits, f)
			}
		})
	}
	for _, f := range waits {
		stop := context.AfterFunc(ctx, func() { f.SetReadDeadline(time.Unix(1, 0)) })
		await(f, sys.Readable) // in vain, or ctx ended: the next rmdir tells
		stop()
	}
	return nil
}

func processesIn(dir string) ([]string, error) {
	text, err := sys.ReadControl(dir + "/cgroup.procs")
	if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ENODEV) {
		return nil, nil
	}
	return strings.Fields(text), err
}
