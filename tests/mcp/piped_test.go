package mcp

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/cellblock/cellblock/internal/testkit"
)

// piped is a cellblock mcp whose pipes the test holds itself.
type piped struct {
	dir                  string
	cmd                  *exec.Cmd
	toServer, fromServer *os.File
	log                  *testkit.Output
}

func startPiped(t *testing.T, flags ...string) *piped {
	t.Helper()
	p := &piped{dir: tempDir(t), log: new(testkit.Output)}
	p.cmd = exec.Command(program(t), append([]string{"mcp", "--runtime-dir", filepath.Join(p.dir, "run")}, flags...)...)
	p.cmd.Env = append(os.Environ(), "TMPDIR="+p.dir)
	p.cmd.Stderr = p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, toServer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	fromServer, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stdin, p.cmd.Stdout = in, out
	p.toServer, p.fromServer = toServer, fromServer
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in.Close()
	out.Close()
	t.Cleanup(func() {
		p.toServer.Close()
		p.fromServer.Close()
		if p.cmd.ProcessState == nil {
			p.cmd.Process.Kill()
			p.cmd.Wait()
		}
		clean(t, p.log)
	})
	return p
}

func (p *piped) terminate() { p.cmd.Process.Signal(syscall.SIGTERM) }

func (p *piped) wait() error { return p.cmd.Wait() }
