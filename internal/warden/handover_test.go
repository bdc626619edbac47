package warden

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/internal/handover"
	"github.com/cellblock/cellblock/internal/testkit"
	"github.com/cellblock/cellblock/nsjail"
)

// wardenIn makes a warden whose records are in a directory.
func wardenIn(t *testing.T, dir string) (*Server, *net.UnixListener) {
	t.Helper()
	testkit.Require(t, testkit.Root, testkit.MemoryController, testkit.Python(""))
	local, err := NewLocal(Options{Executor: executor.Config{RuntimeDir: dir, Template: true}})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "w"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	return NewServer(local, []int{os.Geteuid()}, "test", slog.New(slog.NewTextHandler(t.Output(), nil))), l
}

// heldSession makes a session as the call of an asker does.
func heldSession(t *testing.T, s *Server, spec Spec) *held {
	t.Helper()
	made, err := s.engine.newSession(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	h := &held{handle: newHandle(), local: made, contexts: map[string]contextOf{}}
	s.sessions[h.handle] = h
	return h
}

func prints(t *testing.T, r REPL, code, output string, lost bool) {
	t.Helper()
	result, err := r.Execute(t.Context(), executor.Request{Code: code})
	if err != nil || result.Output != output || result.Session.Lost != lost {
		t.Errorf("%s: %q, lost %t, %v; %q and %t are wanted", code, result.Output, result.Session.Lost, err, output, lost)
	}
}

func nothingIn(t *testing.T, dir string) {
	t.Helper()
	if left, _ := os.ReadDir(filepath.Join(dir, "cells")); len(left) > 0 {
		t.Errorf("%d records of cells are left", len(left))
	}
}

// What a session has beside its own REPL is handed over with it, and so is that nobody
// was told yet of the end of a REPL.
func TestContextsAreHandedOver(t *testing.T) {
	dir := t.TempDir()
	one, l := wardenIn(t, dir)
	h := heldSession(t, one, Spec{Owner: "o", ID: "s", Created: time.Now(), Env: map[string]string{"A": "a"}})
	prints(t, h, "x = 1", "", false)
	for name, code := range map[string]string{"lives": "x = 2", "fresh": ""} {
		c, err := h.NewContext(t.Context(), executor.ContextOptions{Env: map[string]string{"B": name}})
		if err != nil {
			t.Fatal(err)
		}
		h.contexts[name] = contextOf{c, ""}
		if code != "" {
			prints(t, c, code, "", false)
		}
	}
	own := heldSession(t, one, Spec{Owner: "o", ID: "own", Preload: []string{"json"}})
	prints(t, own, "y = json.dumps({})", "", false)
	// It ends by itself a moment after its execution has.
	prints(t, own, "import os, threading; threading.Timer(0.05, lambda: os._exit(1)).start()", "", false)
	for own.Alive() {
		time.Sleep(time.Millisecond)
	}
	executions := h.executions

	box, _, err := one.HandOver(l, 0)
	if err != nil || box == nil {
		t.Fatal(err)
	}
	text, a, err := handover.Unpack(box)
	box.Close()
	if err != nil {
		t.Fatal(err)
	}
	two, l := wardenIn(t, dir)
	two.TakeOver(t.Context(), text, a)
	h, own = two.sessions[h.handle], two.sessions[own.handle]
	if h == nil || own == nil {
		t.Fatal("a session is not there")
	}
	if h.spec.ID != "s" || h.executions != executions || h.spec.Env["A"] != "a" {
		t.Errorf("it is %+v, with %d executions", h.spec, h.executions)
	}
	prints(t, h, "import os; print(x, os.environ['A'])", "1 a\n", false)
	prints(t, h.contexts["lives"], "import os; print(x, os.environ['B'])", "2 lives\n", false)
	prints(t, h.contexts["fresh"], "import os; print('x' in globals(), os.environ['B'])", "False fresh\n", false)
	prints(t, own, "print('y' in globals(), json.dumps([]))", "False []\n", true)
	more, err := h.NewContext(t.Context(), executor.ContextOptions{})
	if err != nil {
		t.Fatal(err)
	}
	prints(t, more, "print(3)", "3\n", false)
	if err := more.Close(); err != nil {
		t.Error(err)
	}
	if err := h.Restart(t.Context()); err != nil {
		t.Error(err)
	}
	prints(t, h, "print('x' in globals())", "False\n", false)
	prints(t, h.contexts["lives"], "print(x)", "2\n", false)
	if err := two.Close(l); err != nil {
		t.Error(err)
	}
	nothingIn(t, dir)
}

// What there is no room for is left out, the largest first, and nothing else.
func TestHandoverIsBounded(t *testing.T) {
	dir := t.TempDir()
	one, l := wardenIn(t, dir)
	large, loud, h := heldSession(t, one, Spec{Owner: "a", ID: "large"}), heldSession(t, one, Spec{Owner: "a", ID: "loud"}), heldSession(t, one, Spec{Owner: "b", ID: "s"})
	for _, s := range []*held{large, loud, h} {
		prints(t, s, "x = 1; print('said')", "said\n", false)
	}
	large.spec.Env = map[string]string{"A": strings.Repeat("a", mostStates)}
	one.engine.results.keep(loud.local, executor.Result{Output: strings.Repeat("\x00", mostResults/5)}) // six bytes each
	box, _, err := one.HandOver(l, 0)
	if err != nil || box == nil {
		t.Fatal(err)
	}
	text, a, err := handover.Unpack(box)
	box.Close()
	if err != nil {
		t.Fatal(err)
	}
	two, l := wardenIn(t, dir)
	two.TakeOver(t.Context(), text, a)
	if len(two.sessions) != 2 {
		t.Fatalf("%d sessions are there", len(two.sessions))
	}
	if r, ok := two.engine.results.get(two.sessions[loud.handle].local); ok {
		t.Errorf("a result of %d bytes is there", len(r.Output))
	}
	if r, _ := two.engine.results.get(two.sessions[h.handle].local); r.Output != "said\n" {
		t.Errorf("the result of another session is %q", r.Output)
	}
	prints(t, two.sessions[loud.handle], "print(x)", "1\n", false)
	if err := two.Close(l); err != nil {
		t.Error(err)
	}
	nothingIn(t, dir)
}

// A handover that comes to nothing ends all here, and leaves nothing.
func TestHandoverThatComesToNothing(t *testing.T) {
	dir := t.TempDir()
	one, l := wardenIn(t, dir)
	h := heldSession(t, one, Spec{Owner: "o", ID: "s"})
	prints(t, h, "x = 1", "", false)
	box, undo, err := one.HandOver(l, 0)
	if err != nil || box == nil {
		t.Fatal(err)
	}
	box.Close()
	undo()
	if err := one.Close(l); err != nil {
		t.Error(err)
	}
	nothingIn(t, dir)
}

// A session in which something runs that does not end is not handed over, and does not
// keep others from it.
func TestSessionThatCannotBeHandedOver(t *testing.T) {
	dir := t.TempDir()
	one, l := wardenIn(t, dir)
	stuck, h := heldSession(t, one, Spec{Owner: "o", ID: "stuck"}), heldSession(t, one, Spec{Owner: "o", ID: "s"})
	prints(t, h, "x = 1", "", false)
	ended, began := make(chan error, 1), make(chan struct{}, 1)
	go func() { // by nobody's call, so that nobody interrupts it
		_, err := stuck.Session.Execute(context.Background(), executor.Request{
			Code: "print(1, flush=True)\nimport time; time.sleep(60)", Stdout: func([]byte) { began <- struct{}{} },
		})
		ended <- err
	}()
	<-began
	box, undo, err := one.HandOver(l, 0)
	if err != nil || box == nil {
		t.Fatal(err)
	}
	defer box.Close()
	if err := <-ended; err != nil && !errors.Is(err, executor.ErrClosed) && !errors.Is(err, nsjail.ErrClosed) {
		t.Error(err)
	}
	if len(one.sessions) != 1 || one.sessions[h.handle] == nil {
		t.Errorf("%d sessions are left", len(one.sessions))
	}
	undo()
	if err := one.Close(l); err != nil {
		t.Error(err)
	}
	nothingIn(t, dir)
}
