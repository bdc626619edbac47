package mcp

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/cellblock/cellblock/internal/mcp"
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
