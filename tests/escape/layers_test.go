package escape

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/internal/testkit"
	"github.com/cellblock/cellblock/rootfs"
)

// weakenEnv names the layers that a test binary built with the tag
// cellblock_weaken leaves out, and probeEnv the probe that it plays then.
const (
	weakenEnv = "CELLBLOCK_WEAKEN"
	probeEnv  = "CELLBLOCK_TEST_PROBE"
)

// A layer that is left out, the probe that must notice, and what shows it.
type layer struct {
	without string // separated by commas
	probe   string // n/name
	shows   string // a pattern that the failure's text holds
	posture string // and one of what the posture check says
	unseen  string // why that check says nothing
}

var layers = []layer{
	{"network-namespace", "6/no interface but its own loopback", `'lo', .*True`, `net namespace`, ""},
	{"network-namespace,seccomp,landlock", "6/listeners of the host", `output .*ok ok.*reached`, `net namespace`, ""},
	{"seccomp", "1/socket", `output \\?"ok`, "", "it counts the filters"},
	{"seccomp", "89/namespaces", `131072\): 'ok'`, "", "it counts the filters"},
	{"lock", "7/subprocess", `verdict ok .*output \\?"1`, `Seccomp_filters`, ""},
	{"lock", "51/ptrace and the memory of others", `exit 7 1`, `dumpable`, ""},
	{"memory", "56/shared pages beyond the limit", `survived`, "", "the plan has no limit"},
	{"pids", "43/a fork bomb", `verdict out-of-memory|False`, "", "the plan has another limit"},
	{"read-only-root", "15/write, chmod, unlink, link in every directory of the root", `False`, `not nodev,nosuid,ro`, ""},
	{"noexec", "12/a library from where it can write", `status 125|loaded`, `mounted nodev,nosuid,rw`, ""},
	{"two-ids", "49/signals to PID 1", `15: 'ok'`, "", "the plan has one id"},
	{"proc-subset", "19/the rest of /proc, and /sys", `'ok'`, `subset=pid`, ""},
	{"cgroup-namespace", "18/no path of the host in /proc", `cellblock-`, `cgroup namespace`, ""},
	{"capabilities", "25/set-id bits and file capabilities", `41`, `CapBnd`, ""},
	{"rlimit", "55/limits and priorities up", `'RLIMIT_CORE': 'ok'`, `resource limit`, ""},
}

// TestLayers takes one layer away and wants an attack to get further than it
// may: so the attacks are shown to notice. Beside it stands what the check of
// the posture says of such a cell before it gets any code.
func TestLayers(t *testing.T) {
	testkit.Require(t, testkit.Root, testkit.MemoryController, testkit.Python("3.9"), testkit.Tool("go"))
	binary := t.TempDir() + "/weakened.test"
	build := exec.Command("go", "test", "-c", "-tags", "cellblock_weaken", "-o", binary, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	some := layers
	if testing.Short() {
		some = layers[:5]
	}
	rows := []string{fmt.Sprintf("%-36s %-66s %-9s %s", "layer taken away", "probe", "noticed", "the posture check says")}
	for _, l := range some {
		weak := playWeakened(t, binary, l.without+",posture", l.probe)
		noticed := !weak.passed && regexp.MustCompile("(?s)"+l.shows).MatchString(weak.text)
		if !noticed {
			t.Errorf("without %s, probe %s: passed %v\n%s", l.without, l.probe, weak.passed, clip(weak.text))
		}
		said := "nothing: " + l.unseen
		if l.posture != "" {
			checked := playWeakened(t, binary, l.without, l.probe)
			found := regexp.MustCompile(`the cell is not what it was to be: (.*)`).FindStringSubmatch(checked.text)
			if checked.passed || found == nil || !regexp.MustCompile(l.posture).MatchString(found[1]) {
				t.Errorf("without %s the posture check lets the cell pass:\n%s", l.without, clip(checked.text))
			} else {
				said = strings.SplitN(found[1], ";", 2)[0]
			}
		}
		rows = append(rows, fmt.Sprintf("%-36s %-66s %-9v %s", l.without, l.probe, noticed, said))
	}
	t.Log("\n" + strings.Join(rows, "\n"))
}

type weakRun struct {
	passed bool
	text   string
}

func playWeakened(t *testing.T, binary, without, probe string) weakRun {
	t.Helper()
	cmd := exec.Command(binary, "-test.run=^TestWeakened$", "-test.v", "-test.timeout=2m")
	cmd.Env = append(os.Environ(), weakenEnv+"="+without, probeEnv+"="+probe)
	out, err := cmd.CombinedOutput()
	text := string(out)
	if !strings.Contains(text, "RUN   TestWeakened") || strings.Contains(text, "no such probe") {
		t.Fatalf("%v\n%s", err, text)
	}
	return weakRun{err == nil, text}
}

// TestWeakened plays one probe in the binary that TestLayers builds.
func TestWeakened(t *testing.T) {
	want := os.Getenv(probeEnv)
	if want == "" {
		return // only for TestLayers
	}
	for _, p := range slices.Concat(networkProbes, execProbes, fileProbes, processProbes, memoryProbes, kernelProbes) {
		if p.n+"/"+p.name == want {
			newHost(t).play(t, p)
			return
		}
	}
	t.Fatalf("no such probe: %s", want)
}

// otherRoot is nil but in a weakened binary that needs a root of its own: one
// that may be written to, or one without the lock.
func otherRoot(t *testing.T) *executor.Config {
	weak := strings.Split(os.Getenv(weakenEnv), ",")
	unlocked := slices.Contains(weak, "lock")
	if !unlocked && !slices.Contains(weak, "read-only-root") {
		return nil
	}
	cfg := executor.Config{StateDir: t.TempDir()}
	spec, err := cfg.RootSpec()
	must(t, err)
	if unlocked {
		delete(spec.Support, "/etc/ld.so.preload")
	}
	store, err := rootfs.Open(cfg.StateDir)
	must(t, err)
	root, err := store.Ensure(t.Context(), spec, nil)
	must(t, err)
	cfg.Root = root.Digest
	return &cfg
}
