// Package e2b has E2B's published SDK, unmodified, speak with a service.
package e2b

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cellblock/cellblock/internal/api"
	"github.com/cellblock/cellblock/internal/testkit"
)

const packages = "../npm/node_modules"

// node is the one that comes with the packages: the SDK wants a newer one than
// Debian 12 has.
func node(t *testing.T) string {
	t.Helper()
	arch := map[string]string{"amd64": "x64", "arm64": "arm64"}[runtime.GOARCH]
	path, err := filepath.Abs(packages + "/node-linux-" + arch + "/bin/node")
	if err != nil {
		t.Fatal(err)
	}
	testkit.Require(t, testkit.File(path)) // make deps-npm
	return path
}

// program is the service's.
func program(t *testing.T) string {
	t.Helper()
	if bin := os.Getenv("CELLBLOCK_BIN"); bin != "" {
		return filepath.Join(filepath.Dir(bin), "cellblock-service")
	}
	path := filepath.Join(t.TempDir(), "cellblock-service")
	if out, err := exec.Command("go", "build", "-o", path, "github.com/cellblock/cellblock/cmd/cellblock-service").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

// serve starts a service with two callers, and returns its address and their
// keys when it is ready.
func serve(t *testing.T) (address, key, other string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "cbe")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	key, line := api.NewToken("suite")
	other, line2 := api.NewToken("other")
	if err := os.WriteFile(dir+"/tokens", []byte(line+"\n"+line2+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	log := new(testkit.Output)
	cmd := exec.Command(program(t), "serve", "--socket", dir+"/s", "--runtime-dir", dir+"/run", "--tokens", dir+"/tokens",
		"--e2b", "127.0.0.1:0", "--with", "numpy,matplotlib", "--log-format", "text")
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	if err := testkit.StartReady(cmd, dir, log); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the service ended with %v\n%s", err, log)
		}
		if left, _ := os.ReadDir(dir + "/run/cells"); len(left) > 0 {
			t.Errorf("%d records of cells are left", len(left))
		}
	})
	found := regexp.MustCompile(`E2B's SDK" address=tcp:(\S+)`).FindStringSubmatch(log.String())
	if found == nil {
		t.Fatalf("it tells no address for E2B's SDK:\n%s", log)
	}
	return found[1], key, other
}

// TestSDK runs suite.mjs and makes a test of each of its cases.
func TestSDK(t *testing.T) {
	testkit.Require(t, testkit.Root, testkit.MemoryController, testkit.Python(""))
	node := node(t)
	address, key, other := serve(t)
	where, err := filepath.Abs(packages)
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + address
	cmd := exec.Command(node, "suite.mjs")
	cmd.Env = []string{
		"PATH=/usr/bin:/bin", "HOME=" + t.TempDir(), "E2B_API_URL=" + url, "E2B_SANDBOX_URL=" + url, "E2B_API_KEY=" + key,
		"SUITE_OTHER_KEY=" + other, "SUITE_PACKAGES=" + where, "SUITE_ONLY=" + os.Getenv("SUITE_ONLY"),
	}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop := time.AfterFunc(5*time.Minute, func() { cmd.Process.Kill() })
	defer stop.Stop()
	cases, last := 0, ""
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var c struct {
			Name, Error string
			MS          float64
			Median, P90 float64
		}
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			t.Fatalf("the suite says %q: %v", lines.Text(), err)
		}
		if c.Name == "" {
			last = fmt.Sprintf("runCode('1+1') takes %.2f ms, nine of ten less than %.2f ms", c.Median, c.P90)
			continue
		}
		cases++
		t.Run(strings.ReplaceAll(c.Name, " ", "-"), func(t *testing.T) {
			t.Logf("%.0f ms", c.MS)
			if c.Error != "" {
				t.Error(c.Error)
			}
		})
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the suite ended with %v", err)
	}
	if os.Getenv("SUITE_ONLY") == "" && cases < 60 {
		t.Errorf("only %d cases were played", cases)
	}
	if last == "" {
		t.Error("the suite did not come to its end")
	}
	t.Logf("%d cases; %s", cases, last)
}
