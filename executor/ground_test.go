package executor_test

import (
	"errors"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/internal/template"
	"github.com/cellblock/cellblock/internal/testkit"
)

// TestRenew: another list of modules comes into force while sessions are made without
// a break; those from before keep what they have, and take it along when they end.
func TestRenew(t *testing.T) {
	testkit.Require(t, testkit.Root, testkit.MemoryController)
	testkit.Leaks(t)
	ex := newExecutor(t, executor.Config{Template: true, Preload: []string{"json"}, Pool: executor.PoolOptions{Size: 1}})
	const names = "print(*sorted(n for n in ('json', 'random') if n in globals()))"
	old := session(t, ex)
	if r := perform(t, old, executor.Request{Code: "x = 1\n" + names}); r.Output != "json\n" {
		t.Fatalf("%q %s", r.Output, errorText(r))
	}
	was := ex.TemplatePID()

	var stop atomic.Bool
	var made, renewed atomic.Int64
	var wg sync.WaitGroup
	wg.Go(func() {
		for !stop.Load() {
			s, err := ex.NewSession(t.Context(), executor.SessionOptions{})
			if err != nil {
				t.Errorf("a session while the template is replaced: %v", err)
				return
			}
			r, err := s.Execute(t.Context(), executor.Request{Code: names})
			if err = errors.Join(err, s.Close()); err != nil || r.Output != "json\n" && r.Output != "random\n" {
				t.Errorf("a session while the template is replaced: %q, %v", r.Output, err)
				return
			}
			made.Add(1)
			if r.Output == "random\n" {
				renewed.Add(1)
			}
		}
	})
	err := ex.Renew(t.Context(), []string{"random"})
	before := renewed.Load()
	for renewed.Load() == before && !t.Failed() {
		if r := perform(t, session(t, ex), executor.Request{Code: names}); r.Output != "random\n" {
			t.Fatalf("a new session has %q", r.Output)
		}
	}
	stop.Store(true)
	wg.Wait()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d sessions were made meanwhile, %d with the new list", made.Load(), renewed.Load())

	if is := ex.TemplatePID(); is == 0 || is == was {
		t.Errorf("the template is process %d, was %d", is, was)
	}
	if r := perform(t, old, executor.Request{Code: "print(x)\n" + names}); r.Output != "1\njson\n" || r.Session.Lost {
		t.Errorf("the session from before has %q", r.Output)
	}
	if r := perform(t, old, executor.Request{Code: "import os; os._exit(3)"}); r.ReturnCode != 3 {
		t.Errorf("%d", r.ReturnCode)
	}
	if r := perform(t, old, executor.Request{Code: names}); r.Output != "json\n" {
		t.Errorf("a new REPL in a cell from before has %q: its template lives as long as the cell", r.Output)
	}
	if err := syscall.Kill(was, 0); err != nil {
		t.Errorf("the old template is gone before its last session: %v", err)
	}
	if err := old.Close(); err != nil {
		t.Error(err)
	}
	if err := syscall.Kill(was, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("the old template outlives its last session: %v", err)
	}
}

// TestRenewWithABadList changes nothing.
func TestRenewWithABadList(t *testing.T) {
	ex := newExecutor(t, executor.Config{Template: true, Preload: []string{"json"}})
	perform(t, session(t, ex), executor.Request{Code: "1"})
	was := ex.TemplatePID()
	var refused *template.PreloadError
	if err := ex.Renew(t.Context(), []string{"no_such_module"}); !errors.As(err, &refused) || !strings.Contains(err.Error(), "no_such_module") {
		t.Errorf("%v", err)
	}
	var invalid *executor.InvalidError
	if err := ex.Renew(t.Context(), []string{"os; print(1)"}); !errors.As(err, &invalid) {
		t.Errorf("%v", err)
	}
	if is := ex.TemplatePID(); is != was {
		t.Errorf("the template is process %d, was %d", is, was)
	}
	if r := perform(t, session(t, ex), executor.Request{Code: "print('json' in globals())"}); r.Output != "True\n" {
		t.Errorf("%q", r.Output)
	}
}

// TestRenewEndsTheParser: the next question to the validator starts one in the new root.
func TestRenewEndsTheParser(t *testing.T) {
	testkit.Require(t, testkit.Root, testkit.MemoryController)
	testkit.Leaks(t)
	ex := newExecutor(t, executor.Config{})
	for range 2 {
		if valid, issues, err := ex.ValidateImports(t.Context(), "import json"); err != nil || !valid {
			t.Errorf("%v %v %v", valid, issues, err)
		}
		if err := ex.Renew(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCloseWaitsForClose: whoever closes a session finds it gone, though another
// began to close it before.
func TestCloseWaitsForClose(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	ex := newExecutor(t, executor.Config{RuntimeDir: dir})
	for range 5 {
		s := session(t, ex)
		perform(t, s, executor.Request{Code: "1"})
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
				if left, err := os.ReadDir(dir + "/cells"); err != nil || len(left) > 0 {
					t.Errorf("after Close %d records are there (%v)", len(left), err)
				}
			})
		}
		wg.Wait()
	}
}
