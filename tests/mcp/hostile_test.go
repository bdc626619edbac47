package mcp

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/cellblock/cellblock/internal/mcp"
)

// mostAnswer is what one answer may have without its pictures, so that it fits
// what models read.
const mostAnswer = 200 << 10

// Inputs that make no sense are errors which say so, and the conversation goes on.
func TestHostileInputs(t *testing.T) {
	calls := []struct {
		tool string
		args any
		want string
	}{
		{"run_python", args{}, "code"},
		{"run_python", args{"code": 1}, "code"},
		{"run_python", args{"code": nil}, "code"},
		{"run_python", args{"code": "1", "shell": true}, "shell"},
		{"run_python", []int{1}, ""},
		{"run_python", args{"code": "1", "timeout_seconds": -1}, "timeout_seconds"},
		{"run_python", args{"code": "1", "timeout_seconds": 1e300}, "timeout_seconds"},
		{"run_python", args{"code": "1", "timeout_seconds": "1"}, "timeout_seconds"},
		{"run_python", args{"code": []string{strings.Repeat("x", 1<<20)}}, "code"},
		{"run_python", args{"code": "print('\x00')"}, "null bytes"},
		{"run_python", args{"code": "(" + strings.Repeat("(", 100_000)}, ""},
		{"upload_file", args{"path": "a"}, "one of the two"},
		{"upload_file", args{"path": "a", "text": "x", "base64": "eA=="}, "one of the two"},
		{"upload_file", args{"path": "a", "base64": "%%%"}, "base64"},
		{"upload_file", args{"path": "../a", "text": "x"}, "file name"},
		{"upload_file", args{"path": "/etc/passwd", "text": "x"}, "file name"},
		{"upload_file", args{"path": "a\x00b", "text": "x"}, "file name"},
		{"upload_file", args{"path": "", "text": "x"}, "file name"},
		{"upload_file", args{"path": ".", "text": "x"}, "file name"},
		{"upload_file", args{"path": strings.Repeat("a", 300), "text": "x"}, ""},
		{"upload_file", args{"path": strings.Repeat("a/", 3000) + "a", "text": "x"}, ""},
		{"read_file", args{"path": "../../etc/passwd"}, "file name"},
		{"read_file", args{"path": "/etc/passwd"}, "file name"},
		{"read_file", args{"path": "/proc/self/environ"}, "file name"},
		{"read_file", args{"path": "link"}, "there is no file"},
		{"read_file", args{"path": "dir/passwd"}, "there is no file"},
		{"read_file", args{"path": "fifo"}, "there is no file"},
		{"read_file", args{"path": "t", "offset": -1}, "offset"},
		{"read_file", args{"path": "t", "offset": 99}, "beyond the end"},
		{"read_file", args{"path": "t", "length": 1 << 40}, "length"},
		{"list_files", args{"directory": 1}, "directory"},
		{"reset", args{"delete_files": "yes"}, "delete_files"},
		{"validate", args{"code": "import " + strings.Repeat("a.", 200_000) + "a"}, ""},
	}
	both(t, func(t *testing.T, c *client) {
		c.ok("run_python", args{"code": "x = 1\nimport os\nos.symlink('/etc/passwd', 'link'); os.symlink('/etc', 'dir'); os.mkfifo('fifo'); open('t', 'w').write('t')"})
		for _, call := range calls {
			r, err := c.call(t.Context(), call.tool, call.args)
			text := fmt.Sprint(err)
			if err == nil {
				text = textOf(r)
				if out := structured[struct{ Valid *bool }](t, r); !r.IsError && out.Valid == nil {
					t.Errorf("%s(%.100s) went well: %.300s", call.tool, inJSON(t, call.args), text)
				}
			}
			if !strings.Contains(text, call.want) || strings.Contains(text, "root:x:") || len(text) > 10_000 {
				t.Errorf("%s(%.100s) says %.500q, without %q", call.tool, inJSON(t, call.args), text, call.want)
			}
		}
		for _, uri := range []string{
			"cellblock://workspace/../../etc/passwd", "cellblock://workspace/%2e%2e/%2e%2e/etc/passwd", "cellblock://workspace//etc/passwd",
			"cellblock://workspace/link", "cellblock://workspace/fifo", "cellblock://workspace/%00", "cellblock://results/1/../../x", "cellblock://results/99/stdout", "file:///etc/passwd", "cellblock://",
		} {
			if r, err := c.ReadResource(t.Context(), &sdk.ReadResourceParams{URI: uri}); err == nil {
				t.Errorf("%s was read: %+v", uri, r.Contents[0])
			}
		}
		if _, err := c.CallTool(t.Context(), &sdk.CallToolParams{Name: "shell", Arguments: args{"cmd": "id"}}); err == nil {
			t.Error("a tool that is not there was called")
		}
		if got := c.ok("run_python", args{"code": "x"}); got != "1" {
			t.Errorf("a variable afterwards: %s", got)
		}
	})
}

