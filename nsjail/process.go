package nsjail

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"

	"github.com/cellblock/cellblock/internal/sys"
)

// process is the init: mostly a child of this process, known by its pidfd. os.Process
// would do, but tries out the kernel's pidfds with a clone of its own, which a
// one-shot run notices.
type process struct {
	Pid    int
	nested bool // another reaps it: the init of a nest or, of a cell taken over, PID 1

	mu    sync.Mutex // a kill may come from a context's end
	pidfd *os.File   // nil once closed

	once  sync.Once
	state string
	err   error
}

// number is the pidfd's, -1 once it is closed.
func (p *process) number() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pidfd == nil {
		return -1
	}
	return int(p.pidfd.Fd())
}

// Kill ends it, and with it, since it is PID 1, all of its namespace.
func (p *process) Kill() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pidfd == nil {
		return nil
	}
	err := again(func() error { return sys.PidfdSignal(int(p.pidfd.Fd()), syscall.SIGKILL) })
	if errors.Is(err, syscall.ESRCH) {
		return nil // it has ended, and was reaped where it is nested
	}
	return err
}

// Close gives the descriptor back, after Wait.
func (p *process) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pidfd.Close()
	p.pidfd = nil
}

// Wait waits for its end, reaps it and says how it ended. It may be called
// again.
func (p *process) Wait() (string, error) {
	p.once.Do(func() {
		if p.nested {
			p.err = sys.AwaitReadable(int(p.pidfd.Fd()))
			p.state = "how is known to its parent only"
			return
		}
		var code, status int32
		p.err = again(func() (err error) {
			code, status, err = sys.WaitPidfd(int(p.pidfd.Fd()))
			return err
		})
		if p.err != nil {
			return
		}
		const exited = 1
		p.state = fmt.Sprintf("signal %d", status)
		if code == exited {
			p.state = fmt.Sprintf("exit status %d", status)
		}
	})
	return p.state, p.err
}
