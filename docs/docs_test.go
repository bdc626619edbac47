// Package docs holds what the documentation says to the code.
package docs

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// pages are the Markdown files of the repository, relative to this directory.
func pages(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, pattern := range []string{"../*.md", "*.md", "adr/*.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, found...)
	}
	if len(all) < 10 {
		t.Fatalf("only %d pages were found", len(all))
	}
	return all
}

func TestLinksLeadSomewhere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#\s]+)(#[^)]*)?\)`)
	for _, page := range pages(t) {
		for _, m := range link.FindAllStringSubmatch(read(t, page), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), m[1])); err != nil {
				t.Errorf("%s: %v", page, err)
			}
		}
	}
}

// The specification names the test that holds each promise.
func TestPromisesHaveTests(t *testing.T) {
	spec := read(t, "specification.md")
	named := regexp.MustCompile("`([a-z/0-9]+): ((?:Test|Fuzz|Example)\\w+)`").FindAllStringSubmatch(spec, -1)
	if len(named) < 40 {
		t.Fatalf("only %d tests are named", len(named))
	}
	for _, m := range named {
		files, err := filepath.Glob(filepath.Join("..", m[1], "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(files, func(f string) bool {
			return strings.Contains(read(t, f), "\nfunc "+m[2]+"(")
		}) {
			t.Errorf("there is no %s in %s", m[2], m[1])
		}
	}
	for line := range strings.Lines(spec) {
		row := strings.HasPrefix(line, "| ") && !strings.HasPrefix(line, "| promise") && !strings.HasPrefix(line, "| ---")
		if row && !strings.Contains(line, ": Test") && !strings.Contains(line, ": Example") {
			t.Errorf("no test holds %q", strings.TrimSpace(line))
		}
	}
}

func TestStepsAreDocumented(t *testing.T) {
	_, table, ok := strings.Cut(read(t, "architecture.md"), "### The steps of the init, in order")
	if !ok {
		t.Fatal("the section on the steps is gone")
	}
	table, _, _ = strings.Cut(table, "\n###")
	var documented []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z-]+)`").FindAllStringSubmatch(table, -1) {
		documented = append(documented, m[1])
	}
	plans, err := filepath.Glob("../nsjail/testdata/plan_*.txt")
	if err != nil || len(plans) < 3 {
		t.Fatalf("%d golden plans (%v)", len(plans), err)
	}
	planned := map[string]bool{}
	for _, golden := range plans {
		steps := stepNames(read(t, golden))
		if len(steps) < 10 {
			t.Errorf("%s has only the steps %v", golden, steps)
		}
		for _, s := range steps {
			planned[s] = true
		}
		// Each host has some of the steps, in the order of the table.
		shared := slices.DeleteFunc(slices.Clone(documented), func(s string) bool { return !slices.Contains(steps, s) })
		if !slices.Equal(shared, steps) {
			t.Errorf("architecture.md lists\n%v, %s has\n%v", shared, golden, steps)
		}
	}
	for _, s := range documented {
		if !planned[s] {
			t.Errorf("no golden plan has the documented step %q", s)
		}
	}
}

// stepNames are the first words of a golden plan's steps; neighbours with the
// same word are one ("attach tmp", "attach dev/shm").
func stepNames(golden string) []string {
	var names []string
	for _, m := range regexp.MustCompile(`(?m)^ ?\d+ ([a-z-]+)`).FindAllStringSubmatch(golden, -1) {
		names = append(names, m[1])
	}
	return slices.Compact(names)
}

func TestGoCodeIsOfExamples(t *testing.T) {
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```")
	for page, source := range map[string]string{
		"api.md": "../executor/example_test.go", "../README.md": "../executor/example_test.go", "mcp.md": "../tests/mcp/example_test.go",
	} {
		examples := squeeze(read(t, source))
		for i, m := range blocks.FindAllStringSubmatch(read(t, page), -1) {
			for part := range strings.SplitSeq(m[1], "// …\n") {
				if !strings.Contains(examples, squeeze(part)) {
					t.Errorf("%s, block %d is in no example:\n%s", page, i+1, part)
				}
			}
		}
	}
}

// squeeze makes indentation and empty lines not matter.
func squeeze(code string) string {
	var b strings.Builder
	for line := range strings.Lines(code) {
		if line = strings.TrimSpace(line); line != "" {
			fmt.Fprintln(&b, line)
		}
	}
	return b.String()
}
