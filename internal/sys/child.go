package sys

import (
	"os"
	"syscall"
)

// Pipe makes a pipe whose ends wait in the poller.
func Pipe() (r, w *os.File, err error) {
	err = retryEINTR("pipe2", func() (e error) { r, w, e = os.Pipe(); return e })
	return r, w, err
}

// StartProcess forks and executes path.
func StartProcess(path string, argv []string, attr *syscall.ProcAttr) (pid int, err error) {
	err = retryEINTR("execve", func() (e error) { pid, _, e = syscall.StartProcess(path, argv, attr); return e })
	return pid, err
}

// Wait waits for a child (pid > 0) or for one of a process group (pid < 0).
func Wait(pid int) (child int, err error) {
	err = retryEINTR("wait4", func() (e error) { child, e = syscall.Wait4(pid, nil, 0, nil); return e })
	return child, err
}

// KillGroup sends SIGKILL to a process group.
func KillGroup(pgid int) error {
	return retryEINTR("kill", func() error { return syscall.Kill(-pgid, syscall.SIGKILL) })
}
