package nsjail

import (
	"errors"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"github.com/cellblock/cellblock/internal/sys"
	"github.com/cellblock/cellblock/nsjail/mount"
)

// canMount says whether this process may mount on the host. Being uid 0 is
// not the question: root of a container may lack the capability.
func canMount() (bool, error) {
	const capSysAdmin = 21
	status, err := sys.ReadControl("/proc/self/status")
	if err != nil {
		return false, err
	}
	_, rest, ok := strings.Cut(status, "CapEff:\t")
	if !ok || len(rest) < 16 {
		return false, errors.New("the kernel tells no CapEff of this process")
	}
	caps, err := strconv.ParseUint(rest[:16], 16, 64)
	return caps&(1<<capSysAdmin) != 0 && os.Geteuid() == 0, err
}

// procMasked says whether something is mounted below /proc (containers do
// that): the kernel then refuses a new proc in a user namespace.
func procMasked() (bool, error) {
	mounts, err := sys.ReadControl("/proc/self/mountinfo")
	if err != nil {
		return false, err
	}
	for line := range strings.Lines(mounts) {
		f := strings.Fields(line)
		if len(f) > 4 && strings.HasPrefix(f[4], "/proc/") {
			return true, nil
		}
	}
	return false, nil
}

// noProcByName is set by a test, to go the way of older kernels.
var noProcByName bool

// lastCap is the number of the kernel's last capability.
func lastCap() (int, error) {
	text, err := sys.ReadControl("/proc/sys/kernel/cap_last_cap")
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(text))
}

// sendProc makes a proc of the cell's PID namespace outside of its user
// namespace and passes it in: by name of the namespace where the kernel can
// (6.17), through a helper born in that PID namespace elsewhere.
func (c *Cell) sendProc() error {
	pidns, err := os.Open("/proc/" + strconv.Itoa(c.process.Pid) + "/ns/pid")
	if err != nil {
		return err
	}
	defer pidns.Close()
	fd, err := -1, error(syscall.ENOSYS)
	if !noProcByName {
		fd, err = mount.ProcOf(int(pidns.Fd()), procAttr(c.host.nest))
	}
	if err != nil {
		fd, err = procByHelper(pidns, procAttr(c.host.nest))
	}
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	return c.socket.Send([]byte("p"), fd)
}

// procByHelper starts the init's program as a helper in the namespace, with a
// plan of its own: make the mount and send it.
func procByHelper(pidns *os.File, attr uint64) (int, error) {
	programs, err := programsOnce()
	if err != nil {
		return -1, err
	}
	ours, theirs, err := sys.Pair(syscall.SOCK_SEQPACKET)
	if err != nil {
		return -1, err
	}
	defer ours.Close()
	defer theirs.Close()
	program, err := lower([]step{{"proc", func(p *program) { p.send(newProc(p, attr), 'w') }}})
	if err != nil {
		return -1, err
	}
	message, err := program.encode(nil)
	if err != nil {
		return -1, err
	}
	packet := sys.NewPacket(ours)
	if err := packet.Send(message); err != nil {
		return -1, err
	}
	p, err := startInPIDNS(pidns, func() (*os.Process, error) {
		files := []*os.File{nil, nil, nil, theirs, programs.init}
		return os.StartProcess("/proc/self/fd/"+strconv.Itoa(selfFD), []string{"helper"}, &os.ProcAttr{Files: files})
	})
	if err != nil {
		return -1, err
	}
	theirs.Close()
	buf := make([]byte, 512)
	n, fds, err := packet.Recv(buf)
	p.Wait()
	if err != nil {
		return -1, err
	}
	a, err := parseAnswer(buf[:n], fds)
	if err != nil {
		return -1, err
	}
	if a.fd < 0 {
		return -1, os.NewSyscallError("mount proc", syscall.Errno(a.errno))
	}
	return a.fd, nil
}

// startInPIDNS starts a process whose PID namespace is pidns. The thread
// that did it comes back or dies.
func startInPIDNS(pidns *os.File, start func() (*os.Process, error)) (*os.Process, error) {
	type result struct {
		p   *os.Process
		err error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread()
		own, err := os.Open("/proc/thread-self/ns/pid")
		if err != nil {
			done <- result{nil, err}
			return // still locked: the thread ends with the goroutine
		}
		defer own.Close()
		if err := sys.Setns(int(pidns.Fd()), syscall.CLONE_NEWPID); err != nil {
			done <- result{nil, err}
			return
		}
		p, err := start()
		if sys.Setns(int(own.Fd()), syscall.CLONE_NEWPID) == nil {
			runtime.UnlockOSThread()
		}
		done <- result{p, err}
	}()
	r := <-done
	return r.p, r.err
}
