//go:build cellblock_weaken

package escape

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/internal/testkit"
	"github.com/cellblock/cellblock/internal/weaken"
	"github.com/cellblock/cellblock/nsjail/native"
	"github.com/cellblock/cellblock/rootfs"
	"github.com/cellblock/cellblock/seccomp"
	"github.com/cellblock/cellblock/seccomp/bpf"
	"github.com/cellblock/cellblock/seccomp/compile"
)

// What a mutant is told in its environment.
const (
	mutantEnv = "CELLBLOCK_TEST_MUTANT" // its layer
	stateEnv  = "CELLBLOCK_TEST_STATE"  // where its root is, if it needs one
)

// TestMutation takes one layer away after the other and wants a probe to fail:
// so the probes are shown to notice. Where the check of the posture sees that
// the layer is missing, it must refuse the cell; the probe is then played with
// that check left out as well. It runs in a binary with the switches in it, and
// starts itself once for each cell.
func TestMutation(t *testing.T) {
	testkit.Require(t, testkit.Root, testkit.MemoryController, testkit.Python("3.9"), testkit.Tool("gcc"), testkit.Tool("make"))
	if err := compile.Available(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	state := t.TempDir()
	var noticed atomic.Int32
	t.Run("without", func(t *testing.T) {
		for _, m := range mutants {
			t.Run(strings.ReplaceAll(m.layer, " ", "-"), func(t *testing.T) {
				t.Parallel() // a mutant is a process of its own
				if m.noticed(t, state) {
					noticed.Add(1)
				}
			})
		}
	})
	table := mutantTable()
	t.Logf("%d of %d mutants were noticed, in %s\n\n%s", noticed.Load(), len(mutants), time.Since(began).Round(time.Second), table)
	compareTable(t, table)
}

// noticed plays a mutant's probe, and asks the posture check.
func (m mutant) noticed(t *testing.T, state string) bool {
	programs := m.programs(t)
	weak := m.play(t, programs, state, m.switches+",posture")
	if weak.passed || !regexp.MustCompile("(?s)"+m.shows).MatchString(weak.text) {
		t.Errorf("without %s, probe %q passes (%v) or fails for another reason than %q:\n%s", m.layer, m.probe, weak.passed, m.shows, clip(weak.text))
	}
	if m.posture == "" {
		return !t.Failed()
	}
	checked := m.play(t, programs, state, m.switches)
	said := regexp.MustCompile(`the cell is not what it was to be: (.*)`).FindStringSubmatch(checked.text)
	if checked.passed || said == nil || !strings.Contains(said[1], m.posture) {
		t.Errorf("without %s, the posture check does not say %q:\n%s", m.layer, m.posture, clip(checked.text))
	}
	return !t.Failed()
}

// mutantTable is layer × probe, as it stands in the document.
func mutantTable() string {
	var b strings.Builder
	b.WriteString("| layer left out | probe that fails | the posture check |\n| --- | --- | --- |\n")
	for _, m := range mutants {
		said := "does not see it: " + m.unseen
		if m.posture != "" {
			said = "refuses: …" + m.posture + "…"
		}
		if m.unseen == noProbe {
			said = "is not reached: " + noProbe
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", m.layer, m.probe, said)
	}
	return b.String()
}

func compareTable(t *testing.T, table string) {
	const begin, end = "<!-- written by make test-mutation -->\n", "<!-- end -->"
	text, err := os.ReadFile(document)
	must(t, err)
	head, rest, ok := strings.Cut(string(text), begin)
	old, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table", document)
	}
	if *update {
		must(t, os.WriteFile(document, []byte(head+begin+table+end+tail), 0o644))
	} else if old != table {
		t.Errorf("the table in %s is not what was found: run make test-mutation UPDATE=1", document)
	}
}

// programs makes the mutant's own programs, and returns the directory they are in.
func (m mutant) programs(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "mutant-") // the test's own would have its name, which make cannot take
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	for name, changes := range map[string][]change{"init": m.init, "lock": m.lock} {
		if changes != nil {
			must(t, os.MkdirAll(dir+"/dist", 0o755))
			must(t, os.RemoveAll(dir+"/src"))
			must(t, os.CopyFS(dir+"/src", os.DirFS("../../nsjail/native/src")))
			for _, c := range changes {
				c.apply(t, dir+"/src")
			}
			target := map[string]string{"init": "init", "lock": "lock.so"}[name]
			build := exec.Command("make", "-s", "-C", "../..", "NATIVE="+dir, dir+"/dist/"+target)
			if out, err := build.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			must(t, os.Rename(dir+"/dist/"+target, dir+"/"+target))
		}
	}
	filter, err := seccomp.Cell()
	must(t, err)
	if m.policy != nil {
		rows := seccomp.Policy()
		m.policy(rows)
		program, err := compile.Filter(rows, seccomp.Numbers(), runtime.GOARCH)
		must(t, err)
		filter = bpf.Encode(program)
	}
	if m.filter != nil {
		filter = m.filter(filter)
	}
	if same, err := seccomp.Cell(); err == nil && !bytes.Equal(same, filter) {
		must(t, os.WriteFile(dir+"/filter", filter, 0o644))
	}
	return dir
}

