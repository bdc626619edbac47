// Package soak makes cells and takes them down for a long time, half of them
// with code that does what it can to be left behind.
//
//	CELLBLOCK_CYCLES=10000 go test ./tests/soak -run TestSoak -v -timeout 2h
package soak

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/internal/testkit"
)

// hostile is code that wants to stay, to take all, or to be lost sight of.
type hostile struct {
	name string
	code string
	// closed means that it never ends by itself: the session is closed under it.
	closed bool
	// verdicts are how it may end otherwise.
	verdicts []executor.Verdict
}

const forever = "\nwhile True: pass"

var attacks = []hostile{
	{"fork bomb", "import os\nwhile True:\n  try: os.fork()\n  except OSError: pass", true, nil},
	{"memory", "b = []\nwhile True: b.append(bytearray(1 << 20))", false, []executor.Verdict{executor.VerdictError, executor.VerdictOutOfMemory}},
	{"memory in files", "with open('/dev/shm/x', 'wb') as f:\n  while True: f.write(b'x' * (1 << 20))", false, []executor.Verdict{executor.VerdictOutOfMemory, executor.VerdictError}},
	{"output", "while True: print('x' * 65536)", false, []executor.Verdict{executor.VerdictOutputLimit}},
	{"os._exit", "import os\nos._exit(3)", false, []executor.Verdict{executor.VerdictExit}},
	{"signals ignored", "import signal\nfor s in range(1, 65):\n  try: signal.signal(s, signal.SIG_IGN)\n  except (OSError, ValueError): pass" + forever, true, nil},
	{"descriptors closed", "import os, time\nos.closerange(0, 64)\ntime.sleep(60)", true, nil},
	{"stopped", "import os\nos.kill(os.getpid(), 19)", true, nil},
	{"children that stay", "import os, time\nfor i in range(5):\n  if os.fork() == 0:\n    os.setsid()\n    time.sleep(60)", false, []executor.Verdict{executor.VerdictOK}},
	{"a child keeps the channel", "import os, time\nif os.fork() == 0: time.sleep(60)\nos._exit(5)", false, []executor.Verdict{executor.VerdictExit}},
	{"threads", "import threading, time\ntry:\n  for i in range(99): threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\nexcept RuntimeError: pass", false, []executor.Verdict{executor.VerdictOK, executor.VerdictError}},
	{"many files", "import os\ntry:\n  for i in range(9999): os.mkdir(f'd{i}')\nexcept OSError: pass", false, []executor.Verdict{executor.VerdictOK}},
	{"a crash", "import os\nos.kill(os.getpid(), 11)", false, []executor.Verdict{executor.VerdictCrashed}},
}

// cycles is how many there are to be.
func cycles(t *testing.T) int {
	if text := os.Getenv("CELLBLOCK_CYCLES"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 8 {
			t.Fatalf("CELLBLOCK_CYCLES=%q is no number of cycles", text)
		}
		return n
	}
	if testing.Short() {
		return 32
	}
	return 130
}

// Four sessions at once are created, execute and are destroyed, again and
// again. Half of them are hostile. Nothing is left over, and the memory of this
// process stays flat.
func TestSoak(t *testing.T) {
	testkit.Require(t, testkit.Root, testkit.MemoryController)
	total := cycles(t)
	runtimeDir := t.TempDir()
	ex, err := executor.New(executor.Config{
		RuntimeDir: runtimeDir, MaxMemoryMB: 48, PIDs: 16, MaxOutput: 4096, WorkspaceFiles: 512, Timeout: 20 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	// What a process opens once is open after the first cell.
	if err := friendly(ex, 0); err != nil {
		t.Fatal(err)
	}
	testkit.Leaks(t)
	t.Cleanup(func() { ex.Close() })

	var next, failures atomic.Int64
	var counts [20]atomic.Int64
	var m meter
	began := time.Now()
	run := func(until int) {
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for failures.Load() < 10 {
					i := int(next.Add(1)) - 1
					if i >= until {
						return
					}
					var err error
					if i%2 == 0 {
						err = friendly(ex, i)
					} else {
						kind := i / 2 % len(attacks)
						counts[kind].Add(1)
						if err = attack(ex, attacks[kind]); err != nil {
							err = fmt.Errorf("%s: %w", attacks[kind].name, err)
						}
					}
					if err != nil {
						failures.Add(1)
						t.Errorf("cycle %d: %v", i, err)
					}
				}
			})
		}
		wg.Wait()
		next.Store(int64(until))
		if left, err := os.ReadDir(runtimeDir + "/cells"); err != nil || len(left) > 0 {
			t.Errorf("%d records are left after %d cycles (%v)", len(left), until, err)
		}
		m.read(t, until)
	}
	const parts = 10
	for part := range parts {
		run(total * (part + 1) / parts)
	}
	t.Logf("%d cycles in %s, %s", total, time.Since(began).Round(time.Millisecond), m.String())
	for kind, a := range attacks {
		t.Logf("%6d %s", counts[kind].Load(), a.name)
	}
	m.judge(t)
}

