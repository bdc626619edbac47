package script

import (
	"archive/zip"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cellblock/cellblock/internal/testkit"
)

// docs/ci.md is done as it says: the commands of the page and of its jobs, word for
// word, on a checkout whose tests pass, fail, do not end, or want too much. The exit
// status decides.
func TestCIPage(t *testing.T) {
	testkit.Require(t, testkit.Root, testkit.MemoryController, testkit.UserNamespaces, testkit.Python("3.9"),
		testkit.File("/usr/lib/python3/dist-packages/pytest"), testkit.File("/usr/lib/python3/dist-packages/pip")) // make deps-test
	page, err := os.ReadFile("../../docs/ci.md")
	if err != nil {
		t.Fatal(err)
	}
	c := newCheckout(t)
	commands := commandsOf(t, string(page))
	if len(commands) != 6 {
		t.Fatalf("the page has %d commands: %q", len(commands), commands)
	}
	for _, command := range commands[2:] {
		if !strings.Contains(command, "cellblock run") {
			c.run(command).want(t, 0, "") // pip, and the like
		}
	}
	for _, command := range commands {
		if !strings.Contains(command, "cellblock run") {
			continue
		}
		// What is changed below is the limits, so that they are met in time.
		limited := strings.NewReplacer("10m", "3s", "1G", "96M").Replace(command)
		if limited == command {
			t.Errorf("no limits: %s", command)
		}
		c.run(command).want(t, 0, "OK|1 passed")
		reports := strings.Contains(command, "--out reports")
		if reports {
			c.report(`tests="1"`)
		}
		c.with("tests/test_more.py", failing, func() {
			c.run(command).want(t, 1, "FAIL: test_more|1 failed, 1 passed")
			if reports {
				c.report(`failures="1"`)
			}
		})
		c.with("tests/test_more.py", endless, func() { c.run(limited).want(t, 124, "timeout") })
		c.with("tests/test_more.py", greedy, func() { c.run(limited).want(t, 137, "memory") })
	}
	// The table of what tests cannot do, by both ways of having the checkout there.
	shared := strings.ReplaceAll(commands[0], "src/tests", "src/limits")
	c.run(shared).want(t, 0, "Ran 10 tests[^!]*OK")
	c.run(strings.ReplaceAll(shared, ".:src:ro", ".:src")).want(t, 1, "(?s)FAIL: test_checkout.*FAIL: test_links.*Ran 10 tests.*failures=2")
}

const (
	test    = "import unittest\nclass TestMore(unittest.TestCase):\n    def test_more(self):\n"
	failing = test + "        self.assertEqual(1, 2)\n"
	endless = test + "        while True: pass\n"
	greedy  = test + "        import mmap\n        m = mmap.mmap(-1, 1 << 30)\n        for i in range(0, 1 << 30, 4096): m[i] = 1\n"
)

// commandsOf are those that the page has one type, and those that its jobs run.
func commandsOf(t *testing.T, page string) (all []string) {
	t.Helper()
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(page, -1) {
		all = append(all, strings.TrimSpace(block[1]))
	}
	for _, block := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(page, -1) {
		// A command begins an item of a list; lines that are deeper go on with it.
		for _, m := range regexp.MustCompile(`(?m)^( *)- (?:run: )?(?:>-\n *)?((?:python3|systemd-run|cellblock) .*(?:\n *[^\s-].*|\n *--?\w.*)*)`).FindAllStringSubmatch(block[1], -1) {
			var words []string
			for i, line := range strings.Split(m[2], "\n") {
				if indent := len(line) - len(strings.TrimLeft(line, " ")); i > 0 && indent <= len(m[1]) {
					break
				}
				words = append(words, strings.Fields(line)...)
			}
			command := strings.Join(words, " ")
			// As the page says for root.
			all = append(all, strings.TrimPrefix(command, "systemd-run --user --scope --quiet -p Delegate=yes "))
		}
	}
	return all
}

// checkout is a tree with tests, and a machine of a job's.
type checkout struct {
	t   *testing.T
	dir string
	env []string
}

func newCheckout(t *testing.T) *checkout {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "checkout")
	if err := os.CopyFS(dir, os.DirFS("testdata/checkout")); err != nil {
		t.Fatal(err)
	}
	wheels := t.TempDir()
	makeWheel(t, filepath.Join(wheels, "needed-1-py3-none-any.whl"))
	if err := os.WriteFile(filepath.Join(dir, "requirements.txt"), []byte("needed\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../app.py", filepath.Join(dir, "limits", "link.py")); err != nil {
		t.Fatal(err)
	}
	return &checkout{t, dir, append(os.Environ(), "PATH="+filepath.Dir(program(t))+":/usr/bin:/bin", "CI_JOB_TOKEN=secret",
		"PIP_NO_INDEX=1", "PIP_FIND_LINKS="+wheels)}
}

// makeWheel packs Debian's pytest, so that pip has something to install without a
// network.
func makeWheel(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := zip.NewWriter(f)
	var record strings.Builder
	put := func(name string, content []byte) {
		e, err := w.Create(name)
		if err == nil {
			_, err = e.Write(content)
		}
		if err != nil {
			t.Fatal(err)
		}
		record.WriteString(name + ",,\n")
	}
	const from = "/usr/lib/python3/dist-packages"
	for _, name := range []string{"_pytest", "pytest", "py", "attr", "iniconfig", "pluggy", "packaging"} {
		err := filepath.WalkDir(filepath.Join(from, name), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".py") {
				return err
			}
			content, err := os.ReadFile(path)
			rel, _ := filepath.Rel(from, path)
			put(rel, content)
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	put("needed-1.dist-info/METADATA", []byte("Metadata-Version: 2.1\nName: needed\nVersion: 1\n"))
	put("needed-1.dist-info/WHEEL", []byte("Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"))
	put("needed-1.dist-info/RECORD", []byte(record.String()+"needed-1.dist-info/RECORD,,\n"))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// with has a file in the checkout for as long as f runs.
func (c *checkout) with(name, content string, f func()) {
	c.t.Helper()
	path := filepath.Join(c.dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		c.t.Fatal(err)
	}
	f()
	if err := os.Remove(path); err != nil {
		c.t.Fatal(err)
	}
}

// ran is what came of a command.
type ran struct {
	command string
	status  int
	out     string
}

func (c *checkout) run(command string) ran {
	c.t.Helper()
	if err := os.RemoveAll(filepath.Join(c.dir, "reports")); err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(c.t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-e", "-c", command)
	cmd.Dir, cmd.Env = c.dir, c.env
	out, err := cmd.CombinedOutput()
	return ran{command, exitStatus(err), string(out)}
}

func (r ran) want(t *testing.T, status int, says string) {
	t.Helper()
	if r.status != status || !regexp.MustCompile(says).MatchString(r.out) {
		t.Errorf("%s: exit status %d, wanted %d and %q:\n%.3000s", r.command, r.status, status, says, r.out)
	}
}

// report is what the tests' runner wrote.
func (c *checkout) report(part string) {
	c.t.Helper()
	text, err := os.ReadFile(filepath.Join(c.dir, "reports", "report.xml"))
	if err != nil || !strings.Contains(string(text), part) {
		c.t.Errorf("the report has no %s: %v %.500s", part, err, text)
	}
}
