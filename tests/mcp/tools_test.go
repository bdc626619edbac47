package mcp

import (
	"bytes"
	"encoding/base64"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/cellblock/cellblock/internal/mcp"
)

// Every tool says what it takes, gives and does.
func TestTools(t *testing.T) {
	both(t, func(t *testing.T, c *client) {
		list, err := c.ListTools(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, tool := range list.Tools {
			names = append(names, tool.Name)
			a := tool.Annotations
			if a == nil || a.DestructiveHint == nil || a.OpenWorldHint == nil || *a.OpenWorldHint {
				t.Errorf("%s has the annotations %+v", tool.Name, a)
			}
			if tool.InputSchema == nil || tool.OutputSchema == nil || len(tool.Description) < 80 || tool.Title == "" {
				t.Errorf("%s: %+v", tool.Name, tool)
			}
		}
		if want := []string{"interrupt", "list_files", "packages", "read_file", "reset", "run_python", "upload_file", "validate"}; !slices.Equal(names, want) {
			t.Errorf("the tools are %v, want %v", names, want)
		}
		if text := c.InitializeResult().Instructions; !strings.Contains(text, "No network") || !strings.Contains(text, "512MiB of memory") {
			t.Errorf("instructions: %s", text)
		}
	})
}

func TestStateIsKept(t *testing.T) {
	both(t, func(t *testing.T, c *client) {
		c.ok("run_python", args{"code": "x = 6"})
		if got := c.ok("run_python", args{"code": "print(x)\nx * 7"}); got != "6\n42" {
			t.Errorf("it said %q", got)
		}
		// A failure keeps it as well.
		if got := c.run("1 / 0"); !strings.Contains(got, "ZeroDivisionError") {
			t.Errorf("it said %q", got)
		}
		if got := c.ok("run_python", args{"code": "x"}); got != "6" {
			t.Errorf("it said %q", got)
		}
		if got := c.ok("run_python", args{"code": "y = 1"}); got != "(no output)" {
			t.Errorf("it said %q", got)
		}
	})
}

func TestFiles(t *testing.T) {
	both(t, func(t *testing.T, c *client) {
		if got := c.ok("list_files", nil); got != "There are no files." {
			t.Errorf("at first: %q", got)
		}
		if r := c.do("read_file", args{"path": "a.txt"}); !r.IsError || !strings.Contains(textOf(r), "list_files") {
			t.Errorf("a file that is not there: %s", textOf(r))
		}
		c.ok("upload_file", args{"path": "data/a.csv", "text": "n,é\n1,2\n"})
		bytes0 := []byte{0, 1, 2, 255}
		c.ok("upload_file", args{"path": "/workspace/b.bin", "base64": base64.StdEncoding.EncodeToString(bytes0)})
		if got := c.ok("run_python", args{"code": "print(open('data/a.csv').read(), open('b.bin', 'rb').read())\nopen('out.txt', 'w').write('é' * 40000)"}); !strings.Contains(got, "1,2") ||
			!strings.Contains(got, `b'\x00\x01\x02\xff'`) || !strings.Contains(got, "Files: out.txt (created, 80000 bytes)") {
			t.Errorf("code sees: %s", got)
		}
		list := structured[mcp.ListOutput](t, c.do("list_files", nil))
		var names []string
		for _, f := range list.Files {
			names = append(names, f.Path)
		}
		if !slices.Equal(names, []string{"b.bin", "data/a.csv", "out.txt"}) || !list.Whole {
			t.Errorf("files: %+v", list)
		}
		if got := c.ok("list_files", args{"directory": "data"}); got != "data/a.csv (9 bytes)" {
			t.Errorf("in data: %q", got)
		}
		if got := c.ok("read_file", args{"path": "/workspace/data/a.csv"}); got != "n,é\n1,2\n" {
			t.Errorf("a text: %q", got)
		}
		// A long one comes in pieces that fit together.
		whole, offset := "", int64(0)
		for range 10 {
			r := c.do("read_file", args{"path": "out.txt", "offset": offset, "length": 30001})
			piece := structured[mcp.ReadOutput](t, r)
			whole += textOf(r)
			if offset = piece.NextOffset; offset == 0 {
				break
			}
		}
		if whole != strings.Repeat("é", 40000) {
			t.Errorf("in pieces it has %d bytes", len(whole))
		}
		// What no model is shown is a link, which leads to the bytes.
		r := c.do("read_file", args{"path": "b.bin"})
		link, ok := r.Content[len(r.Content)-1].(*sdk.ResourceLink)
		if !ok {
			t.Fatalf("bytes: %s", textOf(r))
		}
		read, err := c.ReadResource(t.Context(), &sdk.ReadResourceParams{URI: link.URI})
		if err != nil || !bytes.Equal(read.Contents[0].Blob, bytes0) {
			t.Errorf("%s: %v %v", link.URI, read, err)
		}
	})
}

// A picture that code saved is shown, and one that is too large is linked.
func TestPicturesOfFiles(t *testing.T) {
	c := stdio(t, "--with", science)
	c.ok("run_python", args{"code": `
import numpy, matplotlib.pyplot as plt
plt.imsave('small.png', numpy.zeros((4, 4)))
plt.imsave('large.png', numpy.random.default_rng(1).random((900, 900, 3)))
plt.figure(figsize=(12, 12), dpi=100)
plt.imshow(numpy.random.default_rng(1).random((1000, 1000, 3)))`})
	r := c.do("read_file", args{"path": "small.png"})
	if image, ok := r.Content[0].(*sdk.ImageContent); !ok || image.MIMEType != "image/png" || !bytes.HasPrefix(image.Data, []byte("\x89PNG")) {
		t.Errorf("small: %+v", r.Content)
	}
	if r := c.do("read_file", args{"path": "large.png"}); structured[mcp.ReadOutput](t, r).Kind != "link" {
		t.Errorf("large: %.300s", textOf(r))
	}
	r = c.do("run_python", args{"code": "plt.gcf()\nfor i in range(9):\n    plt.figure(figsize=(1, 1)); plt.plot([1])"})
	images := 0
	for _, b := range r.Content {
		if _, ok := b.(*sdk.ImageContent); ok {
			images++
		}
	}
	out := structured[mcp.RunOutput](t, r)
	if images != 6 || len(out.Results) != 9 || len(out.Truncated) != 3 {
		t.Errorf("%d images of %d results, truncated %v", images, len(out.Results), out.Truncated)
	}
}

func TestReset(t *testing.T) {
	both(t, func(t *testing.T, c *client) {
		c.ok("reset", nil) // of nothing
		c.ok("run_python", args{"code": "x = 1; open('f', 'w').write('kept')"})
		c.ok("reset", nil)
		if got := c.run("x"); !strings.Contains(got, "NameError") {
			t.Errorf("a variable: %s", got)
		}
		if got := c.ok("read_file", args{"path": "f"}); got != "kept" {
			t.Errorf("a file: %q", got)
		}
		c.ok("reset", args{"delete_files": true})
		if got := c.ok("list_files", nil); got != "There are no files." {
			t.Errorf("files: %s", got)
		}
		if got := c.ok("run_python", args{"code": "print(1)"}); got != "1" {
			t.Errorf("afterwards: %q", got)
		}
	})
}

func TestLookups(t *testing.T) {
	both(t, func(t *testing.T, c *client) {
		if v := structured[mcp.ValidateOutput](t, c.do("validate", args{"code": "print(1)"})); !v.Valid || len(v.Issues) != 0 {
			t.Errorf("valid: %+v", v)
		}
		r := c.do("validate", args{"code": "import os\nimport subprocess"})
		if v := structured[mcp.ValidateOutput](t, r); v.Valid || len(v.Issues) == 0 || !strings.Contains(textOf(r), "line 2") {
			t.Errorf("invalid: %+v %s", v, textOf(r))
		}
		r = c.do("packages", nil)
		p := structured[mcp.PackagesOutput](t, r)
		if !strings.HasPrefix(p.Python, "3.") || p.Packages["numpy"] == "" || p.Limits.MaxTimeoutSeconds != 3600 || !strings.Contains(textOf(r), "numpy ") {
			t.Errorf("packages: %+v", p)
		}
	}, "--with", "numpy")
}

// Answers say what happened in terms of the tools, and what to do.
func TestFailuresCanBeActedOn(t *testing.T) {
	both(t, func(t *testing.T, c *client) {
		for _, f := range []struct {
			name, code string
			timeout    float64
			want, not  []string
			verdict    string
		}{
			{"timeout", "x = 1\nwhile True: pass", 1, []string{"Limit reached: Execution timeout after 1 seconds", "timeout_seconds"}, []string{"--timeout"}, "timeout"},
			{"variables after it", "x", 0, []string{"1"}, []string{"Note"}, "ok"},
			{"memory", "b = bytearray(1 << 34)", 0, []string{"MemoryError", "memory limit"}, nil, "error"},
			{"no module", "import nonesuch", 0, []string{"ModuleNotFoundError", "packages lists those"}, []string{"--with"}, "error"},
			{"no network", "import urllib.request as r\nr.urlopen('http://localhost')", 0, []string{"URLError", "no network", "upload_file", "frame(s) of libraries"}, []string{"--file", "\n    raise URLError"}, "error"},
			{"no file", "open('nothing.csv')", 0, []string{"FileNotFoundError", "upload_file"}, []string{"--"}, "error"},
			{"no input", "input()", 0, []string{"EOFError"}, []string{"--stdin"}, "error"},
			{"syntax", "def f(:\n  pass", 0, []string{"SyntaxError", "def f(:"}, nil, "syntax-error"},
			{"pip", "!pip install requests", 0, []string{"cannot be installed"}, nil, "syntax-error"},
			{"exit", "import sys; sys.exit(3)", 0, []string{"SystemExit: 3"}, nil, "exit"},
			{"crash", "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)", 0, []string{"SIGSEGV", "Variables and imports of earlier calls are gone; files are kept"}, nil, "crashed"},
			{"too deep", "def f(): f()\nf()", 0, []string{"RecursionError"}, nil, "error"},
		} {
			a := args{"code": f.code}
			if f.timeout > 0 {
				a["timeout_seconds"] = f.timeout
			}
			r := c.do("run_python", a)
			text, out := textOf(r), structured[mcp.RunOutput](t, r)
			if out.Verdict != f.verdict || r.IsError != (f.verdict != "ok") {
				t.Errorf("%s: the verdict is %s (error: %v)", f.name, out.Verdict, r.IsError)
			}
			for _, part := range f.want {
				if !strings.Contains(text, part) {
					t.Errorf("%s: no %q in\n%s", f.name, part, text)
				}
			}
			for _, part := range f.not {
				if strings.Contains(text, part) {
					t.Errorf("%s: %q in\n%s", f.name, part, text)
				}
			}
		}
	})
}

// Files and directories of the host are there from the beginning, and again
// after a reset.
func TestInputs(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, dir+"/sales.csv", "a\n1\n")
	c := stdio(t, "--file", dir+"/sales.csv:data.csv", "--dir", dir+":d:ro")
	for range 2 {
		if got := c.ok("list_files", nil); !strings.Contains(got, "data.csv (4 bytes)") {
			t.Errorf("files: %s", got)
		}
		if got := c.ok("run_python", args{"code": "open('d/sales.csv').read() == open('data.csv').read()"}); got != "True" {
			t.Errorf("code sees: %s", got)
		}
		c.ok("reset", args{"delete_files": true})
	}
}

// The first call of all waits for the root, and its client is told so.
func TestFirstCallTellsWhatItWaitsFor(t *testing.T) {
	c := stdio(t, "--with", "numpy", "--state-dir", filepath.Join(t.TempDir(), "state"))
	if got := c.ok("run_python", args{"code": "import numpy; print(numpy.array([6]) * 7)"}); got != "[42]" {
		t.Errorf("it said %q", got)
	}
	if got := c.told(); !strings.Contains(got, "preparing the sandbox, once: ") {
		t.Errorf("progress said %q", got)
	}
}

// Over stdio the newest protocol is spoken, over HTTP the newest that has
// sessions; clients agree by themselves.
func TestVersions(t *testing.T) {
	if got := stdio(t).InitializeResult().ProtocolVersion; got != "2026-07-28" {
		t.Errorf("stdio: %s", got)
	}
	c := serve(t).connect("ann")
	if got := c.InitializeResult().ProtocolVersion; got != "2025-11-25" || c.ID() == "" {
		t.Errorf("HTTP: %s, session %q", got, c.ID())
	}
}
