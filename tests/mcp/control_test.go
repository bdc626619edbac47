package mcp

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/cellblock/cellblock/internal/mcp"
	"github.com/cellblock/cellblock/internal/testkit"
)

const endless = "x = 1\nprint('begun', flush=True)\nwhile True: pass"

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// A call that its client cancels stops the code, and keeps the variables.
func TestCancellationInterrupts(t *testing.T) {
	both(t, func(t *testing.T, c *client) {
		ctx, cancel := context.WithCancel(t.Context())
		failed := make(chan error, 1)
		go func() {
			_, err := c.call(ctx, "run_python", args{"code": endless, "timeout_seconds": 600})
			failed <- err
		}()
		c.until("begun")
		cancel()
		if err := <-failed; !errors.Is(err, context.Canceled) {
			t.Errorf("the call: %v", err)
		}
		if got := c.ok("run_python", args{"code": "x"}); got != "1" {
			t.Errorf("a variable: %s", got)
		}
	})
}

// The tool stops a call of the same conversation, which says so.
func TestInterrupt(t *testing.T) {
	both(t, func(t *testing.T, c *client) {
		if got := c.ok("interrupt", nil); got != "Nothing was running." {
			t.Errorf("of nothing: %s", got)
		}
		running, waiting := make(chan *sdk.CallToolResult, 1), make(chan *sdk.CallToolResult, 1)
		go func() { running <- c.do("run_python", args{"code": endless, "timeout_seconds": 600}) }()
		c.until("begun")
		go func() { waiting <- c.do("run_python", args{"code": "x = 2"}) }()
		if n := structured[mcp.InterruptOutput](t, c.do("interrupt", nil)).Interrupted; n < 1 {
			t.Errorf("%d calls were stopped", n)
		}
		r := <-running
		if text := textOf(r); !r.IsError || !strings.Contains(text, "begun") || !strings.Contains(text, "KeyboardInterrupt") || !strings.Contains(text, "Interrupted") {
			t.Errorf("what ran: %s", text)
		}
		<-waiting // dropped, or it came later and ran
		if got := c.ok("run_python", args{"code": "x"}); got != "1" && got != "2" {
			t.Errorf("a variable: %s", got)
		}
	})
}

// Code that will not stop is killed, and the answer says what is lost.
func TestInterruptOfWhatWillNotStop(t *testing.T) {
	c := stdio(t)
	running := make(chan *sdk.CallToolResult, 1)
	go func() {
		running <- c.do("run_python", args{"timeout_seconds": 600, "code": `
import signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
open('f', 'w').write('1')
print('begun', flush=True)
while True: pass`})
	}()
	c.until("begun")
	c.ok("interrupt", nil)
	r := <-running
	if out := structured[mcp.RunOutput](t, r); !out.VariablesLost || out.FilesLost {
		t.Errorf("%+v", out)
	}
	if got := c.ok("read_file", args{"path": "f"}); got != "1" {
		t.Errorf("a file: %s", got)
	}
}

// There is a bound of calls, and interrupt is not one of them.
func TestManyCalls(t *testing.T) {
	both(t, func(t *testing.T, c *client) {
		answers := make(chan string, 100)
		call := func(code string) {
			r, err := c.call(t.Context(), "run_python", args{"code": code, "timeout_seconds": 600})
			if err != nil {
				answers <- err.Error()
				return
			}
			answers <- textOf(r)
		}
		go call(endless)
		c.until("begun")
		for range 70 {
			go call("1")
		}
		for range 7 {
			if got := <-answers; !strings.Contains(got, "no more are allowed") {
				t.Errorf("one too many: %s", got)
			}
		}
		for left := 64; left > 0; { // some may come after the first interrupt
			c.ok("interrupt", nil)
			for waited := false; left > 0 && !waited; {
				select {
				case <-answers:
					left--
				case <-time.After(100 * time.Millisecond):
					waited = true
				}
			}
		}
		if got := c.ok("run_python", args{"code": "x"}); got != "1" {
			t.Errorf("afterwards: %s", got)
		}
	})
}

// A reset does not wait for code that runs.
func TestResetStopsCode(t *testing.T) {
	both(t, func(t *testing.T, c *client) {
		running := make(chan *sdk.CallToolResult, 1)
		go func() { running <- c.do("run_python", args{"code": endless, "timeout_seconds": 600}) }()
		c.until("begun")
		c.ok("reset", args{"delete_files": true})
		if r := <-running; !r.IsError {
			t.Errorf("what ran: %s", textOf(r))
		}
		if got := c.run("x"); !strings.Contains(got, "NameError") {
			t.Errorf("afterwards: %s", got)
		}
	})
}

// An ordinary user's client gets a cell too, where the group may be missing.
func TestRootless(t *testing.T) {
	testkit.Require(t, testkit.Root, testkit.UserNamespaces)
	const nobody = 65534
	home, err := os.MkdirTemp("/var/tmp", "cellblock-mcp-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(home)
	bin := filepath.Join(home, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"cellblock", "cellblock-service"} {
		text, err := os.ReadFile(filepath.Join(filepath.Dir(program(t)), name))
		if err == nil {
			err = os.WriteFile(filepath.Join(bin, name), text, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(home, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	start := func(flags ...string) *client {
		cmd := exec.Command(filepath.Join(bin, "cellblock"), append([]string{"mcp"}, flags...)...)
		cmd.Dir = home
		cmd.Env = []string{"HOME=" + home, "XDG_RUNTIME_DIR=" + home, "TMPDIR=" + home, "PATH=/usr/bin"}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		return connect(t, &sdk.CommandTransport{Command: cmd})
	}
	strict := start()
	defer strict.Close()
	if r := strict.do("run_python", args{"code": "1"}); !r.IsError || !strings.Contains(textOf(r), "--without cgroup") {
		t.Errorf("without a group: %s", textOf(r))
	}
	c := start("--without", "cgroup")
	defer c.Close()
	c.ok("upload_file", args{"path": "f", "text": "from the client"})
	if got := c.ok("run_python", args{"code": "print(open('f').read())"}); got != "from the client" {
		t.Errorf("it said %q", got)
	}
}

// A client that is gone in the middle of a call leaves nothing: the program
// ends, and its cell with it.
func TestClientGoesAway(t *testing.T) {
	for name, leave := range map[string]func(c *client, in, out *os.File, end func()){
		"input ends":     func(_ *client, in, _ *os.File, _ func()) { in.Close() },
		"all is closed":  func(_ *client, in, out *os.File, _ func()) { out.Close(); in.Close() },
		"it is told to":  func(_ *client, _, _ *os.File, end func()) { end() },
		"nobody listens": func(_ *client, _, out *os.File, end func()) { out.Close(); end() },
	} {
		t.Run(name, func(t *testing.T) {
			p := startPiped(t)
			c := connect(t, &sdk.IOTransport{Reader: p.fromServer, Writer: p.toServer})
			go c.call(t.Context(), "run_python", args{"code": endless, "timeout_seconds": 600})
			c.until("begun")
			if len(cells(p.dir)) == 0 {
				t.Error("there is no record of the cell")
			}
			began := time.Now()
			leave(c, p.toServer, p.fromServer, p.terminate)
			if err := p.wait(); err != nil {
				t.Errorf("its end: %v\n%s", err, p.log)
			}
			if took := time.Since(began); took > 30*time.Second {
				t.Errorf("it took %s", took)
			}
			nothingLeft(t, p.dir)
		})
	}
}
