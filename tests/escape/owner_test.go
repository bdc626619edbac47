package escape

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/internal/testkit"
)

// ownerEnv makes this binary an owner of cells, in the directory it names.
const ownerEnv = "CELLBLOCK_TEST_OWNER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(ownerEnv); dir != "" {
		own(dir)
	}
	os.Exit(m.Run())
}

// own holds three cells, one of which spins, and makes and ends others without
// pause, until it is killed.
func own(dir string) {
	fatal := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	ex, err := executor.New(ownerConfig(dir))
	fatal(err)
	session := func(code string) *executor.Session {
		s, err := ex.NewSession(context.Background(), executor.SessionOptions{})
		fatal(err)
		_, err = s.Execute(context.Background(), executor.Request{Code: code})
		fatal(err)
		return s
	}
	for range 2 {
		session("import os\nif os.fork() == 0:\n    os.setsid()\n    import time\n    time.sleep(1000)")
	}
	spinning := session("1")
	go spinning.Execute(context.Background(), executor.Request{Code: "while True: pass"})
	fmt.Println("ready")
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for {
				fatal(session("open('f', 'w').write('x')").Close())
			}
		})
	}
	wg.Wait()
}

func ownerConfig(dir string) executor.Config {
	return executor.Config{MaxMemoryMB: 64, PIDs: 16, Timeout: testkit.Paced(time.Minute), RuntimeDir: dir + "/run", ExecutionBaseDir: dir + "/sessions"}
}

// TestOwnerKilled: the process that holds cells dies at any moment, and within
// a second each of their processes is gone; the next start removes the rest.
func TestOwnerKilled(t *testing.T) {
	testkit.Require(t, testkit.Root, testkit.MemoryController, testkit.Python("3.9"))
	warm, err := executor.New(ownerConfig(t.TempDir()))
	must(t, err)
	defer warm.Close()
	_, err = warm.Execute(t.Context(), executor.Request{Code: "1"}) // what is opened once, for good
	must(t, err)
	testkit.Leaks(t)
	rounds := 10
	if testing.Short() {
		rounds = 2
	}
	for i := range rounds {
		moment := time.Duration(rand.Int64N(int64(300 * time.Millisecond)))
		t.Run(fmt.Sprintf("%d-after-%s", i, moment.Round(time.Millisecond)), func(t *testing.T) {
			killOwner(t, func(string) { time.Sleep(moment) }) // the moment is what is tried
		})
		t.Run(fmt.Sprintf("%d-at-the-birth-of-a-group", i), func(t *testing.T) {
			killOwner(t, func(dir string) { awaitBirth(t, dir) })
		})
	}
}

// awaitBirth returns when a group is made beside those of the owner in dir.
func awaitBirth(t *testing.T, dir string) {
	t.Helper()
	groups := recordedGroups(t, dir)
	if len(groups) == 0 {
		t.Fatal("the owner has recorded no groups")
	}
	top := filepath.Dir(groups[0])
	names := func() map[string]bool {
		found := map[string]bool{}
		entries, _ := os.ReadDir(top)
		for _, e := range entries {
			found[e.Name()] = true
		}
		return found
	}
	before := names()
	for end := time.Now().Add(testkit.Paced(5 * time.Second)); time.Now().Before(end); { // at once is the point
		for name := range names() {
			if !before[name] {
				return
			}
		}
	}
	t.Error("no group was made in time")
}

func killOwner(t *testing.T, moment func(dir string)) {
	dir := t.TempDir()
	before := groupDirs(t)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), ownerEnv+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		cmd.Process.Kill()
		cmd.Wait()
		t.Fatalf("the owner says %q: %v", line, err)
	}
	family := descendants(t, cmd.Process.Pid)
	moment(dir)
	must(t, cmd.Process.Kill())
	killed := time.Now()
	cmd.Wait()
	if len(family) < 6 {
		t.Errorf("the owner had %d processes in cells, too few to show anything", len(family))
	}
	// Those that lived, those born meanwhile, and whatever is in the groups.
	for {
		left := alive(family)
		left = append(left, inRecordedGroups(t, dir)...)
		if len(left) == 0 {
			break
		}
		if took := time.Since(killed); took > testkit.Paced(time.Second) {
			t.Errorf("%s after its owner, %v live", took, left)
			break
		}
		time.Sleep(2 * time.Millisecond) // no one event covers all of them
	}
	ex, err := executor.New(ownerConfig(dir))
	must(t, err)
	defer ex.Close()
	if records, _ := os.ReadDir(dir + "/run/cells"); len(records) != 0 {
		t.Errorf("%d records after the sweep", len(records))
	}
	for group := range groupDirs(t) {
		if !before[group] && emptyFor(group, time.Second) {
			t.Errorf("the sweep left %s", group)
		}
	}
	r, err := ex.Execute(t.Context(), executor.Request{Code: "print(1)"})
	if err != nil || r.Output != "1\n" {
		t.Errorf("afterwards: %v %q", err, r.Output)
	}
}

// descendants lists the processes below one, with their start times, so that a
// number that is used again is not taken for them.
func descendants(t *testing.T, top int) map[string]string {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	must(t, err)
	parent, start := map[string]string{}, map[string]string{}
	for _, file := range stats {
		pid := filepath.Base(filepath.Dir(file))
		parent[pid], start[pid] = stat(pid)
	}
	family := map[string]string{}
	for pid := range parent {
		for p := pid; p != "" && p != "0"; p = parent[p] {
			if p == strconv.Itoa(top) && pid != p {
				family[pid] = start[pid]
				break
			}
		}
	}
	return family
}

