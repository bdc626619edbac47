package nsjail

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"syscall"

	"github.com/cellblock/cellblock/internal/sys"
	"github.com/cellblock/cellblock/internal/weaken"
)

// The steps of outer in init.c, and of build in nest.h, that can fail.
var outerSteps = []string{"", "user-namespace", "setresgid", "setresuid", "clone", "enter-group", "pass-descriptors", "pipe", "map-ids"}

// adopt maps the ids of the user namespace that outer entered and takes over
// the init.
func (c *Cell) adopt(outer int) error {
	if _, err := c.hear('u'); err != nil {
		return err
	}
	if err := c.mapIDs(outer); err != nil {
		return hostStep("map-ids", err)
	}
	if err := preferToKill(outer); err != nil {
		return hostStep("oom-score", err)
	}
	if err := c.socket.Send([]byte("m")); err != nil {
		return hostStep("map-ids", err)
	}
	return c.takeOver()
}

// takeOver waits for the init that was cloned.
func (c *Cell) takeOver() error {
	a, err := c.hear('c')
	if err != nil {
		return err
	}
	if a.fd < 0 {
		return hostStep("clone", errors.New("BUG(nsjail): no pidfd came"))
	}
	pidfd := os.NewFile(uintptr(a.fd), "pidfd")
	// Not the number that the program said, which is that of its own namespace.
	pid, err := pidOf(pidfd)
	if err != nil {
		pidfd.Close()
		return hostStep("clone", err)
	}
	c.process = &process{Pid: pid, pidfd: pidfd, nested: c.host.nested}
	return nil
}

// hear waits for one message of outer.
func (c *Cell) hear(kind byte) (answer, error) {
	buf := make([]byte, 4096)
	n, fds, err := c.socket.Recv(buf)
	if errors.Is(err, io.EOF) {
		return answer{}, hostStep("start", fmt.Errorf("the init's program ended at once: %w", err))
	}
	if err != nil {
		return answer{}, hostStep("start", err)
	}
	a, err := parseAnswer(buf[:n], fds)
	if err != nil {
		return answer{}, hostStep("start", err)
	}
	if a.kind == 'o' && int(a.step) < len(outerSteps) {
		name := outerSteps[a.step]
		return answer{}, hostStep(name, os.NewSyscallError(name, syscall.Errno(a.errno)))
	}
	if a.kind != kind {
		return answer{}, hostStep("start", fmt.Errorf("BUG(nsjail): message %q instead of %q", a.kind, kind))
	}
	return a, nil
}

// mapIDs gives the user namespace of pid its ids. The two of a slot are
// neighbours: one line maps both.
func (c *Cell) mapIDs(pid int) error {
	if weaken.Layer("user-namespace") {
		return nil
	}
	dir := "/proc/" + strconv.Itoa(pid) + "/"
	uids := c.slot.ids()
	gids := uids
	if c.host.nest {
		uids = c.slot.nestMap()
		gids = uids
	}
	if c.host.rootless {
		uids = fmt.Sprintf("%d %d 1", initID, os.Geteuid())
		gids = fmt.Sprintf("%d %d 1", initID, os.Getegid())
		// Without it an unprivileged user may not map groups (CVE-2014-8989).
		if err := sys.WriteControl(dir+"setgroups", "deny"); err != nil {
			return err
		}
	}
	if err := sys.WriteControl(dir+"uid_map", uids); err != nil {
		return err
	}
	return sys.WriteControl(dir+"gid_map", gids)
}

// preferToKill makes the whole cell the first to go when the host itself runs
// out of memory. Within the cell the kernel takes the largest, and the init is
// a hundred times smaller than any Python.
func preferToKill(pid int) error {
	if weaken.Layer("oom-score") {
		return nil
	}
	return sys.WriteControl("/proc/"+strconv.Itoa(pid)+"/oom_score_adj", "1000")
}
