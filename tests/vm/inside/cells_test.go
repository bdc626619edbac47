//go:build vm

package inside

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cellblock/cellblock/internal/testkit"
)

// A running is a program in a cell that goes on when it is told to.
type running struct {
	t     *testing.T
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Reader
	err   *strings.Builder
	jsonl string
}

// start runs code in a cell; where it is to wait for the test, it calls
// pause(word).
func start(t *testing.T, p place, code string, flags ...string) *running {
	t.Helper()
	dir, err := os.MkdirTemp("", "inside-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	const prelude = "import sys\ndef pause(word):\n    print(word, flush=True)\n    sys.stdin.readline()\n"
	r := &running{t: t, err: new(strings.Builder), jsonl: filepath.Join(dir, "result")}
	args := append([]string{"run", "--stdin", "--timeout", "2m", "--result", r.jsonl}, flags...)
	r.cmd = p.command(t, cellblock(append(args, "-c", prelude+code)...))
	r.cmd.Stderr = r.err
	if r.in, err = r.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	r.out = bufio.NewReader(out)
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.cmd.Process.Kill() })
	return r
}

// until waits for the program's pause.
func (r *running) until(word string) {
	r.t.Helper()
	line, err := r.out.ReadString('\n')
	if strings.TrimSpace(line) != word {
		r.in.Close()
		rest, _ := io.ReadAll(r.out)
		r.t.Fatalf("want %q, got %q and %q (%v)\n%s", word, line, rest, err, r.err)
	}
}

// goOn ends the pause.
func (r *running) goOn() { fmt.Fprintln(r.in) }

// result is what the JSON says of an execution.
type result struct {
	Verdict string
	Usage   struct {
		CPUSeconds      float64 `json:"cpu_s"`
		MemoryPeakBytes int64   `json:"memory_peak_bytes"`
		ProcessesPeak   int64   `json:"processes_peak"`
	}
}

// end waits for the program's end.
func (r *running) end() (status int, res result) {
	r.t.Helper()
	io.Copy(io.Discard, r.out)
	err := r.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		r.t.Fatal(err)
	}
	b, err := os.ReadFile(r.jsonl)
	if err != nil {
		r.t.Fatalf("%v\n%s", err, r.err)
	}
	if err := json.Unmarshal(b, &res); err != nil {
		r.t.Fatal(err)
	}
	return r.cmd.ProcessState.ExitCode(), res
}

const limited = `
import mmap, time
m = mmap.mmap(-1, 48 << 20)
for i in range(0, 48 << 20, 4096): m[i] = 1
m.close()
pause("high")
end = time.monotonic() + 3
while time.monotonic() < end: pass
pause("burnt")
m = mmap.mmap(-1, 1 << 30) # shared pages, which no rlimit counts
for i in range(0, 1 << 30, 4096): m[i] = 1
`