func stat(pid string) (parent, start string) {
	text, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return "", ""
	}
	// The name in parentheses may itself hold blanks and parentheses.
	f := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(f) < 20 || f[0] == "Z" && f[1] == "1" {
		return "", "" // dead, and only not yet waited for by the host's init
	}
	return f[1], f[19]
}

func alive(family map[string]string) (left []string) {
	for pid, start := range family {
		if _, now := stat(pid); now == start && now != "" {
			left = append(left, pid)
		}
	}
	return left
}

// inRecordedGroups lists what runs in the groups that the records name.
func inRecordedGroups(t *testing.T, dir string) (pids []string) {
	t.Helper()
	for _, g := range recordedGroups(t, dir) {
		if text, err := os.ReadFile(g + "/cgroup.procs"); err == nil {
			pids = append(pids, strings.Fields(string(text))...)
		}
	}
	return pids
}

func recordedGroups(t *testing.T, dir string) (groups []string) {
	t.Helper()
	records, err := os.ReadDir(dir + "/run/cells")
	must(t, err)
	for _, e := range records {
		b, err := os.ReadFile(dir + "/run/cells/" + e.Name())
		if err != nil || len(b) == 0 {
			continue // just made, or gone
		}
		var r struct {
			Groups []string `json:"groups"`
		}
		if json.Unmarshal(b, &r) == nil { // or half written
			groups = append(groups, r.Groups...)
		}
	}
	return groups
}

// quotas are the CPU quotas of the living cells of this host, as the kernel has
// them, in processors.
func (h *host) quotas(t *testing.T) (all []float64) {
	t.Helper()
	for _, g := range recordedGroups(t, h.dir) {
		var quota, period float64
		if text, err := os.ReadFile(g + "/cpu.max"); err == nil {
			fmt.Sscan(string(text), &quota, &period) // no quota is a word, and stays 0
		} else if text, err := os.ReadFile(g + "/cpu.cfs_quota_us"); err == nil {
			fmt.Sscan(string(text), &quota)
			text, _ = os.ReadFile(g + "/cpu.cfs_period_us")
			fmt.Sscan(string(text), &period)
		}
		if quota > 0 && period > 0 {
			all = append(all, quota/period)
		}
	}
	return all
}

// groupDirs lists every group of a cell on this machine.
func groupDirs(t *testing.T) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	filepath.WalkDir("/sys/fs/cgroup", func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return filepath.SkipDir
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), "cellblock-") {
			found[path] = true
			return filepath.SkipDir
		}
		return nil
	})
	return found
}

// emptyFor says that a group stays without a process for a while: it is
// nobody's, and not one that another test has just made.
func emptyFor(dir string, d time.Duration) bool {
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		text, err := os.ReadFile(dir + "/cgroup.procs")
		if err != nil || len(strings.TrimSpace(string(text))) > 0 {
			return false
		}
	}
	return true
}

// TestCycles makes, uses and ends cells, two at once, and wants nothing of
// them left, and no more memory used after many than after a few.
func TestCycles(t *testing.T) {
	testkit.Require(t, testkit.Root, testkit.MemoryController, testkit.Python("3.9"))
	few, cycles := 100, 1000
	if testing.Short() {
		few, cycles = 30, 60
	}
	dir := t.TempDir()
	cfg := ownerConfig(dir)
	temp := tempNames(t)
	ex, err := executor.New(cfg)
	must(t, err)
	defer ex.Close()
	cycle := func(n int) {
		var wg sync.WaitGroup
		for w := range 2 {
			wg.Go(func() {
				for i := w; i < n; i += 2 {
					r, err := ex.Execute(t.Context(), executor.Request{Code: "x = 6 * 7\nopen('f', 'w').write('x' * 1000)\nprint(x)"})
					if err != nil || r.Output != "42\n" || len(r.Files) != 1 {
						t.Errorf("cycle %d: %v %s %q %v", i, err, r.Verdict, r.Output, r.Files)
						return
					}
				}
			})
		}
		wg.Wait()
	}
	began := time.Now()
	cycle(2) // what is opened once, for good
	testkit.Leaks(t)
	cycle(few - 2)
	if t.Failed() {
		return
	}
	early := resident(t)
	cycle(cycles - few)
	late := resident(t)
	t.Logf("%d cycles in %s; resident %d KiB after %d, %d KiB after all", cycles, time.Since(began).Round(time.Millisecond), early>>10, few, late>>10)
	if late > early+8<<20 {
		t.Errorf("memory grew from %d KiB after %d cycles to %d KiB after %d", early>>10, few, late>>10, cycles)
	}
	if records, _ := os.ReadDir(dir + "/run/cells"); len(records) != 0 {
		t.Errorf("%d records are left", len(records))
	}
	for name := range tempNames(t) {
		if !temp[name] {
			t.Errorf("%s is left", name)
		}
	}
}

// resident is this process's memory after its garbage is gone.
func resident(t *testing.T) int64 {
	t.Helper()
	runtime.GC()
	runtime.GC()
	text, err := os.ReadFile("/proc/self/status")
	must(t, err)
	_, rest, _ := strings.Cut(string(text), "\nVmRSS:")
	line, _, _ := strings.Cut(rest, "kB")
	kb, err := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
	must(t, err)
	return kb << 10
}

// tempNames are the temporary things of Cellblock on this machine.
func tempNames(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	for _, pattern := range []string{os.TempDir() + "/*cellblock*", "/dev/shm/*cellblock*"} {
		found, err := filepath.Glob(pattern)
		must(t, err)
		for _, f := range found {
			names[f] = true
		}
	}
	return names
}
