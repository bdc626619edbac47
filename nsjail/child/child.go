// Package child is the cell's half of nsjail: it carries out a plan inside
// the new namespaces and then becomes the reaper.
//
//	func main() { child.Main() }
//
// It imports only the standard library and decides nothing: what is wanted,
// and in which order, the host resolved before.
package child

import (
	"errors"
	"os"
	"runtime"
	"syscall"

	"github.com/cellblock/cellblock/internal/sys"
	"github.com/cellblock/cellblock/nsjail/mount"
	"github.com/cellblock/cellblock/nsjail/plan"
)

// Host is the descriptor of the socket to the host, in the init as in the
// reaper; Filter that of the seccomp filter.
const (
	Host   = 3
	Filter = 4
)

// init pins the main goroutine to the main thread: namespaces, capabilities
// and no_new_privs belong to one thread, and that one execs the reaper.
func init() { runtime.LockOSThread() }

// Main reads the plan, carries it out and does not return.
func Main() {
	buf := make([]byte, plan.MaxBytes)
	n, _, err := syscall.Recvfrom(Host, buf, 0)
	if err != nil || n == 0 {
		os.Exit(121) // the host is gone: nobody is left to tell
	}
	steps, err := plan.Decode(buf[:n])
	if err != nil {
		fail(0, err)
	}
	var c cell
	for i, s := range steps {
		if err := c.apply(s); err != nil {
			fail(i, err)
		}
	}
	fail(len(steps), errors.New("BUG(nsjail): the plan ends without exec"))
}

func fail(index int, err error) {
	var errno syscall.Errno
	errors.As(err, &errno)
	syscall.Sendto(Host, plan.Failure(index, uint32(errno), err.Error()), syscall.MSG_NOSIGNAL, nil)
	os.Exit(120)
}

// cell is what one step leaves for the next.
type cell struct {
	root int // the new root, once attached
}

func (c *cell) apply(s plan.Step) error {
	switch s.Op {
	case plan.Private:
		return os.NewSyscallError("mount", syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""))
	case plan.MakeRoot:
		fd, err := mount.Tree(s.Path, mount.ReadOnly)
		if err != nil {
			return err
		}
		return c.attachRoot(fd)
	case plan.AttachRoot:
		return c.attachRoot(s.FD)
	case plan.Attach:
		return c.attachAt(s, s.FD)
	case plan.MakeTmpfs:
		return c.makeTmpfs(s)
	case plan.BindDevice:
		fd, err := sys.OpenTree(sys.AtFDCWD, "/dev/"+s.Arg, sys.OpenTreeClone)
		if err != nil {
			return err
		}
		return c.attach(fd, s.Path)
	case plan.BindInput:
		fd, err := mount.Tree(s.Arg, mount.ReadOnly|sys.MountAttrNoExec)
		if err != nil {
			return err
		}
		return c.attachAt(s, fd)
	case plan.Proc:
		return c.proc(s)
	case plan.Pivot:
		return c.pivot()
	case plan.Hostname:
		return os.NewSyscallError("sethostname", syscall.Sethostname([]byte(s.Arg)))
	case plan.Cgroup:
		// Now that the init was born in its group, that group becomes the root
		// of what the cell can see of the hierarchy.
		return os.NewSyscallError("unshare", syscall.Unshare(syscall.CLONE_NEWCGROUP))
	case plan.Keyring:
		if err := sys.JoinKeyring(); err != nil && !errors.Is(err, syscall.ENOSYS) {
			return err
		}
		return nil
	case plan.Limit:
		_, err := sys.Prlimit(0, s.FD, &sys.Rlimit{Soft: s.A, Hard: s.B})
		return err
	case plan.Umask:
		syscall.Umask(int(s.A))
		return nil
	case plan.Chdir:
		return os.NewSyscallError("chdir", syscall.Chdir(s.Path))
	case plan.NoNewPrivs:
		_, err := sys.Prctl(sys.PrSetNoNewPrivs, 1, 0, 0, 0)
		return err
	case plan.Landlock:
		return restrict(int(s.A))
	case plan.Capabilities:
		return keepOnly(s.A)
	case plan.Exec:
		if err := sys.CloseOnExec(Filter + 1); err != nil {
			return err
		}
		return sys.ExecFD(s.FD, s.Args, s.Env)
	}
	return errors.New("BUG(nsjail): unknown step")
}

// attachRoot mounts the new root over / and makes it the working directory,
// so that every later target is found below it and not below the old root.
func (c *cell) attachRoot(fd int) error {
	if err := sys.MoveMount(fd, sys.AtFDCWD, "/"); err != nil {
		return err
	}
	c.root = fd
	return os.NewSyscallError("fchdir", syscall.Fchdir(fd))
}