// However much code prints, shows, raises or writes, the answer is small and
// says what is missing; where it says that the rest is, it is.
func TestHugeOutputs(t *testing.T) {
	floods := []struct{ name, code, want string }{
		{"a line", "print('x' * 50_000_000)", "more was printed than"},
		{"lines", "for i in range(30_000): print('line', i)\nprint('the end')", "the end"},
		{"stderr", "import sys\nprint('e' * 100_000, file=sys.stderr)", "stderr: "},
		{"a value", "'v' * 300_000", "of its text are left out"},
		{"displays", "for i in range(200): display('d' * 10_000)", "results: more was shown"},
		{"an exception", "raise ValueError('m' * 5_000_000)", "bytes left out"},
		{"its name", "raise type('E' * 100_000, (Exception,), {})('x')", "bytes left out"},
		{"a chain", "def f(n):\n    try:\n        raise ValueError(n)\n    except ValueError:\n        if n: f(n - 1)\n        raise\nf(300)", "bytes left out"},
		{"files", "for i in range(3000): open(f'{i:0200}', 'w').close()", "files: "},
		{"variables", "globals().update((f'v{i}', 'w' * 10_000) for i in range(5000))", ""},
		{"controls", "print('\\x1b]0;t\\x07\\x00' * 100)", ""},
		{"no UTF-8", "import sys\nsys.stdout.buffer.write(bytes(range(256)) * 400)", "\uFFFD"},
		{"JSON", "class J:\n    def _repr_mimebundle_(self, **k): return {'application/json': {'a': ['b' * 1000] * 2000}}\nJ()", "J object"},
		{"HTML", "class H:\n    def _repr_html_(self): return '<p>' * 900_000\nH()", ""},
	}
	both(t, func(t *testing.T, c *client) {
		for _, f := range floods {
			r := c.do("run_python", args{"code": f.code})
			if n := len(inJSON(t, r)); n > mostAnswer {
				t.Errorf("%s: the answer has %d bytes", f.name, n)
			}
			text, out := textOf(r), structured[mcp.RunOutput](t, r)
			if !strings.Contains(text, f.want) {
				t.Errorf("%s: no %q in\n%.3000s", f.name, f.want, text)
			}
			if f.name == "lines" {
				read, err := c.ReadResource(t.Context(), &sdk.ReadResourceParams{URI: fmt.Sprintf("cellblock://results/%d/stdout", out.Execution)})
				if err != nil || strings.Count(read.Contents[0].Text, "\n") != 30_001 {
					t.Errorf("the rest: %v", err)
				}
			}
			if f.name == "files" {
				if list := structured[mcp.ListOutput](t, c.do("list_files", nil)); list.Whole || list.Total < 3000 || len(list.Files) != 500 {
					t.Errorf("%d of %d files, whole: %v", len(list.Files), list.Total, list.Whole)
				}
				c.ok("reset", args{"delete_files": true})
			}
		}
		if said := c.told(); len(said) > 4<<20 {
			t.Errorf("progress said %d bytes", len(said))
		}
		if got := c.ok("run_python", args{"code": "1"}); got != "1" {
			t.Errorf("afterwards: %s", got)
		}
	})
}

// What is no message ends neither the program nor the conversation.
func TestBrokenMessages(t *testing.T) {
	for _, line := range []string{
		"{", "null", "[]", `"x"`, `{"jsonrpc":"2.0"}`, `{"jsonrpc":"1.0","id":1,"method":"ping"}`, `{"jsonrpc":"2.0","id":{},"method":"ping"}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":[]}`, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"run_python","arguments":{"code":"1"}}}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"run_python","arguments":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `}}`,
		"\x00\xff", strings.Repeat("[", 100_000),
	} {
		p := startPiped(t)
		io.WriteString(p.toServer, line+"\n")
		io.WriteString(p.toServer, `{"jsonrpc":"2.0","id":77,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`+"\n")
		answered := false
		out := bufio.NewReader(p.fromServer)
		for !answered {
			text, err := out.ReadString('\n')
			if err != nil {
				break
			}
			answered = strings.Contains(text, `"id":77`)
		}
		p.toServer.Close()
		err := p.wait()
		if text := p.log.String(); strings.Contains(text, "panic") || strings.Contains(text, "goroutine") {
			t.Errorf("%.50q: %.2000s", line, text)
		}
		// A stream that is out of step may be ended, with a word; but not silently, and never in pieces.
		if !answered && (err == nil || p.log.String() == "") {
			t.Errorf("%.50q: neither an answer nor an error (%v, %q)", line, err, p.log)
		}
		nothingLeft(t, p.dir)
	}
}
