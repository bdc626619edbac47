package mcp

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cellblock/cellblock/internal/testkit"
)

// inspect runs one command of the MCP Inspector's command line (from npm, see
// make deps-npm) and returns what it prints.
func inspect(t *testing.T, server []string, method string, more ...string) (text string, answer struct {
	Tools             []struct{ Name string }
	ResourceTemplates []struct{ URITemplate string }
	Contents          []struct{ Text string }
	Content           []struct{ Type, Text, Data, MIMEType, URI string }
	StructuredContent map[string]any
	IsError           bool
},
) {
	t.Helper()
	bin, err := filepath.Abs("../npm/node_modules/.bin/mcp-inspector")
	if err != nil {
		t.Fatal(err)
	}
	testkit.Require(t, testkit.Tool("node"), testkit.File(bin))
	cmd := exec.Command(bin, slices.Concat([]string{"--cli"}, server, []string{"--method", method}, more)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v: %s%s", method, err, stderr.String(), stdout.String())
	}
	if err := json.Unmarshal(stdout.Bytes(), &answer); err != nil {
		t.Fatalf("%s: %v: %s", method, err, stdout.String())
	}
	return stdout.String(), answer
}

// The Inspector lists what there is, checks answers against their schemas, and
// shows a figure, a DataFrame and an exception.
func TestInspector(t *testing.T) {
	path := program(t)
	dir := tempDir(t)
	s := serve(t, "--with", science)
	// Its process must not be looked for below this test's TMPDIR.
	t.Setenv("TMPDIR", dir)
	for name, server := range map[string][]string{
		"stdio": {path, "mcp", "--runtime-dir", filepath.Join(dir, "run"), "--with", science},
		"http":  {s.url("/mcp"), "--transport", "http", "--header", "Authorization: Bearer " + s.tokens["ann"]},
	} {
		t.Run(name, func(t *testing.T) {
			_, list := inspect(t, server, "tools/list")
			if len(list.Tools) != 8 {
				t.Errorf("tools: %+v", list.Tools)
			}
			if _, list := inspect(t, server, "resources/templates/list"); len(list.ResourceTemplates) != 2 {
				t.Errorf("resource templates: %+v", list.ResourceTemplates)
			}
			run := func(code string) []string { return []string{"--tool-name", "run_python", "--tool-arg", "code=" + code} }
			_, r := inspect(t, server, "tools/call", run(snippets[0].code)...)
			if r.IsError || len(r.Content) < 2 || r.Content[1].Type != "image" || r.Content[1].MIMEType != "image/png" || !strings.HasPrefix(r.Content[1].Data, "iVBOR") {
				t.Errorf("a figure: %.500v", r.Content)
			}
			text, r := inspect(t, server, "tools/call", run(snippets[1].code)...)
			if r.IsError || !strings.Contains(r.Content[0].Text, "1  2  y") || !strings.Contains(text, "text/html") {
				t.Errorf("a DataFrame: %.500s", text)
			}
			text, r = inspect(t, server, "tools/call", run(snippets[2].code)...)
			if !r.IsError || !strings.Contains(r.Content[0].Text, "ZeroDivisionError") || r.StructuredContent["stdout"] != "before\n" {
				t.Errorf("an exception: %.500s", text)
			}
			_, r = inspect(t, server, "tools/call", run(snippets[4].code)...)
			if r.StructuredContent["stdout"] != "tick 0\ntick 1\ntick 2\ntick 3\ntick 4\n" {
				t.Errorf("a loop: %v", r.StructuredContent)
			}
			text, _ = inspect(t, server, "tools/call", "--tool-name", "packages")
			if !strings.Contains(text, "pandas") {
				t.Errorf("packages: %s", text)
			}
		})
	}
	if left := s.sessions("ann"); len(left) != 0 {
		t.Logf("sessions that the Inspector did not end: %v", left)
	}
}