// In every place: the limits are in the files, the figures agree with them,
// and the end at the limit is told as what it was.
func TestLimitsAndFigures(t *testing.T) {
	testkit.Require(t, testkit.Root, testkit.MemoryController)
	for _, p := range places(t) {
		t.Run(p.name, func(t *testing.T) {
			killsBefore := field(t, tree+p.above+"/memory.events", "oom_kill")
			r := start(t, p, limited, "--memory", "128M", "--pids", "20", "--cpus", "0.5")
			r.until("high")
			cell := theCell(t, p)
			for file, want := range map[string]string{
				"memory.max": "134217728", "memory.swap.max": "0", "pids.max": "20", "cpu.max": "50000 100000", "cgroup.type": "domain",
			} {
				if got := read(t, cell+"/"+file); got != want {
					t.Errorf("%s is %q, want %q", file, got, want)
				}
			}
			if beside := filepath.Dir(cell) + "/cellblock.self/cgroup.procs"; len(strings.Fields(read(t, beside))) == 0 {
				t.Error("cellblock is not beside its cell")
			}
			peak, now := number(t, cell+"/memory.peak"), number(t, cell+"/memory.current")
			if peak < 48<<20 || peak > 128<<20 || now > peak-40<<20 {
				t.Errorf("memory.peak %d, memory.current %d", peak, now)
			}
			if n := len(strings.Fields(read(t, cell+"/cgroup.procs"))); n < 2 || int64(n) > number(t, cell+"/pids.peak") {
				t.Errorf("%d processes, at most %s", n, read(t, cell+"/pids.peak"))
			}

			used, began := field(t, cell+"/cpu.stat", "usage_usec"), time.Now()
			r.goOn()
			r.until("burnt")
			wall := time.Since(began)
			total := field(t, cell+"/cpu.stat", "usage_usec")
			if share := float64(total-used) / float64(wall.Microseconds()); share > 0.65 {
				t.Errorf("%.2f of a core were used, where 0.5 are allowed", share)
			}
			if field(t, cell+"/cpu.stat", "nr_throttled") == 0 {
				t.Error("it was never throttled")
			}
			if kills := field(t, cell+"/memory.events", "oom_kill"); kills != 0 {
				t.Errorf("%d kills before the limit", kills)
			}

			r.goOn()
			status, res := r.end()
			if status != 137 || res.Verdict != "out-of-memory" {
				t.Errorf("status %d, verdict %q\n%s", status, res.Verdict, r.err)
			}
			if kills := field(t, tree+p.above+"/memory.events", "oom_kill"); kills <= killsBefore {
				t.Errorf("the kernel counts %d kills, %d before", kills, killsBefore)
			}
			if got := res.Usage.MemoryPeakBytes; got < 120<<20 || got > 128<<20 {
				t.Errorf("the result's peak is %d at a limit of 128 MiB", got)
			}
			if got, least := res.Usage.CPUSeconds, float64(total-used)/1e6; got < least || got > float64(total)/1e6+60 {
				t.Errorf("the result says %.2f s of CPU time, the file %.2f for a part of it", got, least)
			}
			if got := res.Usage.ProcessesPeak; got < 2 || got > 20 {
				t.Errorf("the result says %d processes", got)
			}
			gone(t)
		})
	}
}

// An operator ends a cell by its group; the code, its children, and the init
// are gone, and cellblock says so.
func TestKilledByItsGroup(t *testing.T) {
	testkit.Require(t, testkit.Root, testkit.MemoryController)
	for _, p := range places(t) {
		t.Run(p.name, func(t *testing.T) {
			r := start(t, p, "import os, time\nfor _ in range(3):\n    if os.fork() == 0: time.sleep(600)\npause('here')\n")
			r.until("here")
			cell := theCell(t, p)
			if field(t, cell+"/cgroup.events", "populated") != 1 || len(strings.Fields(read(t, cell+"/cgroup.procs"))) < 5 {
				t.Errorf("the cell holds %q", read(t, cell+"/cgroup.procs"))
			}
			if err := os.WriteFile(cell+"/cgroup.kill", []byte("1"), 0); err != nil {
				t.Fatal(err)
			}
			if status, res := r.end(); status != 137 || res.Verdict != "killed" {
				t.Errorf("status %d, verdict %q\n%s", status, res.Verdict, r.err)
			}
			gone(t)
		})
	}
}

// An owner that is killed takes its cell with it; the next one sweeps its group.
func TestOwnerKilled(t *testing.T) {
	testkit.Require(t, testkit.Root, testkit.MemoryController)
	for _, p := range places(t) {
		t.Run(p.name, func(t *testing.T) {
			r := start(t, p, "pause('here')\n")
			r.until("here")
			owners := strings.Fields(read(t, filepath.Dir(theCell(t, p))+"/cellblock.self/cgroup.procs"))
			if len(owners) != 1 {
				t.Fatalf("owners %q", owners)
			}
			must(t, exec.Command("kill", "-9", owners[0]))
			io.Copy(io.Discard, r.out)
			r.cmd.Wait()
			next := start(t, p, "pause('after')\n")
			next.until("after")
			theCell(t, p) // one, not two
			next.goOn()
			if status, _ := next.end(); status != 0 {
				t.Errorf("status %d\n%s", status, next.err)
			}
			gone(t)
		})
	}
}