func (c *cell) attach(fd int, path string) error {
	return sys.MoveMount(fd, c.root, path)
}

// attachAt is attach after making the mount point, where B asks for it.
func (c *cell) attachAt(s plan.Step, fd int) error {
	switch s.B {
	case plan.OnDirectory:
		if err := sys.Mkdirat(c.root, s.Path, 0o755); err != nil {
			return err
		}
	case plan.OnFile:
		f, err := syscall.Openat(c.root, s.Path, syscall.O_CREAT|syscall.O_EXCL|syscall.O_WRONLY|syscall.O_CLOEXEC, 0o444)
		if err != nil {
			return os.NewSyscallError("openat", err)
		}
		syscall.Close(f)
	}
	return c.attach(fd, s.Path)
}

// makeTmpfs makes what the host could not; B asks for its descriptor to be
// sent to the host, which reads the workspace through it.
func (c *cell) makeTmpfs(s plan.Step) error {
	fd, err := mount.Tmpfs(s.Arg, s.A)
	if err != nil {
		return err
	}
	if s.Path == "dev" {
		if err := mount.DevSkeleton(fd); err != nil {
			return err
		}
		for _, d := range mount.Devices {
			f, err := syscall.Openat(fd, d.Name, syscall.O_CREAT|syscall.O_WRONLY|syscall.O_CLOEXEC, 0o666)
			if err != nil {
				return os.NewSyscallError("openat", err)
			}
			syscall.Close(f)
		}
	}
	if err := c.attach(fd, s.Path); err != nil {
		return err
	}
	if s.B != 0 {
		err := syscall.Sendmsg(Host, []byte("w"), syscall.UnixRights(fd), nil, syscall.MSG_NOSIGNAL)
		return os.NewSyscallError("sendmsg", err)
	}
	return nil
}

// proc attaches the proc that the host passes where the kernel would refuse
// to make one here (over-mounts below the caller's /proc), or makes it.
//
// Before pivot-root, because the kernel wants to see an unmasked proc in the
// mount namespace when a new one is made.
func (c *cell) proc(s plan.Step) error {
	var fd int
	var err error
	if s.A == 0 {
		fd, err = mount.Proc()
	} else {
		fd, err = receiveFD()
	}
	if err != nil {
		return err
	}
	return c.attach(fd, "proc")
}

// receiveFD asks the host for a descriptor and waits for it.
func receiveFD() (int, error) {
	if err := syscall.Sendto(Host, []byte("p"), syscall.MSG_NOSIGNAL, nil); err != nil {
		return -1, os.NewSyscallError("sendto", err)
	}
	oob := make([]byte, 64)
	_, n, _, _, err := syscall.Recvmsg(Host, make([]byte, 1), oob, syscall.MSG_CMSG_CLOEXEC)
	if err != nil {
		return -1, os.NewSyscallError("recvmsg", err)
	}
	messages, err := syscall.ParseSocketControlMessage(oob[:n])
	if err != nil || len(messages) != 1 {
		return -1, errors.New("the host sent no descriptor of proc")
	}
	fds, err := syscall.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return -1, errors.New("the host sent no descriptor of proc")
	}
	return fds[0], nil
}

// pivot puts the old root below the new one at the same place and detaches
// it, so that no directory for it is needed.
func (c *cell) pivot() error {
	if err := syscall.Fchdir(c.root); err != nil {
		return os.NewSyscallError("fchdir", err)
	}
	if err := syscall.PivotRoot(".", "."); err != nil {
		return os.NewSyscallError("pivot_root", err)
	}
	if err := syscall.Unmount(".", syscall.MNT_DETACH); err != nil {
		return os.NewSyscallError("umount2", err)
	}
	return os.NewSyscallError("chdir", syscall.Chdir("/"))
}

// SendProc is the helper that package nsjail starts in a cell's PID namespace
// but in the host's mount namespace: it makes the proc that the kernel
// refuses to make inside, sends it and ends.
func SendProc() {
	fd, err := mount.Proc()
	if err != nil {
		syscall.Sendto(Host, []byte(err.Error()), syscall.MSG_NOSIGNAL, nil)
		os.Exit(1)
	}
	if err := syscall.Sendmsg(Host, []byte("p"), syscall.UnixRights(fd), nil, syscall.MSG_NOSIGNAL); err != nil {
		os.Exit(1)
	}
	os.Exit(0)
}
