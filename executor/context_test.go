package executor_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/internal/testkit"
	"github.com/cellblock/cellblock/nsjail"
)

// pair is a session with a context beside its own REPL.
func pair(t *testing.T, cfg executor.Config) (*executor.Session, *executor.Context) {
	t.Helper()
	ex := newExecutor(t, cfg)
	run(t, ex, executor.Request{Code: "1"}) // what a process opens once
	testkit.Leaks(t)
	s, err := ex.NewSession(t.Context(), executor.SessionOptions{ID: "s"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	c, err := s.NewContext(t.Context(), executor.ContextOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return s, c
}

type executes interface {
	Execute(context.Context, executor.Request) (executor.Result, error)
}

func in(t *testing.T, x executes, code string) executor.Result {
	t.Helper()
	r, err := x.Execute(t.Context(), executor.Request{Code: code, Timeout: 20 * time.Second})
	if err != nil {
		t.Fatalf("%.60q: %v", code, err)
	}
	return r
}

// says runs code and compares the value of its last expression.
func says(t *testing.T, x executes, code, want string) {
	t.Helper()
	r := in(t, x, code)
	if r.Value == nil || *r.Value != want {
		t.Errorf("%q: %v (%s), not %s", code, r.Value, errorText(r), want)
	}
}

func TestContextsHaveNamespacesOfTheirOwnAndOneWorkspace(t *testing.T) {
	s, c := pair(t, executor.Config{MaxMemoryMB: 256})
	in(t, s, "x = 1; open('f','w').write('from the session')")
	in(t, c, "x = 2; import os")
	says(t, s, "x", "1")
	says(t, c, "x, open('f').read()", "(2, 'from the session')")
	says(t, c, "os.getppid(), os.getsid(0) == os.getpid(), os.getuid()", "(1, True, 1)")
	if r := in(t, c, "x"); r.Session.Execution != 4 || r.Session.ID != "s" {
		t.Errorf("the context's result says %+v", r.Session)
	}
}

// A context runs while another does, and an interrupt reaches its own code only.
func TestContextsRunBesideEachOther(t *testing.T) {
	s, c := pair(t, executor.Config{MaxMemoryMB: 256, CPUs: 2})
	began := make(chan struct{}, 1)
	var slept executor.Result
	var wg sync.WaitGroup
	wg.Go(func() {
		var err error
		slept, err = c.Execute(t.Context(), executor.Request{
			Code: "kept = 7\nprint('go', flush=True)\nimport time\ntime.sleep(99)", Timeout: time.Minute,
			Stdout: func([]byte) { began <- struct{}{} },
		})
		if err != nil {
			t.Error(err)
		}
	})
	<-began
	says(t, s, "6*7", "42")
	if err := s.Interrupt(); err != nil {
		t.Error(err)
	}
	if err := c.Interrupt(); err != nil {
		t.Error(err)
	}
	wg.Wait()
	if slept.Exception == nil || slept.Exception.Name != "KeyboardInterrupt" || slept.Session.Lost {
		t.Errorf("the interrupted context ended with %+v", slept)
	}
	says(t, c, "kept", "7")
	says(t, s, "6*7", "42")
}

// However a REPL ends, the other one has kept its state, and so has the workspace.
func TestTheEndOfOneREPLIsNotThatOfTheOther(t *testing.T) {
	s, c := pair(t, executor.Config{MaxMemoryMB: 256})
	for _, x := range []struct {
		name         string
		dying, other executes
	}{{"the context", c, s}, {"the session", s, c}} {
		for _, end := range []struct {
			name, code string
			timeout    time.Duration
			verdict    executor.Verdict
		}{
			{"crash", "import ctypes; ctypes.string_at(0)", time.Minute, executor.VerdictCrashed},
			{"exit", "import os; os._exit(3)", time.Minute, executor.VerdictExit},
			{"kill", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)", time.Minute, executor.VerdictKilled},
			{"time-out", "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass", testkit.Paced(time.Second), executor.VerdictTimeout},
			{"a child that has left and holds the channel", "import os\nheld = os.dup(3)\nif not os.fork():\n os.setsid()\n import time\n time.sleep(99)\nos._exit(3)", time.Minute, executor.VerdictExit},
			{"a child that has stayed", "import os\nif not os.fork():\n import time\n time.sleep(99)\nos._exit(3)", time.Minute, executor.VerdictExit},
		} {
			t.Run(x.name+", "+end.name, func(t *testing.T) {
				in(t, x.other, "kept = "+strconv.Quote(end.name))
				in(t, x.dying, "open('file','w').write('kept too')")
				r, err := x.dying.Execute(t.Context(), executor.Request{Code: end.code, Timeout: end.timeout})
				if err != nil {
					t.Fatal(err)
				}
				if r.Verdict != end.verdict || !r.Session.Lost {
					t.Errorf("%s, lost %v, %s", r.Verdict, r.Session.Lost, errorText(r))
				}
				says(t, x.other, "kept", "'"+end.name+"'")
				says(t, x.dying, "open('file').read(), 'kept' in globals()", "('kept too', False)")
			})
		}
	}
}

func TestMemoryIsSharedByContexts(t *testing.T) {
	s, c := pair(t, executor.Config{MaxMemoryMB: 128})
	in(t, s, "kept = 1")
	in(t, c, "import mmap")
	r := in(t, c, "m = mmap.mmap(-1, 1 << 29)\nfor i in range(0, 1 << 29, 4096): m[i] = 1")
	if r.Verdict != executor.VerdictOutOfMemory || !r.Session.Lost {
		t.Errorf("%s, lost %v", r.Verdict, r.Session.Lost)
	}
	if r := in(t, s, "'kept' in globals()"); !r.Session.Lost || r.Value == nil || *r.Value != "False" {
		t.Errorf("the session goes on after its cell ran out of memory: %+v", r)
	}
	says(t, c, "1", "1")
}

func TestRestartAndClose(t *testing.T) {
	s, c := pair(t, executor.Config{MaxMemoryMB: 256})
	in(t, s, "kept = 1")
	began := make(chan struct{}, 1)
	ended := make(chan executor.Result)
	sleep := func() {
		go func() {
			r, err := c.Execute(t.Context(), executor.Request{
				Code: "print('go', flush=True)\nimport time\ntime.sleep(99)", Timeout: time.Minute, Stdout: func([]byte) { began <- struct{}{} },
			})
			if err != nil {
				t.Error(err)
			}
			ended <- r
		}()
		<-began
	}
	in(t, c, "gone = 1")
	sleep()
	restarted := make(chan error)
	go func() { restarted <- c.Restart(t.Context()) }()
	if r := <-ended; r.Verdict != executor.VerdictKilled {
		t.Errorf("code under way ended with %s", r.Verdict)
	}
	if err := <-restarted; err != nil {
		t.Fatal(err)
	}
	if r := in(t, c, "'gone' in globals()"); *r.Value != "False" || r.Session.Lost || r.Session.Execution != 1 {
		t.Errorf("after a restart: %+v", r)
	}
	sleep()
	go func() { restarted <- c.Close() }()
	<-ended
	if err := <-restarted; err != nil {
		t.Error(err)
	}
	if _, err := c.Execute(t.Context(), executor.Request{Code: "1"}); !errors.Is(err, executor.ErrClosed) {
		t.Errorf("a closed context: %v", err)
	}
	says(t, s, "kept", "1")
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	says(t, s, "'kept' in globals()", "False")
}

func TestContextsAreCounted(t *testing.T) {
	s, c := pair(t, executor.Config{MaxMemoryMB: 512})
	for range executor.MaxContexts - 1 {
		if _, err := s.NewContext(t.Context(), executor.ContextOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	var invalid *executor.InvalidError
	if _, err := s.NewContext(t.Context(), executor.ContextOptions{}); !errors.As(err, &invalid) {
		t.Errorf("one context too many: %v", err)
	}
	c.Close()
	if _, err := s.NewContext(t.Context(), executor.ContextOptions{}); err != nil {
		t.Error(err)
	}
	s.Close()
	if _, err := s.NewContext(t.Context(), executor.ContextOptions{}); !errors.Is(err, executor.ErrClosed) {
		t.Errorf("a closed session: %v", err)
	}
}

// One more REPL that cannot start is an error, and no end of the others.
func TestAContextThatCannotStart(t *testing.T) {
	s, c := pair(t, executor.Config{MaxMemoryMB: 128, PIDs: 8})
	in(t, s, "kept = 1\nimport os, time\nfor _ in range(9):\n  try:\n    if not os.fork(): time.sleep(99)\n  except BlockingIOError: break")
	for range 3 {
		_, err := s.NewContext(t.Context(), executor.ContextOptions{})
		var step *nsjail.StepError
		if !errors.As(err, &step) || step.Step != "fork" || step.Errno != syscall.EAGAIN {
			t.Fatalf("a REPL without a place in the group: %v", err)
		}
	}
	says(t, s, "kept", "1")
	says(t, c, "1", "1")
}

func TestContextsOfAForkedSession(t *testing.T) {
	s, c := pair(t, executor.Config{MaxMemoryMB: 256, Template: true, Preload: []string{"json as js"}})
	says(t, s, "js.dumps([1])", "'[1]'")
	says(t, c, "js.dumps([2])", "'[2]'")
	in(t, c, "kept = 1")
	for range 2 {
		if r := in(t, s, "import os; os._exit(1)"); !r.Session.Lost {
			t.Errorf("%+v", r)
		}
		says(t, s, "js.dumps([3])", "'[3]'")
		says(t, c, "kept", "1")
	}
}

func TestEnvironment(t *testing.T) {
	ex := newExecutor(t, executor.Config{MaxMemoryMB: 256, Env: map[string]string{"ALL": "config"}})
	s, err := ex.NewSession(t.Context(), executor.SessionOptions{Env: map[string]string{"A": "session", "B": "session"}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c, err := s.NewContext(t.Context(), executor.ContextOptions{Env: map[string]string{"B": "context"}})
	if err != nil {
		t.Fatal(err)
	}
	const all = "import os\n[os.environ.get(n) for n in ('ALL', 'A', 'B', 'C')]"
	says(t, s, all, "['config', 'session', 'session', None]")
	says(t, c, all, "['config', 'session', 'context', None]")
	once := executor.Request{Code: all, Env: map[string]string{"A": "once", "C": "ü=1"}}
	r, err := c.Execute(t.Context(), once)
	if err != nil || *r.Value != "['config', 'once', 'context', 'ü=1']" {
		t.Errorf("%v, %v", r.Value, err)
	}
	says(t, c, all, "['config', 'session', 'context', None]")
	once.Code = "os.environ['A'] = 'own'; del os.environ['C']; os.environ['B'] = 'too'"
	if _, err := c.Execute(t.Context(), once); err != nil {
		t.Error(err)
	}
	says(t, c, all, "['config', 'own', 'too', None]")
	if err := c.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	says(t, c, all, "['config', 'session', 'context', None]")
	for _, name := range []string{"", "A=B", "LD_PRELOAD", "N\x00"} {
		_, err := s.Execute(t.Context(), executor.Request{Code: "1", Env: map[string]string{name: "x"}})
		var invalid *executor.InvalidError
		if !errors.As(err, &invalid) || !strings.Contains(err.Error(), "environment") {
			t.Errorf("variable %q: %v", name, err)
		}
	}
}
