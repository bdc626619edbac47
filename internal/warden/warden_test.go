package warden_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/internal/testkit"
	"github.com/cellblock/cellblock/internal/warden"
	"github.com/cellblock/cellblock/internal/warden/wardentest"
)

// start has a warden listen, with bounds of its own.
func start(t *testing.T, o warden.Options) (socket string) {
	t.Helper()
	testkit.Require(t, testkit.Root, testkit.MemoryController, testkit.Python(""))
	o.Executor.RuntimeDir, o.Executor.Template = t.TempDir(), true
	local, err := warden.NewLocal(o)
	if err != nil {
		t.Fatal(err)
	}
	return wardentest.Serve(t, local)
}

func dial(t *testing.T, socket string) *warden.Client {
	t.Helper()
	c, err := warden.Dial(t.Context(), socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func session(t *testing.T, e warden.Engine, spec warden.Spec) warden.Session {
	t.Helper()
	s, err := e.NewSession(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func run(t *testing.T, r warden.REPL, code, output string) {
	t.Helper()
	result, err := r.Execute(t.Context(), executor.Request{Code: code})
	if err != nil || result.Output != output {
		t.Fatalf("%s: %q, %v; %q is wanted", code, result.Output, err, output)
	}
}

// A session is there for the next process, as it was left, and what ran in it has a
// result.
func TestSessionOutlivesItsAsker(t *testing.T) {
	socket := start(t, warden.Options{})
	first := dial(t, socket)
	spec := warden.Spec{Owner: "uid:7", ID: "work", Created: time.Now().UTC().Truncate(time.Second), Limits: executor.Limits{MaxMemoryMB: 64}}
	s := session(t, first, spec)
	run(t, s, "x = 41", "")
	printed := make(chan struct{}, 1)
	going := make(chan error, 1)
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		_, err := s.Execute(ctx, executor.Request{
			Code:   "import time; print('on', flush=True); time.sleep(0.5); x += 1; print(x)",
			Stdout: func([]byte) { printed <- struct{}{} },
		})
		going <- err
	}()
	<-printed
	cancel(warden.ErrDetach)
	if err := <-going; !errors.Is(err, warden.ErrDetach) {
		t.Fatalf("who was to go away was told %v", err)
	}
	first.Close()

	found, err := dial(t, socket).Found(t.Context())
	if err != nil || len(found) != 1 {
		t.Fatalf("%d sessions were found: %v", len(found), err)
	}
	f := found[0]
	if f.Spec.Owner != spec.Owner || f.Spec.ID != spec.ID || !f.Spec.Created.Equal(spec.Created) || f.Session.Limits().MaxMemoryMB != 64 {
		t.Errorf("found was %+v, %+v", f.Spec, f.Session.Limits())
	}
	if f.Status.Running != 1 || !f.Status.Alive || f.Status.Executions != 1 || f.Status.Usage.Processes == 0 {
		t.Errorf("it is said to be %+v", f.Status)
	}
	r, err := f.Session.Result(t.Context())
	if err != nil || r.Output != "on\n42\n" || r.Session.Execution != 2 {
		t.Errorf("what ran had the result %q of execution %d, %v", r.Output, r.Session.Execution, err)
	}
	run(t, f.Session, "print(x)", "42\n")
	if err := f.Session.Close(); err != nil {
		t.Error(err)
	}
	if _, err := f.Session.Execute(t.Context(), executor.Request{Code: "1"}); !errors.Is(err, executor.ErrClosed) {
		t.Errorf("a session that was closed answered %v", err)
	}
}

// A session that is being made when its asker goes is found by the next, or ends: none
// appears later, beside another that was made of its name since.
func TestASessionOfNobody(t *testing.T) {
	socket := start(t, warden.Options{})
	found := func(c *warden.Client) []warden.Found {
		all, err := c.Found(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	late := 0
	for i := range 30 {
		first := dial(t, socket)
		ctx, cancel := context.WithCancelCause(t.Context())
		made := make(chan error, 1)
		go func() {
			// Of its own kind, so that its cell is built now.
			_, err := first.NewSession(ctx, warden.Spec{Owner: "uid:7", ID: "work", Limits: executor.Limits{MaxMemoryMB: 64}})
			made <- err
		}()
		time.Sleep(time.Duration(i) * 200 * time.Microsecond) // so far it gets
		cancel(warden.ErrDetach)
		if <-made != nil {
			late++
		}
		first.Close()
		next := dial(t, socket)
		before := found(next)
		run(t, session(t, next, warden.Spec{Owner: "uid:7", ID: "other"}), "print(1)", "1\n") // time for what is still made
		if after := found(next); len(after) != len(before)+1 {
			t.Errorf("gone after %d µs: %d sessions are there, and then %d beside the new one", 200*i, len(before), len(after)-1)
		}
		for _, f := range found(next) {
			if err := f.Session.Close(); err != nil {
				t.Error(err)
			}
		}
		next.Close()
	}
	if late == 0 {
		t.Error("each was made before its asker went")
	}
}

// A context of which nobody was told ends, and takes no place of others.
func TestAContextOfNobody(t *testing.T) {
	socket := start(t, warden.Options{})
	c := dial(t, socket)
	s := session(t, c, warden.Spec{Owner: "uid:7", ID: "work"})
	untold := 0
	for i := range 2 * executor.MaxContexts {
		ctx, cancel := context.WithCancelCause(t.Context())
		made := make(chan warden.REPL, 1)
		go func() {
			x, _ := s.NewContext(ctx, executor.ContextOptions{})
			made <- x
		}()
		time.Sleep(time.Duration(i) * 300 * time.Microsecond) // so far it gets
		cancel(warden.ErrDetach)                              // nobody waits for the answer
		x := <-made
		if x == nil {
			untold++
		} else if err := x.Close(); err != nil {
			t.Error(err)
		}
	}
	if untold < executor.MaxContexts/2 {
		t.Errorf("only %d were made for nobody", untold)
	}
	deadline := time.Now().Add(20 * time.Second) // those of before may be about to end
	for made := 0; made < executor.MaxContexts; {
		x, err := s.NewContext(t.Context(), executor.ContextOptions{})
		if err == nil {
			made++
			run(t, x, "print(6*7)", "42\n")
		} else if time.Now().After(deadline) {
			t.Fatalf("context %d: %v", made+1, err)
		}
	}
}

// The sessions are had by one process at a time.
func TestOneAsker(t *testing.T) {
	socket := start(t, warden.Options{})
	first := dial(t, socket)
	ctx, cancel := context.WithCancel(t.Context())
	second := make(chan error, 1)
	go func() {
		c, err := warden.Dial(ctx, socket)
		if err == nil {
			c.Close()
		}
		second <- err
	}()
	select {
	case err := <-second:
		t.Fatalf("a second one came in beside the first: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	first.Close()
	if err := <-second; err != nil {
		t.Errorf("the next one did not come in: %v", err)
	}
	cancel()
}

// Everything that a session does goes over the socket as it does without one.
func TestSession(t *testing.T) {
	s := session(t, dial(t, start(t, warden.Options{})), warden.Spec{ID: "s", Env: map[string]string{"SEEN": "yes"}, Limits: executor.Limits{WorkspaceBytes: 1 << 20}})
	run(t, s, "import os; print(os.environ['SEEN'])", "yes\n")

	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	if err := s.PutFile(t.Context(), write("a", "one"), "d/a.txt"); err != nil {
		t.Error(err)
	}
	if err := s.PutFile(t.Context(), write("large", strings.Repeat("x", 2<<20)), "large"); !errors.Is(err, executor.ErrWorkspaceFull) {
		t.Errorf("a file beyond the workspace: %v", err)
	}
	var invalid *executor.InvalidError
	if err := s.PutFile(t.Context(), write("b", "b"), "../b"); !errors.As(err, &invalid) {
		t.Errorf("a file outside the workspace: %v", err)
	}
	many := map[string]string{}
	for i := range 200 { // more than one message takes
		many[write("in"+string(rune('a'+i%26))+string(rune('a'+i/26)), "x")] = "in/" + string(rune('a'+i%26)) + string(rune('a'+i/26))
	}
	r, err := s.Execute(t.Context(), executor.Request{Code: "print(len(os.listdir('in')), open('d/a.txt').read())", InputFiles: many})
	if err != nil || r.Output != "200 one\n" || len(r.Files) != 0 {
		t.Errorf("input files: %q, %v, changed by the code: %v", r.Output, err, r.Files)
	}
	f, err := s.OpenFile("d/a.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if text, err := io.ReadAll(f); err != nil || string(text) != "one" {
		t.Errorf("%q, %v", text, err)
	}
	// It goes on where the name has gone, and ends with the session.
	run(t, s, "import shutil; shutil.move('in', '/tmp/in'); open('g', 'wb').write(b'0123456789' * 100_000)", "")
	g, err := s.OpenFile("g")
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	run(t, s, "os.remove('g'); shutil.move('/tmp/in', 'in')", "")
	part := make([]byte, 500_000)
	if _, err := g.Seek(499_995, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if n, err := io.ReadFull(g, part); err != nil || string(part[:10]) != "5678901234" || string(part[n-5:]) != "01234" {
		t.Errorf("%d bytes, %v: %.20q", n, err, part)
	}
	if n, err := io.Copy(io.Discard, g); n != 5 || err != nil {
		t.Errorf("then %d bytes, %v", n, err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if _, err := g.Seek(0, io.SeekStart); err != nil {
			t.Error(err)
		}
		if _, err := g.Read(part); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("read when its session has ended: %v", err)
		}
	}()
	if _, err := s.OpenFile("none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	run(t, s, "os.symlink('/etc/passwd', 'link'); open(b'\\xff', 'w').close()", "")
	if _, err := s.OpenFile("link"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a link: %v", err)
	}
	entries, _, err := s.Entries()
	raw := false
	for _, e := range entries {
		raw = raw || e.Path == "\xff"
	}
	if err != nil || !raw {
		t.Errorf("a name that is no UTF-8 is not among %v: %v", entries, err)
	}
	if err := s.RemoveFile(t.Context(), "\xff"); err != nil {
		t.Error(err)
	}
	if err := s.MakeDir(t.Context(), "e"); err != nil {
		t.Error(err)
	}
	files, whole, err := s.Files()
	if err != nil || !whole || len(files) != 201 {
		t.Errorf("%d files, %v, %v", len(files), whole, err)
	}

	beside, err := s.NewContext(t.Context(), executor.ContextOptions{Env: map[string]string{"SEEN": "other"}})
	if err != nil {
		t.Fatal(err)
	}
	run(t, beside, "import os; y = 1; print(os.environ['SEEN'])", "other\n")
	run(t, s, "print('y' in dir())", "False\n")
	if !beside.Alive() || beside.Restart(t.Context()) != nil {
		t.Error("the context does not begin anew")
	}
	run(t, beside, "print('y' in dir())", "False\n")
	if err := beside.Close(); err != nil || beside.Alive() {
		t.Errorf("the context was closed and is there: %v", err)
	}

	r, err = s.Execute(t.Context(), executor.Request{Code: "import sys; print('out'); print('err', file=sys.stderr); 1/0"})
	if err != nil || r.Verdict != executor.VerdictError || r.Exception == nil || r.Exception.Name != "ZeroDivisionError" || r.Stderr == "" {
		t.Errorf("%+v, %v", r, err)
	}
	if r, err = s.Execute(t.Context(), executor.Request{Code: "os._exit(3)"}); err != nil || r.ReturnCode != 3 || !s.Lost() {
		t.Errorf("%+v, %v, lost %v", r, err, s.Lost())
	}
	run(t, s, "print(1)", "1\n")
	if s.Lost() {
		t.Error("a session that has begun anew is said to be lost")
	}
}

// Who no longer wants an execution can interrupt it, by its context or by name.
func TestCancel(t *testing.T) {
	s := session(t, dial(t, start(t, warden.Options{})), warden.Spec{ID: "s"})
	run(t, s, "x = 1", "")
	for name, stop := range map[string]func(cancel func()){
		"context": func(cancel func()) { cancel() },
		"call": func(func()) {
			if err := s.Interrupt(); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			first := make(chan struct{}, 1)
			began := time.Now()
			go func() { <-first; stop(cancel) }()
			r, err := s.Execute(ctx, executor.Request{Code: "print(1, flush=True)\nwhile True: pass", Stdout: func([]byte) { first <- struct{}{} }})
			if name == "context" && !errors.Is(err, context.Canceled) || name == "call" && (err != nil || r.Exception == nil || r.Exception.Name != "KeyboardInterrupt") {
				t.Errorf("%+v, %v", r, err)
			}
			if took := time.Since(began); took > 15*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
	run(t, s, "print(x)", "1\n")
}

// The warden's own bounds hold, whatever its asker admits.
func TestBounds(t *testing.T) {
	c := dial(t, start(t, warden.Options{Sessions: 2, MemoryBytes: 200 << 20, Executor: executor.Config{MaxMemoryMB: 64}}))
	if _, err := c.NewSession(t.Context(), warden.Spec{Limits: executor.Limits{MaxMemoryMB: 201}}); !errors.Is(err, warden.ErrExhausted) {
		t.Errorf("more memory than there is for all: %v", err)
	}
	var invalid *executor.InvalidError
	for _, mb := range []int{1 << 43, 1 << 44, 1<<44 + 64} { // in bytes: negative, 0 and 64 MiB
		if _, err := c.NewSession(t.Context(), warden.Spec{Limits: executor.Limits{MaxMemoryMB: mb}}); !errors.As(err, &invalid) {
			t.Errorf("%d MiB for one session: %v", mb, err)
		}
	}
	first, _ := session(t, c, warden.Spec{}), session(t, c, warden.Spec{})
	if _, err := c.NewSession(t.Context(), warden.Spec{}); !errors.Is(err, warden.ErrExhausted) {
		t.Errorf("one session more than there may be: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	session(t, c, warden.Spec{})
}

// A last result is kept as long as there is room, and goes with its session.
func TestResult(t *testing.T) {
	c := dial(t, start(t, warden.Options{Executor: executor.Config{MaxOutput: 70 << 20}}))
	s := session(t, c, warden.Spec{})
	if _, err := s.Result(t.Context()); !errors.Is(err, warden.ErrNoResult) {
		t.Errorf("before the first execution: %v", err)
	}
	run(t, s, "print(1)", "1\n")
	for range 2 { // it is not used up
		if r, err := s.Result(t.Context()); err != nil || r.Output != "1\n" {
			t.Errorf("%q, %v", r.Output, err)
		}
	}
	if r, err := s.Execute(t.Context(), executor.Request{Code: "print('x' * (65 << 20))"}); err != nil || len(r.Output) != 65<<20+1 {
		t.Fatalf("%d bytes, %v", len(r.Output), err)
	}
	if _, err := s.Result(t.Context()); !errors.Is(err, warden.ErrNoResult) {
		t.Errorf("a result beyond what is kept: %v", err)
	}
}

// A warden that ends takes its sessions along, and says so to its asker.
func TestWardenEnds(t *testing.T) {
	testkit.Require(t, testkit.Root, testkit.MemoryController, testkit.Python(""))
	var c *warden.Client
	var s warden.Session
	t.Run("lives", func(t *testing.T) {
		var err error
		if c, err = warden.Dial(context.Background(), start(t, warden.Options{})); err != nil {
			t.Fatal(err)
		}
		s = session(t, c, warden.Spec{})
	})
	select {
	case <-c.Ended():
	case <-time.After(20 * time.Second):
		t.Fatal("nobody was told")
	}
	if _, err := s.Execute(context.Background(), executor.Request{Code: "1"}); err == nil {
		t.Error("it still answers")
	}
	c.Close()
}