func friendly(ex *executor.Executor, i int) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	s, err := ex.NewSession(ctx, executor.SessionOptions{})
	if err != nil {
		return err
	}
	r, err := s.Execute(ctx, executor.Request{Code: fmt.Sprintf("x = %d\nprint(x + 1)", i)})
	if err == nil && (!r.Success || r.Output != fmt.Sprintln(i+1)) {
		err = fmt.Errorf("verdict %s, output %q, %v", r.Verdict, r.Output, r.Stderr)
	}
	return errors.Join(err, s.Close())
}

func attack(ex *executor.Executor, a hostile) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	s, err := ex.NewSession(ctx, executor.SessionOptions{})
	if err != nil {
		return err
	}
	if !a.closed {
		r, err := s.Execute(ctx, executor.Request{Code: a.code})
		if err == nil && !slices.Contains(a.verdicts, r.Verdict) {
			err = fmt.Errorf("verdict %s, error %v, output %.100q %.300q", r.Verdict, deref(r.Error), r.Output, r.Stderr)
		}
		return errors.Join(err, s.Close())
	}
	// It says that it begins, and the session is closed under it.
	begins := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		_, err := s.Execute(ctx, executor.Request{Code: "print('begin', flush=True)\n" + a.code, Stdout: func([]byte) {
			select {
			case <-begins:
			default:
				close(begins)
			}
		}})
		done <- err
	}()
	select {
	case <-begins:
	case err := <-done:
		return errors.Join(fmt.Errorf("it ended before it began: %w", err), s.Close())
	}
	closing := time.Now()
	if err := s.Close(); err != nil {
		return err
	}
	if took := time.Since(closing); took > 5*time.Second {
		return fmt.Errorf("Close took %s", took)
	}
	<-done // with whatever the execution came to
	return nil
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// meter reads what this process holds.
type meter struct {
	at         []int
	rss, heap  []int64 // bytes
	goroutines []int
	fds        []int
}

func (m *meter) read(t *testing.T, at int) {
	t.Helper()
	debug.FreeOSMemory()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	m.at, m.rss, m.heap = append(m.at, at), append(m.rss, kb<<10), append(m.heap, int64(stats.HeapAlloc))
	m.goroutines, m.fds = append(m.goroutines, runtime.NumGoroutine()), append(m.fds, len(fds))
}

func (m *meter) String() string {
	first, last := 1, len(m.at)-1
	return fmt.Sprintf("resident %.1f MiB after %d, %.1f MiB after %d; heap %.2f and %.2f MiB; descriptors %d and %d; goroutines %d and %d",
		mib(m.rss[first]), m.at[first], mib(m.rss[last]), m.at[last], mib(m.heap[first]), mib(m.heap[last]),
		m.fds[first], m.fds[last], m.goroutines[first], m.goroutines[last])
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }

// judge: a leak of 1 KiB a cycle would show in 10,000. The first part warms up.
func (m *meter) judge(t *testing.T) {
	first, last := 1, len(m.at)-1
	if grew := m.heap[last] - m.heap[first]; grew > 1<<20 {
		t.Errorf("the heap grew by %.2f MiB", mib(grew))
	}
	if grew := m.rss[last] - m.rss[first]; grew > 16<<20 {
		t.Errorf("resident memory grew by %.1f MiB", mib(grew))
	}
	if m.goroutines[last] > m.goroutines[first]+8 || m.fds[last] > m.fds[first]+8 {
		t.Errorf("goroutines %v, descriptors %v", m.goroutines, m.fds)
	}
}
