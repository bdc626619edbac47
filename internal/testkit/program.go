package testkit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// readyTime is for a first start, which builds a root.
const readyTime = 10 * time.Minute

// Output is what a program prints, for who reads while it prints.
type Output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements io.Writer.
func (o *Output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(b)
}

func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// StartReady starts a program that tells systemd when it is ready, and returns when it
// does; its end is the caller's. It ends with this process. What it prints goes to out;
// nil: nowhere. In dir, whose path is to be short, it is told, also by another user.
func StartReady(cmd *exec.Cmd, dir string, out io.Writer) error {
	name := filepath.Base(cmd.Path)
	at := filepath.Join(dir, "ready-"+name)
	ready, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: at, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer os.Remove(at)
	defer ready.Close()
	if err := os.Chmod(at, 0o666); err != nil {
		return err
	}
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+at)
	cmd.Stdout, cmd.Stderr = out, out
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	if err := cmd.Start(); err != nil {
		return err
	}
	if err := ready.SetReadDeadline(time.Now().Add(readyTime)); err != nil {
		return err
	}
	for buf := make([]byte, 4096); ; {
		n, err := ready.Read(buf)
		if err != nil {
			cmd.Process.Kill()
			return fmt.Errorf("%s is not ready: %w\n%v", name, errors.Join(err, cmd.Wait()), out)
		}
		if strings.Contains(string(buf[:n]), "READY=1") {
			return nil
		}
	}
}