// apply changes the one file of dir that has the piece, which is there once.
func (c change) apply(t *testing.T, dir string) {
	t.Helper()
	files, err := filepath.Glob(dir + "/*")
	must(t, err)
	found := 0
	for _, file := range files {
		source, err := os.ReadFile(file)
		must(t, err)
		if n := bytes.Count(source, []byte(c.was)); n > 0 {
			found += n
			must(t, os.Remove(file)) // a copy may be read-only
			must(t, os.WriteFile(file, bytes.Replace(source, []byte(c.was), []byte(c.now), 1), 0o644))
		}
	}
	if found != 1 {
		t.Fatalf("%q stands in the source %d times", c.was, found)
	}
}

type weakRun struct {
	passed bool
	text   string
}

func (m mutant) play(t *testing.T, programs, state, switches string) weakRun {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestWeakened$", fmt.Sprintf("-forked=%v", m.forked), "-test.v", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), weaken.LayersEnv+"="+switches, weaken.ProgramsEnv+"="+programs, stateEnv+"="+state, mutantEnv+"="+m.layer)
	out, err := cmd.CombinedOutput()
	text := string(out)
	if !strings.Contains(text, "RUN   TestWeakened") || strings.Contains(text, "no such ") {
		t.Fatalf("%v\n%s", err, text)
	}
	return weakRun{err == nil, text}
}

// TestWeakened plays one mutant's probe.
func TestWeakened(t *testing.T) {
	if os.Getenv(mutantEnv) == "" {
		return // only for TestMutation
	}
	m := ownMutant(t)
	if m.probe == "owner killed" {
		killOwner(t, func(string) {})
		return
	}
	for _, p := range probes() {
		if p.n+"/"+p.name == m.probe {
			newHost(t).play(t, p)
			return
		}
	}
	t.Fatalf("no such probe: %s", m.probe)
}

func ownMutant(t *testing.T) mutant {
	t.Helper()
	for _, m := range mutants {
		if m.layer == os.Getenv(mutantEnv) {
			return m
		}
	}
	t.Fatalf("no such mutant: %s", os.Getenv(mutantEnv))
	return mutant{}
}

// otherRoot builds the root of a mutant that changes it, or that can write to
// it; nil for the others.
func otherRoot(t *testing.T) *executor.Config {
	if os.Getenv(mutantEnv) == "" {
		return nil
	}
	m := ownMutant(t)
	if m.root == nil {
		return nil
	}
	cfg := executor.Config{StateDir: filepath.Join(os.Getenv(stateEnv))}
	spec, err := cfg.RootSpec()
	must(t, err)
	lock, err := native.Lock()
	must(t, err)
	spec.Support["/cellblock/lock.so"] = weaken.Program("lock.so", lock)
	m.root(&spec)
	store, err := rootfs.Open(cfg.StateDir)
	must(t, err)
	root, err := store.Ensure(t.Context(), spec, nil)
	must(t, err)
	cfg.Root = root.Digest
	return &cfg
}
