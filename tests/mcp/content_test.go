package mcp

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/cellblock/cellblock/executor"
	"github.com/cellblock/cellblock/internal/mcp"
	"github.com/cellblock/cellblock/internal/testkit"
)

// snippets are what is to look alike whichever way it went.
var snippets = []struct{ name, code string }{
	{"plot", "import matplotlib.pyplot as plt\nplt.figure(figsize=(2, 1), dpi=50)\nplt.plot([1, 3, 2])\nprint('drawn')"},
	{"DataFrame", "import pandas as pd\npd.DataFrame({'a': [1, 2], 'b': ['x', 'y']})"},
	{"exception", "def f(x):\n    return 1 / x\nprint('before')\nf(0)"},
	{"exception in a library", "import pandas as pd\npd.DataFrame({'a': [1]})['b']"},
	{"streamed loop", "import time\nfor i in range(5):\n    print('tick', i, flush=True)\n    time.sleep(0.1)"},
}

// The same content comes through Go, the command line, HTTP and MCP.
func TestSameContent(t *testing.T) {
	path := program(t)
	testkit.Require(t, testkit.File("/usr/lib/python3/dist-packages/pandas"), testkit.File("/usr/lib/python3/dist-packages/matplotlib"))
	s := serve(t, "--with", science)
	overStdio, overHTTP := stdio(t, "--with", science), s.connect("ann")
	ex, err := executor.New(executor.Config{ExecutionBaseDir: t.TempDir(), Packages: strings.Split(science, ",")})
	if err != nil {
		t.Fatal(err)
	}
	defer ex.Close()
	for _, snippet := range snippets {
		t.Run(snippet.name, func(t *testing.T) {
			want, err := ex.Execute(t.Context(), executor.Request{Code: snippet.code})
			if err != nil {
				t.Fatal(err)
			}
			out, err := exec.Command(path, "run", "--json", "--with", science, "-c", snippet.code).Output()
			if len(out) == 0 {
				t.Fatal(err)
			}
			_, answer := s.ask("ann", "POST", "/v1/execute", string(inJSON(t, map[string]string{"code": snippet.code})))
			for way, text := range map[string]string{"the command line": string(out), "HTTP": answer} {
				var r executor.Result
				if err := json.Unmarshal([]byte(text), &r); err != nil {
					t.Fatalf("%s: %v: %.300s", way, err, text)
				}
				if diff := cmp.Diff(essence(want), essence(r)); diff != "" {
					t.Errorf("Go and %s differ:\n%s", way, diff)
				}
			}
			for way, c := range map[string]*client{"MCP over stdio": overStdio, "MCP over HTTP": overHTTP} {
				r := c.do("run_python", args{"code": snippet.code})
				if diff := cmp.Diff(essence(want), c.essence(t, r)); diff != "" {
					t.Errorf("Go and %s differ:\n%s", way, diff)
				}
				if r.IsError == want.Success {
					t.Errorf("%s: IsError is %v of what has success %v", way, r.IsError, want.Success)
				}
				for _, part := range []string{strings.TrimSpace(want.Output), stringOf(want.Value)} {
					if !strings.Contains(textOf(r), part) {
						t.Errorf("%s: the text lacks %q:\n%s", way, part, textOf(r))
					}
				}
			}
		})
	}
}

// content is what is the same in all ways.
type content struct {
	Success   bool
	Verdict   string
	Output    string
	Value     string
	Exception string
	Line      int
	Forms     []map[string]string
}

func essence(r executor.Result) content {
	c := content{Success: r.Success, Verdict: string(r.Verdict), Output: r.Output, Value: stringOf(r.Value)}
	if e := r.Exception; e != nil {
		c.Exception, c.Line = e.Name+": "+e.Value, e.Line
	}
	for _, b := range r.Results {
		c.Forms = append(c.Forms, b.Data)
	}
	return c
}

// essence puts the forms of an MCP answer together: the text, the image, and
// what the links lead to.
func (c *client) essence(t *testing.T, r *sdk.CallToolResult) content {
	t.Helper()
	out := structured[mcp.RunOutput](t, r)
	e := content{Success: out.Success, Verdict: out.Verdict, Output: out.Stdout, Value: out.Value}
	if x := out.Exception; x != nil {
		e.Exception, e.Line = x.Name+": "+x.Message, x.Line
		if !strings.Contains(textOf(r), x.Traceback) || strings.Contains(x.Traceback, "/usr/lib/python3") && !strings.Contains(x.Traceback, "frame(s) of libraries") {
			t.Errorf("the traceback:\n%s", x.Traceback)
		}
	}
	for _, b := range out.Results {
		forms := map[string]string{}
		if b.Text != "" {
			forms["text/plain"] = b.Text
		}
		for mime, uri := range b.Links {
			read, err := c.ReadResource(t.Context(), &sdk.ReadResourceParams{URI: uri})
			if err != nil {
				t.Errorf("%s: %v", uri, err)
				continue
			}
			part := read.Contents[0]
			forms[mime] = part.Text
			if part.Blob != nil {
				forms[mime] = strings.Trim(string(inJSON(t, part.Blob)), `"`)
				shown := false
				for _, block := range r.Content {
					image, ok := block.(*sdk.ImageContent)
					shown = shown || ok && string(image.Data) == string(part.Blob) && image.MIMEType == mime
				}
				if !shown {
					t.Errorf("%s is not shown as an image", uri)
				}
			}
		}
		e.Forms = append(e.Forms, forms)
	}
	return e
}

func inJSON(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func stringOf(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// What a loop prints is told while it runs: it waits for a file that the client
// writes when it has heard the first line.
func TestOutputIsStreamed(t *testing.T) {
	both(t, func(t *testing.T, c *client) {
		done := make(chan *sdk.CallToolResult, 1)
		go func() {
			done <- c.do("run_python", args{"timeout_seconds": 60, "code": `
import os, time
for i in range(3):
    print("tick", i, "é", flush=True)
    while not os.path.exists(f"go{i}"):
        time.sleep(0.01)
`})
		}()
		for i := range 3 {
			c.until("tick " + string(rune('0'+i)) + " é\n")
			c.ok("upload_file", args{"path": "go" + string(rune('0'+i)), "text": ""})
		}
		r := <-done
		if got := structured[mcp.RunOutput](t, r).Stdout; got != c.told() || got != "tick 0 é\ntick 1 é\ntick 2 é\n" {
			t.Errorf("the answer has %q, progress said %q", got, c.told())
		}
		last := -1.0
		for _, p := range c.progress {
			if p.Progress <= last || p.Total != 60 {
				t.Errorf("progress %v of %v after %v", p.Progress, p.Total, last)
			}
			last = p.Progress
		}
	})
}
